//! IP-in-IP, GRE with ERSPAN, VXLAN, GENEVE and GTP-U.
//!
//! A port or protocol number is only a hint: the packet around a tunnel is kept in [`Walk::outer`], and
//! stands when what is inside turns out to be no IP.

use crate::cut::Cut;
use crate::walk::{Layer, Walk};
use crate::{ip, link, transport};

/// Enters the tunnel that `protocol` and the bytes at hand make likely. The VLAN around it then no
/// longer counts: it belongs to the network that carries the tunnel.
pub(crate) fn enter(walk: &mut Walk<'_>, protocol: u8) -> Option<Layer> {
    if !matches!(protocol, 4 | 17 | 41 | 47) {
        return None;
    }
    let inside = match protocol {
        4 => ip_in_ip(walk.rest, 4)?,
        41 => ip_in_ip(walk.rest, 6)?,
        47 => gre(walk.rest)?,
        _ => over_udp(walk.rest)?,
    };
    walk.outer = Some(transport::packet(walk, protocol));
    walk.rest = inside.rest;
    walk.tag.vlan = inside.vlan;
    walk.tag.vni = inside.vni.or(walk.tag.vni);
    walk.macs = None;
    Some(inside.layer)
}

/// What a tunnel header says of its inside.
struct Inside<'a> {
    layer: Layer,
    rest: Cut<'a>,
    vlan: Option<u16>,
    vni: Option<u32>,
}

impl<'a> Inside<'a> {
    const fn new(layer: Layer, rest: Cut<'a>) -> Self {
        Self { layer, rest, vlan: None, vni: None }
    }
}

/// RFC 2003 §3.1, RFC 4213 §3.5, RFC 2473 §3.
fn ip_in_ip(rest: Cut<'_>, version: u8) -> Option<Inside<'_>> {
    let [first] = rest.peek::<1>()?;
    (first >> 4 == version).then_some(Inside::new(Layer::Ip, rest))
}

/// RFC 2784 §2, RFC 2890 §2 (key, sequence number), RFC 2637 §4.1 (version 1, for PPTP).
fn gre(mut rest: Cut<'_>) -> Option<Inside<'_>> {
    let &[flags, version, high, low] = rest.take::<4>()?;
    let protocol = u16::from_be_bytes([high, low]);
    let (key, sequence) = (flags & 0x20 != 0, flags & 0x10 != 0);
    match version & 0x07 {
        0 => {
            if flags & 0x40 != 0 {
                return None;
            }
            let checksum = flags & 0x80 != 0;
            rest.skip(4 * (u32::from(checksum) + u32::from(key) + u32::from(sequence)))?;
        }
        1 if protocol == 0x880b && key => {
            let acknowledgment = version & 0x80 != 0;
            rest.skip(4 * (1 + u32::from(sequence) + u32::from(acknowledgment)))?;
            return Some(Inside::new(Layer::Ppp, rest));
        }
        _ => return None,
    }
    match protocol {
        0x6558 => Some(Inside::new(Layer::Ethernet, rest)),
        0x880b => Some(Inside::new(Layer::Ppp, rest)),
        0x88be if sequence => erspan2(rest),
        0x88be => Some(Inside::new(Layer::Ethernet, rest)),
        0x22eb => erspan3(rest),
        other => Some(Inside::new(link::ether_type(other).ok()?, rest)),
    }
}

/// draft-foschiano-erspan-03 §4.2: type II, told from type I by the GRE sequence number.
fn erspan2(mut rest: Cut<'_>) -> Option<Inside<'_>> {
    let head = rest.take::<8>()?;
    let vlan = u16::from_be_bytes([head[0] & 0x0f, head[1]]);
    let vlan = (vlan != 0).then_some(vlan);
    (head[0] >> 4 == 1).then_some(Inside { vlan, ..Inside::new(Layer::Ethernet, rest) })
}

/// draft-foschiano-erspan-03 §4.3: type III, with the platform subheader where the O bit says so.
fn erspan3(mut rest: Cut<'_>) -> Option<Inside<'_>> {
    let head = rest.take::<12>()?;
    if head[0] >> 4 != 2 {
        return None;
    }
    if head[11] & 0x01 != 0 {
        rest.skip(8)?;
    }
    let layer = if (head[10] >> 2) & 0x1f == 2 { Layer::Ip } else { Layer::Ethernet };
    let vlan = u16::from_be_bytes([head[0] & 0x0f, head[1]]);
    Some(Inside { vlan: (vlan != 0).then_some(vlan), ..Inside::new(layer, rest) })
}

/// By the destination port (IANA; 8472 is what Linux used before the assignment).
fn over_udp(rest: Cut<'_>) -> Option<Inside<'_>> {
    let head = rest.peek::<8>()?;
    let read: fn(Cut<'_>) -> Option<Inside<'_>> = match u16::from_be_bytes([head[2], head[3]]) {
        4789 | 8472 => vxlan,
        6081 => geneve,
        2152 => gtp_user,
        _ => return None,
    };
    let mut payload = rest;
    payload.skip(8)?;
    let inside = read(payload)?;
    let plausible = match inside.layer {
        Layer::Ethernet => link::looks_like_ethernet(&inside.rest),
        _ => ip::looks_like_ip(&inside.rest),
    };
    plausible.then_some(inside)
}

/// RFC 7348 §5.
fn vxlan(mut rest: Cut<'_>) -> Option<Inside<'_>> {
    let head = rest.take::<8>()?;
    let vni = u32::from_be_bytes([0, head[4], head[5], head[6]]);
    (head[0] & 0x08 != 0).then_some(Inside { vni: Some(vni), ..Inside::new(Layer::Ethernet, rest) })
}

/// RFC 8926 §3.4.
fn geneve(mut rest: Cut<'_>) -> Option<Inside<'_>> {
    let head = rest.take::<8>()?;
    if head[0] >> 6 != 0 {
        return None;
    }
    rest.skip(u32::from(head[0] & 0x3f) * 4)?;
    let layer = match u16::from_be_bytes([head[2], head[3]]) {
        0x6558 => Layer::Ethernet,
        0x0800 => Layer::Ipv4,
        0x86dd => Layer::Ipv6,
        _ => return None,
    };
    let vni = u32::from_be_bytes([0, head[4], head[5], head[6]]);
    Some(Inside { vni: Some(vni), ..Inside::new(layer, rest) })
}

/// 3GPP TS 29.281 §5.1: version 1, G-PDU, optional fields and extension headers.
fn gtp_user(mut rest: Cut<'_>) -> Option<Inside<'_>> {
    let head = rest.take::<8>()?;
    if head[0] & 0xf0 != 0x30 || head[1] != 255 {
        return None;
    }
    if head[0] & 0x07 != 0 {
        let &[_, _, _, mut next] = rest.take::<4>()?;
        for _ in 0..8 {
            if next == 0 || head[0] & 0x04 == 0 {
                break;
            }
            let length = u32::from(rest.peek::<1>()?[0]) * 4;
            let last = usize::try_from(length.checked_sub(1)?).ok()?;
            next = *rest.bytes.get(last)?;
            rest.skip(length)?;
        }
    }
    Some(Inside::new(Layer::Ip, rest))
}
