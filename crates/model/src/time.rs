//! Packet time: the only clock that the cores know.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

/// Nanoseconds since the Unix epoch, UTC. Trace time may go backwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The Unix epoch, also used where a capture carries no time (pcapng simple packet blocks).
    pub const EPOCH: Self = Self(0);
    /// The latest time that can be expressed (year 2262).
    pub const MAX: Self = Self(i64::MAX);

    /// From nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From seconds and nanoseconds since the Unix epoch; saturates at year 2262.
    #[must_use]
    pub const fn from_secs_nanos(secs: i64, nanos: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Days since the Unix epoch in UTC; negative before 1970.
    #[must_use]
    pub const fn utc_day(self) -> i64 {
        self.0.div_euclid(86_400_000_000_000)
    }

    /// `self - earlier`, zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// `self + duration`, saturating.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// `self - duration`, saturating.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }
}

/// RFC 3339 in UTC with microseconds, as every output has it: `2026-11-24T22:41:45.000123Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.microsecond()
        )
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rfc3339_with_microseconds() {
        let at = Timestamp::from_secs_nanos(1_795_558_894, 67_063_999);
        assert_eq!(at.to_string(), "2026-11-24T22:21:34.067063Z");
    }

    #[test]
    fn differences_never_go_below_zero() {
        let (a, b) = (Timestamp::from_nanos(5), Timestamp::from_nanos(9));
        assert_eq!(a.since(b), Duration::ZERO);
        assert_eq!(b.since(a), Duration::from_nanos(4));
    }
}
