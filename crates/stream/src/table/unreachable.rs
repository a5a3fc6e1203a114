//! ICMP errors that say that a connection was refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tw_model::{Endpoint, Protocol};

/// The TCP segment that an ICMP error quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quoted {
    pub(super) src: Endpoint,
    pub(super) dst: Endpoint,
    pub(super) seq: u32,
}

/// RFC 792 (destination unreachable), RFC 4443 §3.1: the IP header and the first 8 bytes behind it
/// of the packet that could not be delivered. IPv6 extension headers are not looked through.
pub(super) fn quoted_syn(protocol: Protocol, payload: &[u8]) -> Option<Quoted> {
    let &[kind, _, _, _, _, _, _, _, ref packet @ ..] = payload else { return None };
    let (src, dst, carried, tcp) = match (protocol, kind) {
        (Protocol::ICMP, 3) => ipv4(packet)?,
        (Protocol::ICMP6, 1) => ipv6(packet)?,
        _ => return None,
    };
    let &[a, b, c, d, s0, s1, s2, s3, ..] = tcp else { return None };
    (Protocol(carried) == Protocol::TCP).then_some(Quoted {
        src: Endpoint::new(src, u16::from_be_bytes([a, b])),
        dst: Endpoint::new(dst, u16::from_be_bytes([c, d])),
        seq: u32::from_be_bytes([s0, s1, s2, s3]),
    })
}

/// Source, destination, protocol and what follows the header.
type Header<'a> = (IpAddr, IpAddr, u8, &'a [u8]);

/// RFC 791 §3.1.
fn ipv4(packet: &[u8]) -> Option<Header<'_>> {
    let header_len = usize::from(packet.first()? & 0xf) * 4;
    let address = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(bytes).into())
    };
    let protocol = *packet.get(9)?;
    Some((address(12)?, address(16)?, protocol, packet.get(header_len.max(20)..)?))
}

/// RFC 8200 §3.
fn ipv6(packet: &[u8]) -> Option<Header<'_>> {
    let address = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
        Some(Ipv6Addr::from(bytes).into())
    };
    Some((address(8)?, address(24)?, *packet.get(6)?, packet.get(40..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_v4() -> Vec<u8> {
        let mut bytes = vec![3, 3, 0, 0, 0, 0, 0, 0, 0x46];
        bytes.extend([0; 8]);
        bytes.extend([6, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2]);
        // One IP option, then ports and sequence number.
        bytes.extend([0; 4]);
        bytes.extend([0x9c, 0x40, 0x09, 0x47, 0, 0, 0, 100]);
        bytes
    }

    #[test]
    fn reads_the_quoted_segment() {
        let quoted = quoted_syn(Protocol::ICMP, &error_v4()).unwrap();
        assert_eq!(quoted.src, Endpoint::new([192, 0, 2, 1].into(), 40_000));
        assert_eq!(quoted.dst, Endpoint::new([198, 51, 100, 2].into(), 2375));
        assert_eq!(quoted.seq, 100);
    }

    #[test]
    fn reads_ipv6() {
        let mut bytes = vec![1, 4, 0, 0, 0, 0, 0, 0, 0x60, 0, 0, 0, 0, 20, 6, 64];
        bytes.extend([1; 16]);
        bytes.extend([2; 16]);
        bytes.extend([0x9c, 0x40, 0x09, 0x47, 0, 0, 0, 100]);
        let quoted = quoted_syn(Protocol::ICMP6, &bytes).unwrap();
        assert_eq!(quoted.dst, Endpoint::new([2_u8; 16].into(), 2375));
        assert_eq!(quoted_syn(Protocol::ICMP, &bytes), None);
    }

    #[test]
    fn a_cut_quote_is_none() {
        let bytes = error_v4();
        for len in 0..bytes.len() {
            assert_eq!(quoted_syn(Protocol::ICMP, &bytes[..len]), None, "{len}");
        }
        let echo = [&[8][..], &bytes[1..]].concat();
        assert_eq!(quoted_syn(Protocol::ICMP, &echo), None);
    }
}
