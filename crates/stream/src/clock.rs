//! The table's own time, made of packet times: it only ever goes forward.

use tw_model::Timestamp;

/// Nanoseconds of packet time that have passed since the table was made.
///
/// Timestamps themselves cannot drive timers: they may go backwards, and one damaged record may
/// carry the year 2262. Here a step forward counts, a step back does not, and a step back by more
/// than [`REBASE`] means that the latest time was wrong: time goes on from the new one.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    latest: Option<Timestamp>,
    elapsed: u64,
}

impl Clock {
    /// Takes note of a packet's time; returns the time elapsed.
    pub(crate) fn observe(&mut self, at: Timestamp) -> u64 {
        let latest = *self.latest.get_or_insert(at);
        if at > latest {
            let step = at.as_nanos().saturating_sub(latest.as_nanos());
            self.elapsed = self.elapsed.saturating_add(u64::try_from(step).unwrap_or(0));
            self.latest = Some(at);
        } else if latest.as_nanos().saturating_sub(at.as_nanos()) > REBASE {
            self.latest = Some(at);
        }
        self.elapsed
    }

    /// The time elapsed as of the latest packet.
    pub(crate) const fn elapsed(&self) -> u64 {
        self.elapsed
    }
}

/// Larger than any reordering between interfaces and any clock adjustment worth the name.
const REBASE: i64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn never_goes_backwards() {
        let mut clock = Clock::default();
        assert_eq!(clock.observe(Timestamp::from_nanos(10 * SECOND)), 0);
        assert_eq!(clock.observe(Timestamp::from_nanos(9 * SECOND)), 0);
        assert_eq!(clock.observe(Timestamp::from_nanos(11 * SECOND)), 1_000_000_000);
        assert_eq!(clock.observe(Timestamp::from_nanos(i64::MIN)), 1_000_000_000);
    }

    #[test]
    fn goes_on_after_a_damaged_timestamp() {
        let mut clock = Clock::default();
        clock.observe(Timestamp::from_nanos(10 * SECOND));
        let far = clock.observe(Timestamp::MAX);
        assert_eq!(clock.observe(Timestamp::from_nanos(11 * SECOND)), far);
        assert_eq!(clock.observe(Timestamp::from_nanos(13 * SECOND)), far + 2_000_000_000);
    }
}
