//! Recorded captures, moved to other addresses and another time.

use std::collections::BTreeMap;

use tw_model::Timestamp;

use crate::Packet;
use crate::checksum::updated;

const ETHERNET_LEN: usize = 14;

/// Moves IPv4 addresses and times; checksums follow, payloads stay as they are.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// New address for each address that is to change, in headers only.
    pub addresses: BTreeMap<[u8; 4], [u8; 4]>,
    /// When the first record is to be.
    pub begins: Timestamp,
    /// When it was.
    pub began: Timestamp,
}

impl Rewrite {
    /// One record, moved. Frames that hold no IPv4 are moved in time only.
    #[must_use]
    pub fn apply(&self, at: Timestamp, frame: &[u8]) -> Packet {
        let mut frame = frame.to_vec();
        for field in [12, 16] {
            self.address(&mut frame, ETHERNET_LEN + field);
        }
        Packet { at: self.begins.plus(at.since(self.began)), frame }
    }

    /// Changes the address at `at`, the header checksum, and that of TCP or UDP.
    fn address(&self, frame: &mut [u8], at: usize) -> Option<()> {
        if frame.get(12..15)? != [0x08, 0x00, 0x45] {
            return None;
        }
        let old: [u8; 4] = frame.get(at..at + 4)?.try_into().ok()?;
        let new = *self.addresses.get(&old)?;
        frame.get_mut(at..at + 4)?.copy_from_slice(&new);
        let transport = ETHERNET_LEN + 20;
        let checksums = match frame.get(ETHERNET_LEN + 9)? {
            6 => vec![ETHERNET_LEN + 10, transport + 16],
            17 => vec![ETHERNET_LEN + 10, transport + 6],
            _ => vec![ETHERNET_LEN + 10],
        };
        for field in checksums {
            let bytes = frame.get_mut(field..field + 2)?;
            let mut sum = u16::from_be_bytes([bytes[0], bytes[1]]);
            for half in [0, 2] {
                let word = |ip: [u8; 4]| u16::from_be_bytes([ip[half], ip[half + 1]]);
                sum = updated(sum, word(old), word(new));
            }
            bytes.copy_from_slice(&sum.to_be_bytes());
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp_packet;

    #[test]
    fn a_rewritten_packet_equals_one_made_there() {
        let here = ("10.0.0.1:1000".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let there = ("198.51.100.7:1000".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let rewrite = Rewrite {
            addresses: BTreeMap::from([([10, 0, 0, 1], [198, 51, 100, 7])]),
            begins: Timestamp::from_nanos(1000),
            began: Timestamp::from_nanos(40),
        };
        let moved = rewrite.apply(Timestamp::from_nanos(45), &tcp_packet(here, (1, 2), 16, b"x"));
        assert_eq!(moved.at, Timestamp::from_nanos(1005));
        assert_eq!(&moved.frame[12..], &tcp_packet(there, (1, 2), 16, b"x")[12..]);
    }
}
