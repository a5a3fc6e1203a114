//! Link headers that are seldom captured today.

use crate::link::ether_type;
use crate::walk::{Layer, Reject, Walk};

/// IEEE 802.5 §3: access and frame control, destination, source, and a routing field where the
/// source's first bit says so.
pub(crate) fn token_ring(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    let head = walk.rest.take::<14>().ok_or(Reject::LinkCut)?;
    if head[1] & 0xc0 != 0x40 {
        return Err(Reject::NotIp);
    }
    if head[8] & 0x80 != 0 {
        let &[control] = walk.rest.peek::<1>().ok_or(Reject::LinkCut)?;
        walk.rest.skip(u32::from(control & 0x1f)).ok_or(Reject::LinkCut)?;
    }
    Ok(Layer::Llc)
}

/// ISO 9314-2 §7.2: frame control, destination, source.
pub(crate) fn fddi(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    let head = walk.rest.take::<13>().ok_or(Reject::LinkCut)?;
    if head[0] & 0xf0 == 0x50 { Ok(Layer::Llc) } else { Err(Reject::NotIp) }
}

/// RFC 2427 §4 behind an address of two to four bytes (ITU-T Q.922 §3.3), or Cisco's EtherType there.
pub(crate) fn frame_relay(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    let last = |walk: &mut Walk<'_>| walk.rest.take::<1>().map(|byte| byte[0] & 1 == 1);
    for _ in 0..4 {
        if last(walk).ok_or(Reject::LinkCut)? {
            break;
        }
    }
    if walk.rest.peek::<1>() != Some(&[0x03]) {
        let &[high, low] = walk.rest.take::<2>().ok_or(Reject::LinkCut)?;
        return ether_type(u16::from_be_bytes([high, low]));
    }
    walk.rest.take::<1>();
    if walk.rest.peek::<1>() == Some(&[0]) {
        walk.rest.take::<1>();
    }
    match walk.rest.take::<1>().ok_or(Reject::LinkCut)? {
        [0xcc] => Ok(Layer::Ipv4),
        [0x8e] => Ok(Layer::Ipv6),
        [0x80] => {
            let &[_, _, _, high, low] = walk.rest.take::<5>().ok_or(Reject::LinkCut)?;
            ether_type(u16::from_be_bytes([high, low]))
        }
        _ => Err(Reject::NotIp),
    }
}

/// <https://www.tcpdump.org/linktypes.html>, `LINKTYPE_SUNATM`: traffic type, path and channel; LLC for
/// type 2.
pub(crate) fn sun_atm(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    let &[kind, ..] = walk.rest.take::<4>().ok_or(Reject::LinkCut)?;
    if kind & 0x0f == 2 { Ok(Layer::Llc) } else { Err(Reject::NotIp) }
}

/// <https://www.tcpdump.org/linktypes.html>, `LINKTYPE_ARCNET_LINUX`: RFC 1051 §3 and RFC 1201 §2.
/// Packets that RFC 1201 split are not put together.
pub(crate) fn arcnet(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    let &[_, _, _, _, protocol] = walk.rest.take::<5>().ok_or(Reject::LinkCut)?;
    match protocol {
        240 => Ok(Layer::Ipv4),
        196 | 212 => {
            let &[mut split, _, _] = walk.rest.take::<3>().ok_or(Reject::LinkCut)?;
            if split == 0xff {
                let &[_, again, _, _] = walk.rest.take::<4>().ok_or(Reject::LinkCut)?;
                split = again;
            }
            let layer = if protocol == 212 { Layer::Ipv4 } else { Layer::Ipv6 };
            if split == 0 { Ok(layer) } else { Err(Reject::NotIp) }
        }
        _ => Err(Reject::NotIp),
    }
}

/// <https://www.tcpdump.org/linktypes.html>, `LINKTYPE_IPNET`: version, family, hook, lengths, zones.
pub(crate) fn solaris_ipnet(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    walk.rest.take::<24>().ok_or(Reject::LinkCut)?;
    Ok(Layer::Ip)
}
