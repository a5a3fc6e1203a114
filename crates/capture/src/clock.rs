//! The one wall clock: when a datagram arrived, and that time passes where none does.
//!
//! Everything else knows only the time that stands in its input.

use tw_model::Timestamp;

/// Now.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a live source has no other time of arrival")]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}
