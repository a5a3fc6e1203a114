//! Tells the same packet seen twice from a packet that was sent twice.
//!
//! A SPAN port that mirrors both the ingress and the egress of a switch delivers every packet
//! twice; so does a tap before and behind a router, then with other MAC addresses and hop limit.
//! What stays the same is everything from the transport header on, and the identification field of
//! IPv4, which a retransmission normally does not share.

/// The latest packets of one flow.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// 48 bits of fingerprint over 16 bits of time.
    slots: [u64; SLOTS],
    cursor: u8,
}

impl Recent {
    /// Was a packet of this fingerprint here a moment ago? If not, it is remembered.
    ///
    /// `identified`: the fingerprint has an identification field in it. Without one (IPv6, IPv4 with
    /// ID 0) a duplicate acknowledgment looks like a mirrored one, so the moment is shorter.
    pub(crate) fn repeats(&mut self, fingerprint: u64, identified: bool, now: u64) -> bool {
        let tick = (now >> TICK_BITS) & TIME_MASK;
        let age_limit = if identified { IDENTIFIED_TICKS } else { ANONYMOUS_TICKS };
        let seen = self.slots.iter().any(|slot| {
            (slot ^ fingerprint) & !TIME_MASK == 0
                && tick.wrapping_sub(slot & TIME_MASK) & TIME_MASK <= age_limit
        });
        if seen {
            return true;
        }
        if let Some(slot) = self.slots.get_mut(usize::from(self.cursor)) {
            *slot = (fingerprint & !TIME_MASK) | tick;
        }
        self.cursor = (self.cursor + 1) % 8;
        false
    }
}

const SLOTS: usize = 8;
const TIME_MASK: u64 = 0xffff;
/// A tick is 2^18 ns, about 0.26 ms.
const TICK_BITS: u32 = 18;
/// About 10 ms.
const IDENTIFIED_TICKS: u64 = 38;
/// About 2 ms.
const ANONYMOUS_TICKS: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn repeats_within_the_moment_only() {
        let mut recent = Recent::default();
        assert!(!recent.repeats(0xabcd_0000, true, 0));
        assert!(recent.repeats(0xabcd_0000, true, 9 * MS));
        assert!(!recent.repeats(0xabcd_0000, true, 20 * MS));
    }

    #[test]
    fn without_identification_the_moment_is_shorter() {
        let mut recent = Recent::default();
        assert!(!recent.repeats(0xabcd_0000, false, 0));
        assert!(recent.repeats(0xabcd_0000, false, MS));
        assert!(!recent.repeats(0xabcd_0000, false, 5 * MS));
    }

    #[test]
    fn others_in_between_do_not_hide_it() {
        let mut recent = Recent::default();
        for packet in 1..=8_u64 {
            assert!(!recent.repeats(packet << 16, true, 0));
        }
        assert!(recent.repeats(1 << 16, true, 0));
    }
}
