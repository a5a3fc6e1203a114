//! TCP checksums.

use std::net::IpAddr;

use crate::{Packet, TcpSegment, Transport};

/// How the checksum of a TCP segment fits its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// It is that of the bytes.
    Right,
    /// It is that of the pseudo-header alone: left to a network card that computes the rest, or by one
    /// that put segments together.
    Offloaded,
    /// A receiver drops the segment.
    Wrong,
    /// No TCP, or not captured whole.
    Unknown,
}

impl Packet<'_> {
    /// Verifies the checksum (RFC 9293 §3.1; RFC 8200 §8.1 for IPv6). Reads all of the segment.
    #[must_use]
    pub fn tcp_checksum(&self) -> Checksum {
        let Transport::Tcp(segment) = self.transport else { return Checksum::Unknown };
        let Some(told) = checksum_field(&segment) else { return Checksum::Unknown };
        let Some(pseudo) = pseudo_header(self, &segment) else { return Checksum::Unknown };
        // The checksum itself is among the bytes: all of them sum up to minus zero.
        let all = pseudo + sum(segment.header) + sum(segment.payload);
        if folded(all) == 0xffff {
            Checksum::Right
        } else if folded(pseudo) == u64::from(told) {
            Checksum::Offloaded
        } else {
            Checksum::Wrong
        }
    }
}

/// `None` where the snap length cut something off.
fn checksum_field(segment: &TcpSegment<'_>) -> Option<u16> {
    let header_len = usize::from(segment.header.get(12)? >> 4) * 4;
    let whole = segment.header.len() == header_len
        && u32::try_from(segment.payload.len()) == Ok(segment.payload_len);
    let field: [u8; 2] = segment.header.get(16..18)?.try_into().ok()?;
    whole.then(|| u16::from_be_bytes(field))
}

/// Addresses, protocol and length.
fn pseudo_header(packet: &Packet<'_>, segment: &TcpSegment<'_>) -> Option<u64> {
    let header_len = u64::try_from(segment.header.len()).ok()?;
    let addresses = match (packet.src, packet.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => sum(&src.octets()) + sum(&dst.octets()),
        (IpAddr::V6(src), IpAddr::V6(dst)) => sum(&src.octets()) + sum(&dst.octets()),
        _ => return None,
    };
    let length = header_len + u64::from(segment.payload_len);
    Some(addresses + 6 + (length >> 16) + (length & 0xffff))
}

/// Sum of 32-bit words, which folds to the same as that of 16-bit words. The words are summed in the
/// order of bytes of this machine, which is turned at the end (RFC 1071 §2, B and C): so several at a
/// time can be.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let words: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let sum = folded(words + u64::from(u32::from_ne_bytes(last)));
    u16::try_from(sum).map_or(0, |sum| u64::from(u16::from_be(sum)))
}

fn folded(mut sum: u64) -> u64 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum
}

#[cfg(test)]
mod tests {
    use tw_model::{Evidence, NetworkTag, SourceId, Timestamp};

    use super::*;
    use crate::TcpFlags;

    /// A segment from 192.0.2.1:40000 to 198.51.100.2:2375, of which the sum was made by hand.
    const HEADER: [u8; 20] =
        [0x9c, 0x40, 0x09, 0x47, 0, 0, 0, 101, 0, 0, 1, 0xf5, 0x50, 0x18, 1, 0, 0, 0, 0, 0];

    fn checksum(told: u16, payload: &[u8], payload_len: u32) -> Checksum {
        let mut header = HEADER;
        header[16..18].copy_from_slice(&told.to_be_bytes());
        let segment = TcpSegment {
            src_port: 40_000,
            dst_port: 2375,
            seq: 101,
            ack: 501,
            flags: TcpFlags(0x18),
            header: &header,
            payload,
            payload_len,
        };
        let at = Timestamp::from_secs_nanos(0, 0);
        let packet = Packet {
            evidence: Evidence::frame(SourceId(0), 1, at),
            src: "192.0.2.1".parse().unwrap(),
            dst: "198.51.100.2".parse().unwrap(),
            tag: NetworkTag::default(),
            macs: None,
            ip_len: 40,
            ip_id: 0,
            hop_limit: 64,
            overlapped: false,
            transport: Transport::Tcp(segment),
        };
        packet.tcp_checksum()
    }

    #[test]
    fn one_sum_in_65536_is_right_and_one_is_offloaded() {
        for payload in [b"".as_slice(), b"a", b"ab", b"abc", b"abcde", &[0xff; 1461]] {
            let len = u32::try_from(payload.len()).unwrap();
            let fits = |wanted: Checksum| {
                (0..=u16::MAX).filter(move |n| checksum(*n, payload, len) == wanted)
            };
            let right: Vec<u16> = fits(Checksum::Right).collect();
            assert_eq!(right.len(), 1, "{right:?}");
            assert_eq!(fits(Checksum::Offloaded).count(), 1);
        }
    }

    /// By hand: c000+0201+c633+6402+0006+0014 and 9c40+0947+0065+01f5+5018+0100 are 2e549, folded
    /// e54b, of which 1ab4 is the complement; "abc" adds 0003+6162+6300.
    #[test]
    fn the_sum_is_that_of_the_rfc() {
        assert_eq!(checksum(0x1ab4, b"", 0), Checksum::Right);
        assert_eq!(checksum(0x564e, b"abc", 3), Checksum::Right);
        assert_eq!(checksum(0x564f, b"abc", 3), Checksum::Wrong);
        assert_eq!(checksum(0x564e, b"abd", 3), Checksum::Wrong);
        assert_eq!(checksum(0xec54, b"abc", 3), Checksum::Offloaded);
        assert_eq!(checksum(0x564e, b"abc", 4), Checksum::Unknown, "cut off");
    }
}
