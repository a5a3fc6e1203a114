//! The latest bytes handed on in one direction, to tell a retransmission from another story.
//!
//! Most overlap evasion does not need reordering: one version of the bytes, then another for the
//! same place. By then the first is handed on, so a few KiB of it are kept for comparison.

use super::hole::slice;
use crate::step::length;

/// A ring of the last [`SIZE`] bytes without a gap in them.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
    /// Position of the first byte of the ring.
    base: u64,
    /// Behind the last byte.
    end: u64,
}

impl Tail {
    /// Takes bytes that were handed on.
    pub(crate) fn record(&mut self, position: u64, bytes: &[u8]) {
        let end = position.saturating_add(length(bytes));
        if position != self.end || length(bytes) >= SIZE {
            self.bytes.clear();
            self.base = position.max(end.saturating_sub(SIZE));
        }
        let mut at = position.max(self.base);
        self.end = end;
        while at < end {
            let index = (at - self.base) % SIZE;
            let until = end.min(at + (SIZE - index));
            let piece = slice(bytes, position, at, until);
            if index == length(&self.bytes) {
                self.make_room(piece.len());
                self.bytes.extend_from_slice(piece);
            } else {
                // Here the ring is full, so that what is there is as long as the piece.
                let old = range_mut(&mut self.bytes, index, length(piece));
                if old.len() == piece.len() {
                    old.copy_from_slice(piece);
                }
            }
            at = until;
        }
    }

    /// Grows as needed and never beyond the ring: most directions carry a few hundred bytes.
    fn make_room(&mut self, more: usize) {
        let needed = self.bytes.len().saturating_add(more);
        let capacity = self.bytes.capacity();
        if needed > capacity {
            let wanted = needed.max(capacity.saturating_mul(2).min(CAPACITY));
            self.bytes.reserve_exact(wanted.saturating_sub(self.bytes.len()));
        }
    }

    /// Are these bytes the same as those that were handed on, as far as those are kept?
    pub(crate) fn agrees(&self, position: u64, bytes: &[u8]) -> bool {
        let end = position.saturating_add(length(bytes)).min(self.end);
        let mut at = position.max(self.base).max(self.end.saturating_sub(SIZE));
        while at < end {
            let index = (at - self.base) % SIZE;
            let until = end.min(at + (SIZE - index));
            let own = slice(&self.bytes, 0, index, index + (until - at));
            if own != slice(bytes, position, at, until) {
                return false;
            }
            at = until;
        }
        true
    }
}

fn range_mut(bytes: &mut [u8], from: u64, len: u64) -> &mut [u8] {
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let until = from.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
    bytes.get_mut(from..until).unwrap_or_default()
}

/// How much is kept: some segments, so that what came just before can be compared.
pub(crate) const SIZE: u64 = 4096;
const CAPACITY: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// The byte at a position.
    fn byte(position: u64) -> u8 {
        (position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56).to_le_bytes()[0]
    }

    fn bytes(from: u64, until: u64) -> Vec<u8> {
        (from..until).map(byte).collect()
    }

    #[test]
    fn agrees_with_what_was_recorded_in_pieces_of_any_size() {
        for step in [1, 7, 1000, 1460, 4095, 4096, 4097, 9000] {
            let mut tail = Tail::default();
            let mut at = 5;
            while at < 30_000 {
                tail.record(at, &bytes(at, at + step));
                at += step;
                let from = at.saturating_sub(4096).max(5);
                let mut all = bytes(from, at);
                assert!(tail.agrees(from, &all), "step {step} at {at}");
                for place in [0, all.len() / 2, all.len() - 1] {
                    all[place] ^= 1;
                    assert!(!tail.agrees(from, &all), "step {step} at {at} place {place}");
                    all[place] ^= 1;
                }
            }
        }
    }

    #[test]
    fn does_not_judge_what_is_not_kept() {
        let mut tail = Tail::default();
        tail.record(10, b"abc");
        assert!(tail.agrees(0, b"whatever--abc???"));
        // After a gap only what follows it is kept.
        tail.record(20, b"xyz");
        assert!(tail.agrees(10, b"ABC"));
        assert!(!tail.agrees(19, b"?xyZ"));
    }
}
