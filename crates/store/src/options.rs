//! When something seen counts as known, and how much memory the store may use.

use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// When something seen counts as known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The first contact must be at least this long ago; an axis without baseline is not judged
    /// before it has been watched for as long.
    pub known_after: Duration,
    /// On at least this many different UTC days.
    pub known_days: u32,
    /// What was not seen for longer than this does not count.
    pub forget_after: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            known_after: HOUR.saturating_mul(24),
            known_days: 3,
            forget_after: DAY.saturating_mul(180),
        }
    }
}

/// How a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// When something seen counts as known.
    pub rules: Rules,
    /// Rows that may wait in memory: a `Store` commits by itself when they are that many, a
    /// `Reader` or an `Overlay` drops and counts what comes beyond.
    pub pending_limit: usize,
    /// Settled rows kept in memory, so that the same question does not go to disk twice.
    pub cache_limit: usize,
    /// A filter shard is built again when this many entries came since, or 5 % of it if that is
    /// more.
    pub rebuild_after: u64,
    /// How long to wait for a busy database.
    pub busy_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rules: Rules::default(),
            pending_limit: 200_000,
            cache_limit: 100_000,
            rebuild_after: 10_000,
            busy_timeout: Duration::from_secs(10),
        }
    }
}
