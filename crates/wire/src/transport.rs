//! TCP and UDP headers.

use crate::cut::Cut;
use crate::walk::Walk;
use crate::{Packet, TcpFlags, TcpSegment, Transport, UdpDatagram};

/// A header that contradicts itself.
struct Malformed;

/// The packet that the IP header and what is left of the frame make. Where the transport header
/// contradicts itself the packet is still one between these ports: it is handed on as a header that
/// was cut is, and counted.
pub(crate) fn packet<'a>(walk: &mut Walk<'a>, protocol: u8) -> Packet<'a> {
    let transport = match protocol {
        6 => tcp(walk.rest).map(|segment| segment.map(Transport::Tcp)),
        17 => udp(walk.rest).map(|datagram| datagram.map(Transport::Udp)),
        _ => Ok(None),
    };
    walk.transport_malformed = transport.is_err();
    let transport = transport.unwrap_or_default();
    let transport = transport.unwrap_or(Transport::Other { protocol, payload: walk.rest.bytes });
    let header = &walk.header;
    Packet {
        evidence: walk.evidence,
        src: header.src,
        dst: header.dst,
        tag: walk.tag,
        macs: walk.macs,
        ip_len: header.len,
        ip_id: header.id,
        hop_limit: header.hop_limit,
        overlapped: header.overlapped,
        transport,
    }
}

/// RFC 9293 §3.1. `None` when the snap length cut the fixed header.
fn tcp(mut rest: Cut<'_>) -> Result<Option<TcpSegment<'_>>, Malformed> {
    let Some(head) = rest.peek::<20>() else { return cut_or_malformed(&rest, 20) };
    let header_len = u32::from(head[12] >> 4) * 4;
    if header_len < 20 {
        return Err(Malformed);
    }
    let from_header = rest.bytes;
    rest.skip(header_len).ok_or(Malformed)?;
    let header_bytes = from_header.len() - rest.bytes.len();
    Ok(Some(TcpSegment {
        src_port: u16::from_be_bytes([head[0], head[1]]),
        dst_port: u16::from_be_bytes([head[2], head[3]]),
        seq: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
        ack: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
        flags: TcpFlags(head[13]),
        header: from_header.get(..header_bytes).unwrap_or_default(),
        payload: rest.bytes,
        payload_len: rest.wire,
    }))
}

/// RFC 768. A length of 0 is a jumbogram (RFC 2675 §4) or segmentation offload: the IP header says
/// the length then. A length beyond the IP packet is cut to it.
fn udp(mut rest: Cut<'_>) -> Result<Option<UdpDatagram<'_>>, Malformed> {
    let Some(head) = rest.take::<8>() else { return cut_or_malformed(&rest, 8) };
    let length = u32::from(u16::from_be_bytes([head[4], head[5]]));
    if length != 0 {
        let payload_len = length.checked_sub(8).ok_or(Malformed)?;
        if payload_len < rest.wire {
            rest.set_wire(payload_len);
        }
    }
    Ok(Some(UdpDatagram {
        src_port: u16::from_be_bytes([head[0], head[1]]),
        dst_port: u16::from_be_bytes([head[2], head[3]]),
        payload: rest.bytes,
        payload_len: rest.wire,
    }))
}

fn cut_or_malformed<T>(rest: &Cut<'_>, header_len: u32) -> Result<Option<T>, Malformed> {
    if rest.wire < header_len { Err(Malformed) } else { Ok(None) }
}
