//! What one [`Decoder`](crate::Decoder) may use.

use std::time::Duration;

/// What one [`Decoder`](crate::Decoder) may use. A limit that is reached is counted in
/// [`Counters`](crate::Counters) and raises an anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Headers of one frame, links, tags, labels and tunnels together.
    pub nesting: u8,
    /// IP datagrams under reassembly.
    pub fragmented_datagrams: usize,
    /// IP datagrams under reassembly from one source address.
    pub fragmented_datagrams_per_source: usize,
    /// Bytes held for reassembly, with an allowance for bookkeeping.
    pub fragment_bytes: usize,
    /// How long an incomplete datagram is kept, in packet time (RFC 1122 §3.3.2 says 60 s to 120 s;
    /// hosts use 30 s).
    pub fragment_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            nesting: 32,
            fragmented_datagrams: 8192,
            fragmented_datagrams_per_source: 1024,
            fragment_bytes: 16 << 20,
            fragment_timeout: Duration::from_secs(30),
        }
    }
}
