//! Recorded captures, moved to other addresses and another time.

use std::collections::BTreeMap;

use tw_model::Timestamp;

use crate::Packet;
use crate::packet::ethernet;

/// Moves IPv4 packets to other addresses and another time. Link-layer addresses are made from the new
/// addresses, so that hosts stay apart; checksums are made anew.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// New address for each address that is to change.
    pub addresses: BTreeMap<[u8; 4], [u8; 4]>,
    /// Text in payloads and its replacement of the same length, for names of those addresses. Text that is
    /// cut in two by packets is not found.
    pub texts: Vec<(String, String)>,
    /// When the first record was.
    pub began: Timestamp,
    /// When it is to be.
    pub begins: Timestamp,
}

impl Rewrite {
    /// One record, moved; `None` where it holds no whole IPv4 packet without options in Ethernet.
    #[must_use]
    pub fn apply(&self, at: Timestamp, frame: &[u8]) -> Option<Packet> {
        if frame.get(12..15)? != [0x08, 0x00, 0x45] {
            return None;
        }
        let len = u16::from_be_bytes(frame.get(16..18)?.try_into().ok()?);
        let mut ipv4 = frame.get(14..14 + usize::from(len))?.to_vec();
        let source = self.moved(ipv4.get(12..16)?.try_into().ok()?);
        let destination = self.moved(ipv4.get(16..20)?.try_into().ok()?);
        ipv4[12..16].copy_from_slice(&source);
        ipv4[16..20].copy_from_slice(&destination);
        for (old, new) in &self.texts {
            replace(&mut ipv4[20..], old.as_bytes(), new.as_bytes());
        }
        crate::packet::checksums(&mut ipv4);
        let frame = ethernet(source, destination, &ipv4);
        Some(Packet { at: self.begins.plus(at.since(self.began)), frame })
    }

    fn moved(&self, address: [u8; 4]) -> [u8; 4] {
        self.addresses.get(&address).copied().unwrap_or(address)
    }
}

fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    assert_eq!(old.len(), new.len(), "a replacement of the same length");
    let mut from = 0;
    while let Some(at) = bytes[from..].windows(old.len()).position(|window| window == old) {
        bytes[from + at..from + at + old.len()].copy_from_slice(new);
        from += at + old.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{tcp_packet, udp_packet};

    #[test]
    fn a_rewritten_packet_equals_one_made_there() {
        let here = ("10.0.0.1:1000".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let there = ("198.51.100.7:1000".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let rewrite = Rewrite {
            addresses: BTreeMap::from([([10, 0, 0, 1], [198, 51, 100, 7])]),
            texts: vec![("old".to_owned(), "new".to_owned())],
            began: Timestamp::from_nanos(40),
            begins: Timestamp::from_nanos(1000),
        };
        let at = Timestamp::from_nanos(45);
        let tcp = |ends, text| tcp_packet(ends, (1, 2), 16, text);
        let moved = rewrite.apply(at, &tcp(here, b"old, old")).unwrap();
        assert_eq!(moved.at, Timestamp::from_nanos(1005));
        assert_eq!(moved.frame, tcp(there, b"new, new"));
        let moved = rewrite.apply(at, &udp_packet(here.0, here.1, b"x")).unwrap();
        assert_eq!(moved.frame, udp_packet(there.0, there.1, b"x"));
        assert_eq!(rewrite.apply(at, &[0xff; 60]), None);
    }
}
