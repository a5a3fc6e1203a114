//! The limits of a table, and why they are what they are.

use std::time::Duration;

/// Limits of a [`crate::Table`].
///
/// | limit | default | beyond it |
/// |---|---|---|
/// | `flows` | 1,048,576 | the least valuable flow is evicted |
/// | `attempted_flows` | an eighth of that | the oldest attempt is evicted |
/// | `held_bytes_per_direction` | 1 MiB | the hole becomes a gap |
/// | `held_bytes` | 64 MiB | the oldest hole of any flow becomes a gap |
/// | `kept_bytes` | 32 MiB | retransmissions on further connections are not compared |
/// | `window_bytes` | 16 MiB | the segment is ignored |
/// | `reorder_packets`, `reorder_time` | 128, 1 s | a hole that the receiver acknowledged becomes a gap |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Flows at once.
    pub flows: usize,
    /// TCP connections at once that never got further than an attempt. Their own share, so that a
    /// SYN flood cannot push out the connections that matter.
    pub attempted_flows: usize,
    /// Out-of-order bytes held for one direction of one connection. Each held segment is charged 128
    /// bytes besides its payload.
    pub held_bytes_per_direction: u64,
    /// Out-of-order bytes held in the whole table.
    pub held_bytes: u64,
    /// Bytes kept after they were handed on, to compare retransmissions with: 4 KiB for each direction
    /// that is read.
    pub kept_bytes: u64,
    /// How far from the expected position a segment may be. RFC 7323 allows windows up to 1 GiB;
    /// common systems open theirs to 6 MiB.
    pub window_bytes: u32,
    /// Packets of the flow after which a hole that the receiver has acknowledged is a gap: then
    /// no retransmission will come, and nothing is reordered that far.
    pub reorder_packets: u32,
    /// Packet time after which such a hole is a gap.
    pub reorder_time: Duration,
    /// Idle times.
    pub idle: IdleTimes,
}

impl Limits {
    pub(crate) fn reorder_nanos(&self) -> u64 {
        u64::try_from(self.reorder_time.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 1 << 20,
            attempted_flows: 1 << 17,
            held_bytes_per_direction: 1 << 20,
            held_bytes: 64 << 20,
            kept_bytes: 32 << 20,
            window_bytes: 16 << 20,
            reorder_packets: 128,
            reorder_time: Duration::from_secs(1),
            idle: IdleTimes::default(),
        }
    }
}

/// How long flows stay without packets, by what they are. The table looks with a precision of
/// about a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleTimes {
    /// TCP without an answer. Longer than the first four retries of a SYN (1, 2, 4, 8 s).
    pub attempted: Duration,
    /// TCP with data or a handshake. RFC 5382 REQ-5 asks no less than 2 h 4 min of a NAT, which has
    /// our problem: the default keep-alive of a silent connection comes every 2 h, and Docker's
    /// `events`, `attach` and build connections can be silent for very long.
    pub established: Duration,
    /// UDP one way, and TCP whose FIN was seen while its other direction was never captured.
    pub one_way: Duration,
    /// UDP both ways, and other protocols.
    pub conversation: Duration,
    /// How long a closed connection stays to swallow late packets.
    pub closed: Duration,
}

impl Default for IdleTimes {
    fn default() -> Self {
        Self {
            attempted: Duration::from_secs(30),
            established: Duration::from_secs(2 * 3600 + 4 * 60),
            one_way: Duration::from_secs(60),
            conversation: Duration::from_secs(180),
            closed: Duration::from_secs(10),
        }
    }
}
