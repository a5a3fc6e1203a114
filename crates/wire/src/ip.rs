//! IPv4 and IPv6 headers, and the IPv6 extension headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cut::Cut;
use crate::walk::{IpHeader, Layer, Part, Reject, Walk};

/// The first nibble tells which.
pub(crate) fn either(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    match walk.rest.peek::<1>() {
        Some([first]) if first >> 4 == 4 => Ok(Layer::Ipv4),
        Some([first]) if first >> 4 == 6 => Ok(Layer::Ipv6),
        Some(_) => Err(Reject::IpMalformed),
        None => Err(Reject::IpCut),
    }
}

/// RFC 791 §3.1. A total length of 0 is what a host with segmentation offload records: the frame
/// says the length then.
pub(crate) fn v4(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    let head = walk.rest.peek::<20>().ok_or(Reject::IpCut)?;
    let header_len = u32::from(head[0] & 0x0f) * 4;
    let total_len = u32::from(u16::from_be_bytes([head[2], head[3]]));
    if head[0] >> 4 != 4 || header_len < 20 || (total_len != 0 && total_len < header_len) {
        return Err(Reject::IpMalformed);
    }
    if total_len != 0 {
        set_length(walk, total_len);
    }
    walk.header = IpHeader {
        src: IpAddr::V4(Ipv4Addr::new(head[12], head[13], head[14], head[15])),
        dst: IpAddr::V4(Ipv4Addr::new(head[16], head[17], head[18], head[19])),
        len: walk.rest.wire,
        id: u16::from_be_bytes([head[4], head[5]]),
        hop_limit: head[8],
        overlapped: false,
    };
    walk.rest.skip(header_len).ok_or(Reject::IpMalformed)?;
    let flags_and_offset = u16::from_be_bytes([head[6], head[7]]);
    if flags_and_offset & 0x3fff == 0 {
        return Ok(Layer::IpPayload(head[9]));
    }
    Ok(Layer::Fragment(Part {
        id: u32::from(walk.header.id),
        protocol: head[9],
        offset: u32::from(flags_and_offset & 0x1fff) * 8,
        more: flags_and_offset & 0x2000 != 0,
    }))
}

/// RFC 8200 §3. A payload length of 0 is a jumbogram or segmentation offload: the frame says the
/// length then.
pub(crate) fn v6(walk: &mut Walk<'_>) -> Result<Layer, Reject> {
    let head = walk.rest.peek::<40>().ok_or(Reject::IpCut)?;
    if head[0] >> 4 != 6 {
        return Err(Reject::IpMalformed);
    }
    let payload_len = u32::from(u16::from_be_bytes([head[4], head[5]]));
    if payload_len != 0 {
        set_length(walk, payload_len + 40);
    }
    let [_, _, _, _, _, _, _, _, addresses @ ..] = head;
    let (src, dst) = addresses.split_at(16);
    walk.header = IpHeader {
        src: IpAddr::V6(v6_address(src)),
        dst: IpAddr::V6(v6_address(dst)),
        len: walk.rest.wire,
        id: 0,
        hop_limit: head[7],
        overlapped: false,
    };
    walk.rest.skip(40).ok_or(Reject::IpMalformed)?;
    Ok(Layer::IpPayload(head[6]))
}

/// Takes over the length that an IP header claims. Beyond the frame it is believed: tools that shorten
/// frames often set the original length too, and mirror sessions shorten what they send.
fn set_length(walk: &mut Walk<'_>, length: u32) {
    walk.length_beyond_frame |= length > walk.rest.wire;
    walk.rest.set_wire(length);
}

fn v6_address(bytes: &[u8]) -> Ipv6Addr {
    <[u8; 16]>::try_from(bytes).map_or(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from)
}

/// Looks past an extension header (RFC 8200 §4, RFC 4302 §2 for AH, which IPv4 has too). `None` when
/// `protocol` is none, or when it was not captured whole.
pub(crate) fn extension(walk: &mut Walk<'_>, protocol: u8) -> Result<Option<Layer>, Reject> {
    let v6 = walk.header.src.is_ipv6();
    let unit_and_extra = match protocol {
        0 | 43 | 60 | 135 if v6 => (8, 1),
        51 => (4, 2),
        44 if v6 => return fragment_header(walk),
        _ => return Ok(None),
    };
    let Some(&[next, length]) = walk.rest.peek::<2>() else { return Ok(None) };
    let (unit, extra) = unit_and_extra;
    walk.rest.skip((u32::from(length) + extra) * unit).ok_or(Reject::IpMalformed)?;
    Ok(Some(Layer::IpPayload(next)))
}

/// RFC 8200 §4.5; RFC 6946 for fragments that are the whole datagram.
fn fragment_header(walk: &mut Walk<'_>) -> Result<Option<Layer>, Reject> {
    let Some(&[next, _, high, low, id @ ..]) = walk.rest.take::<8>() else { return Ok(None) };
    let offset_and_more = u16::from_be_bytes([high, low]);
    if offset_and_more & 0xfff9 == 0 {
        return Ok(Some(Layer::IpPayload(next)));
    }
    Ok(Some(Layer::Fragment(Part {
        id: u32::from_be_bytes(id),
        protocol: next,
        offset: u32::from(offset_and_more & 0xfff8),
        more: offset_and_more & 1 != 0,
    })))
}

/// Does `cut` begin like an IP packet that fits?
pub(crate) fn looks_like_ip(cut: &Cut<'_>) -> bool {
    let Some(head) = cut.peek::<20>() else { return false };
    match head[0] >> 4 {
        4 => {
            let total_len = u32::from(u16::from_be_bytes([head[2], head[3]]));
            head[0] & 0x0f >= 5 && total_len >= 20 && total_len <= cut.wire
        }
        6 => u32::from(u16::from_be_bytes([head[4], head[5]])) + 40 <= cut.wire,
        _ => false,
    }
}
