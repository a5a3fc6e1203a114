//! Link headers, tags and labels: what stands before IP.

use tw_model::MacAddress;

use crate::cut::Cut;
use crate::walk::{Layer, Reject, Walk, first_layer};
use crate::{LinkType, ip};

/// IEEE 802.3 §3.2: destination, source, and a type or a length.
#[inline]
pub(crate) fn ethernet(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    let head = walk.rest.take::<14>().ok_or(Reject::LinkCut)?;
    let &[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, high, low] = head;
    walk.macs = Some((MacAddress([s0, s1, s2, s3, s4, s5]), MacAddress([d0, d1, d2, d3, d4, d5])));
    ether_type_or_length(u16::from_be_bytes([high, low]))
}

/// Values up to 1,500 are a length, and LLC follows (IEEE 802.3 §3.2.6).
fn ether_type_or_length(value: u16) -> Result<Layer, Reject> {
    if value <= 1500 { Ok(Layer::Llc) } else { ether_type(value) }
}

/// IANA, "IEEE 802 Numbers", EtherTypes. 0x9100 is the tag that came before 802.1ad.
#[inline]
pub(crate) fn ether_type(value: u16) -> Result<Layer, Reject> {
    match value {
        0x0800 => Ok(Layer::Ipv4),
        0x86dd => Ok(Layer::Ipv6),
        0x8100 | 0x88a8 | 0x9100 | 0x9200 => Ok(Layer::Vlan),
        0x8847 | 0x8848 => Ok(Layer::Mpls),
        0x8864 => Ok(Layer::Pppoe),
        0x88e7 => Ok(Layer::BackboneTag),
        0x8926 => Ok(Layer::InterfaceTag),
        0x880b => Ok(Layer::Ppp),
        _ => Err(Reject::NotIp),
    }
}

/// IEEE 802.1Q §9.6. Identifier 0 is a priority tag and names no VLAN.
pub(crate) fn vlan(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    let &[tci_high, tci_low, high, low] = walk.rest.take::<4>().ok_or(Reject::LinkCut)?;
    let id = u16::from_be_bytes([tci_high & 0x0f, tci_low]);
    if id != 0 {
        walk.tag.vlan = Some(id);
    }
    ether_type_or_length(u16::from_be_bytes([high, low]))
}

/// IEEE 802.1Q §9.7: the service instance tag of a provider backbone, a whole frame behind it.
pub(crate) fn backbone_tag(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    walk.rest.take::<4>().ok_or(Reject::LinkCut)?;
    Ok(Layer::Ethernet)
}

/// Cisco VN-Tag: four bytes that name interfaces of a switch, and an EtherType.
pub(crate) fn interface_tag(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    let &[_, _, _, _, high, low] = walk.rest.take::<6>().ok_or(Reject::LinkCut)?;
    ether_type(u16::from_be_bytes([high, low]))
}

/// IEEE 802.2 §3.2, and the SNAP header of RFC 1042.
pub(crate) fn llc(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    match walk.rest.take::<3>().ok_or(Reject::LinkCut)? {
        [0xaa, 0xaa, 0x03] => {
            let &[_, _, _, high, low] = walk.rest.take::<5>().ok_or(Reject::LinkCut)?;
            ether_type(u16::from_be_bytes([high, low]))
        }
        [0x06, 0x06, 0x03] => Ok(Layer::Ipv4),
        _ => Err(Reject::NotIp),
    }
}

/// <https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html>
pub(crate) fn cooked(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    let &[_, _, _, _, len_high, len_low, a, b, c, d, e, f, _, _, high, low] =
        walk.rest.take::<16>().ok_or(Reject::LinkCut)?;
    let address_len = u16::from_be_bytes([len_high, len_low]);
    walk.macs = cooked_source(address_len, [a, b, c, d, e, f]);
    cooked_protocol(u16::from_be_bytes([high, low]))
}

/// <https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html>
pub(crate) fn cooked2(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    let &[high, low, _, _, _, _, _, _, _, _, _, address_len, a, b, c, d, e, f, _, _] =
        walk.rest.take::<20>().ok_or(Reject::LinkCut)?;
    walk.macs = cooked_source(u16::from(address_len), [a, b, c, d, e, f]);
    cooked_protocol(u16::from_be_bytes([high, low]))
}

/// The source alone is known; the destination is left all zero.
fn cooked_source(len: u16, address: [u8; 6]) -> Option<(MacAddress, MacAddress)> {
    (len == 6).then_some((MacAddress(address), MacAddress([0; 6])))
}

/// An EtherType, or 4 for LLC.
fn cooked_protocol(protocol: u16) -> Result<Layer, Reject> {
    if protocol == 4 { Ok(Layer::Llc) } else { ether_type(protocol) }
}

/// <https://www.tcpdump.org/linktypes/LINKTYPE_NULL.html>: a family in either byte order. The
/// numbers for IPv6 are those of Linux, Windows, NetBSD, FreeBSD and Darwin.
pub(crate) fn loopback(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    let &family = walk.rest.take::<4>().ok_or(Reject::LinkCut)?;
    let little = u32::from_le_bytes(family);
    let family = if little > 0xffff { u32::from_be_bytes(family) } else { little };
    match family {
        2 => Ok(Layer::Ipv4),
        10 | 23 | 24 | 28 | 30 => Ok(Layer::Ipv6),
        _ => Err(Reject::NotIp),
    }
}

/// RFC 1661 §2 and RFC 1662 §3: address and control are optional, and the protocol may be one byte.
pub(crate) fn ppp(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    if walk.rest.peek::<2>() == Some(&[0xff, 0x03]) {
        walk.rest.take::<2>();
    }
    let &[first] = walk.rest.take::<1>().ok_or(Reject::LinkCut)?;
    let protocol = if first & 1 == 1 {
        u16::from(first)
    } else {
        let &[second] = walk.rest.take::<1>().ok_or(Reject::LinkCut)?;
        u16::from_be_bytes([first, second])
    };
    match protocol {
        0x0021 => Ok(Layer::Ipv4),
        0x0057 => Ok(Layer::Ipv6),
        0x0281 | 0x0283 => Ok(Layer::Mpls),
        _ => Err(Reject::NotIp),
    }
}

/// <https://www.tcpdump.org/linktypes.html>, `LINKTYPE_PPP` and `LINKTYPE_PPP_HDLC`: PPP, or Cisco HDLC
/// by its address byte.
pub(crate) fn ppp_serial(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    match walk.rest.peek::<1>().ok_or(Reject::LinkCut)? {
        [0x0f | 0x8f] => Ok(Layer::CiscoHdlc),
        _ => Ok(Layer::Ppp),
    }
}

/// RFC 1547 §4.3.1: address, control, and an EtherType.
pub(crate) fn cisco_hdlc(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    let &[_, _, high, low] = walk.rest.take::<4>().ok_or(Reject::LinkCut)?;
    ether_type(u16::from_be_bytes([high, low]))
}

/// RFC 2516 §4: session data only.
pub(crate) fn pppoe(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    match walk.rest.take::<6>().ok_or(Reject::LinkCut)? {
        [0x11, 0, ..] => Ok(Layer::Ppp),
        _ => Err(Reject::NotIp),
    }
}

/// RFC 3032 §2.1 for one label. Nothing says what follows the last: IP by its version, else an
/// Ethernet pseudowire (RFC 4448 §4.6), with or without control word.
pub(crate) fn mpls(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    let label = walk.rest.take::<4>().ok_or(Reject::LinkCut)?;
    if label[2] & 1 == 0 {
        return Ok(Layer::Mpls);
    }
    if ip::looks_like_ip(&walk.rest) {
        return Ok(Layer::Ip);
    }
    let mut behind_control_word = walk.rest;
    if behind_control_word.take::<4>().is_some_and(|word| word[0] >> 4 == 0)
        && looks_like_ethernet(&behind_control_word)
    {
        walk.rest = behind_control_word;
        return Ok(Layer::Ethernet);
    }
    if looks_like_ethernet(&walk.rest) { Ok(Layer::Ethernet) } else { either_version(walk) }
}

/// An IP packet that does not fit, as a last guess.
fn either_version(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    ip::either(walk).map_err(|_| Reject::NotIp)
}

/// Does `cut` begin with an Ethernet header, perhaps tags, and an IP header that fits?
pub(crate) fn looks_like_ethernet(cut: &Cut<'_>) -> bool {
    let mut cut = *cut;
    let Some(head) = cut.take::<14>() else { return false };
    let mut kind = u16::from_be_bytes([head[12], head[13]]);
    for _ in 0..4 {
        match kind {
            0x8100 | 0x88a8 | 0x9100 | 0x9200 => {
                let Some(&[_, _, high, low]) = cut.take::<4>() else { return false };
                kind = u16::from_be_bytes([high, low]);
            }
            0x0800 | 0x86dd => return ip::looks_like_ip(&cut),
            _ => return false,
        }
    }
    false
}

/// IEEE 802.11 §9.2: unprotected data frames, which carry LLC.
pub(crate) fn wifi(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    let &[control, flags] = walk.rest.peek::<2>().ok_or(Reject::LinkCut)?;
    let (data, no_payload, qos) =
        (control & 0x0c == 0x08, control & 0x40 != 0, control & 0x80 != 0);
    if !data || no_payload || flags & 0x40 != 0 {
        return Err(Reject::NotIp);
    }
    let four_addresses = flags & 0x03 == 0x03;
    let ht_control = qos && flags & 0x80 != 0;
    let header_len =
        24 + 6 * u32::from(four_addresses) + 2 * u32::from(qos) + 4 * u32::from(ht_control);
    walk.rest.skip(header_len).ok_or(Reject::LinkCut)?;
    Ok(Layer::Llc)
}

/// <https://www.radiotap.org>: version, padding, little-endian length.
pub(crate) fn radiotap(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    let &[_, _, low, high] = walk.rest.peek::<4>().ok_or(Reject::LinkCut)?;
    let length = u32::from(u16::from_le_bytes([low, high]));
    walk.rest.skip(length).ok_or(Reject::LinkCut)?;
    Ok(Layer::Wifi)
}

/// <https://www.tcpdump.org/linktypes.html>, `LINKTYPE_PPI`: version, flags, little-endian length, and
/// the link type of what follows.
pub(crate) fn per_packet_information(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    let &[_, _, low, high, t0, t1, t2, t3] = walk.rest.peek::<8>().ok_or(Reject::LinkCut)?;
    let length = u32::from(u16::from_le_bytes([low, high]));
    walk.rest.skip(length.max(8)).ok_or(Reject::LinkCut)?;
    let link = u16::try_from(u32::from_le_bytes([t0, t1, t2, t3]));
    first_layer(LinkType(link.map_err(|_| Reject::UnknownLink)?))
}

/// Values of one netfilter log message that are looked at.
const NFLOG_VALUES: usize = 32;

/// <https://www.tcpdump.org/linktypes/LINKTYPE_NFLOG.html>: values of little-endian length and type,
/// padded to 4 bytes; 9 is the packet.
pub(crate) fn netfilter_log(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    walk.rest.take::<4>().ok_or(Reject::LinkCut)?;
    for _ in 0..NFLOG_VALUES {
        let &[l0, l1, t0, t1] = walk.rest.take::<4>().ok_or(Reject::LinkCut)?;
        let length = u32::from(u16::from_le_bytes([l0, l1]));
        let length = length.checked_sub(4).ok_or(Reject::LinkCut)?;
        if u16::from_le_bytes([t0, t1]) & 0x7fff == 9 {
            return Ok(Layer::Ip);
        }
        walk.rest.skip(length.next_multiple_of(4)).ok_or(Reject::LinkCut)?;
    }
    Err(Reject::NotIp)
}
