//! Says in one line which link types of a capture were not decoded.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tw_wire::LinkType;

/// Link types that are named; the others go by number alone.
const NAMED: usize = 8;

/// One warning for all frames whose link type is not decoded, if there are any.
pub(crate) fn unread(frames: &BTreeMap<LinkType, u64>) -> Option<String> {
    if frames.is_empty() {
        return None;
    }
    let mut text = "unsupported link type, frames skipped: ".to_owned();
    for (index, (link, count)) in frames.iter().take(NAMED).enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let name = name(*link).map(|name| format!(" ({name})")).unwrap_or_default();
        let plural = if *count == 1 { "" } else { "s" };
        let _ = write!(text, "{comma}{}{name} {count} frame{plural}", link.0);
    }
    if frames.len() > NAMED {
        let _ = write!(text, ", and {} more link types", frames.len() - NAMED);
    }
    Some(text)
}

/// <https://www.tcpdump.org/linktypes.html>, without the prefix `LINKTYPE_`.
const fn name(link: LinkType) -> Option<&'static str> {
    Some(match link.0 {
        8 => "SLIP",
        119 => "IEEE802_11_PRISM",
        120 => "AIRONET_HEADER",
        122 => "IP_OVER_FC",
        130..=134 | 137 | 138 => "JUNIPER",
        139..=141 => "SS7",
        147..=162 => "USER",
        163 => "IEEE802_11_AVS",
        177 => "LINUX_LAPD",
        178..=181 | 183 | 184 => "JUNIPER",
        182 => "MFR",
        187 | 201 => "BLUETOOTH_HCI_H4",
        189 | 220 => "USB_LINUX",
        190 => "CAN20B",
        195 | 215 | 230 | 283 => "IEEE802_15_4",
        227 => "CAN_SOCKETCAN",
        231 => "DBUS",
        243 => "MPEG_2_TS",
        249 => "USBPCAP",
        251 | 256 => "BLUETOOTH_LE_LL",
        253 => "NETLINK",
        254 => "BLUETOOTH_LINUX_MONITOR",
        258 => "PKTAP",
        271 => "VPP_DISPATCH",
        281 | 282 | 284 | 285 => "DSA_TAG",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_names_all_link_types() {
        let frames = [(LinkType(227), 2), (LinkType(999), 1)].into();
        let line = unread(&frames).expect("there are some");
        assert_eq!(
            line,
            "unsupported link type, frames skipped: 227 (CAN_SOCKETCAN) 2 frames, 999 1 frame"
        );
        assert_eq!(unread(&BTreeMap::new()), None);
    }

    #[test]
    fn many_link_types_are_still_one_line_of_bounded_length() {
        let frames = (1000..2000).map(|link| (LinkType(link), 5)).collect();
        let line = unread(&frames).expect("there are some");
        assert!(line.len() < 400 && line.ends_with("and 992 more link types"), "{line}");
    }
}
