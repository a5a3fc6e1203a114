//! What the table tells about a connection.

use tw_model::{
    AnomalyKind, ConnectionState, Direction, Endpoint, Evidence, FlowId, MacAddress, NetworkTag,
    Opener, Protocol, Timestamp,
};

/// How much of a connection its reader still needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interest {
    /// Reassemble and hand on every byte.
    #[default]
    Payload,
    /// Count only: no more reassembly, no more `Data`, `Datagram` and `Gap` events. One look-up a packet.
    Counts,
}

/// Why a connection's last event is its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Both sides said FIN (and everything before it was delivered or given up).
    Fin,
    /// RST.
    Reset,
    /// Nothing for the idle time of its state.
    Idle,
    /// The memory budget.
    Evicted,
    /// The same ports were opened anew.
    Reused,
    /// End of input.
    EndOfInput,
}

/// A connection and all that its counters know, plus the state `S` that the owner of the table
/// keeps with it, so that one look-up finds both.
#[derive(Debug)]
pub struct Flow<S> {
    /// Identity within the run.
    pub id: FlowId,
    /// Who opened it.
    pub opener: Endpoint,
    /// The other side.
    pub responder: Endpoint,
    /// How the opener is known: `Seen` or `ByPorts` here.
    pub opener_known: Opener,
    /// TCP, UDP or other.
    pub protocol: Protocol,
    /// Of the first packet.
    pub tag: NetworkTag,
    /// Source and destination MAC of the opener's packets, as of the first that had any.
    pub macs: Option<(MacAddress, MacAddress)>,
    /// First packet.
    pub first: Timestamp,
    /// Latest packet.
    pub last: Timestamp,
    /// First packet with payload.
    pub first_payload: Option<Timestamp>,
    /// Payload bytes by `Direction::index`, as the sequence numbers count them: retransmissions once,
    /// and what `gap_bytes` says is missing too. Held bytes are not in it before they are handed on.
    pub payload_bytes: [u64; 2],
    /// Packets by `Direction::index`, mirror duplicates once.
    pub packets: [u64; 2],
    /// IP bytes by `Direction::index`, mirror duplicates once.
    pub bytes: [u64; 2],
    /// How far it got.
    pub state: ConnectionState,
    /// Did not begin with a SYN.
    pub midstream: bool,
    /// Payload bytes that are missing in either direction.
    pub gap_bytes: u64,
    /// Some packets were cut off by the snap length.
    pub truncated: bool,
    /// Set by the owner inside the sink; the table obeys from the next packet on.
    pub interest: Interest,
    /// So many of the next payload bytes, by `Direction::index`, the owner does not want to see:
    /// segments that lie in them as a whole are counted and told in sum, as
    /// [`StreamEvent::Unread`]. Set by the owner inside the sink, at every event anew.
    pub unread: [u64; 2],
    /// What was left out and is not told yet.
    pub passed: [Option<Passed>; 2],
    /// The owner's.
    pub user: S,
}

/// Payload that its owner did not want to see.
#[derive(Clone, Copy, Debug)]
pub struct Passed {
    /// Bytes.
    pub len: u64,
    /// The latest packet that carried some of it.
    pub at: Evidence,
}

/// What happens on a connection. Data of one direction comes in order, each byte once; what is
/// missing comes as a `Gap` in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEvent<'a> {
    /// First packet. `user` is `S::default()`.
    Open,
    /// TCP payload in order.
    Data {
        /// Who sent it.
        direction: Direction,
        /// Position of the first byte in this direction's payload, counted from 0 (mid-stream: from
        /// the first byte seen).
        offset: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// TCP payload that came and that the owner did not want to see ([`Flow::unread`]), in its place
    /// before what comes next in that direction. Its packet is the latest that carried some of it.
    Unread {
        /// Who sent it.
        direction: Direction,
        /// Bytes, at least 1.
        len: u64,
    },
    /// TCP payload that never came.
    Gap {
        /// Who sent it.
        direction: Direction,
        /// As in `Data`.
        offset: u64,
        /// Missing bytes, at least 1.
        len: u64,
    },
    /// One side said FIN and all before it was handed on.
    HalfClose {
        /// Which side's data ends here.
        direction: Direction,
    },
    /// One UDP payload.
    Datagram {
        /// Who sent it.
        direction: Direction,
        /// The bytes.
        bytes: &'a [u8],
        /// Bytes at its end that the snap length cut off.
        missing: u32,
    },
    /// Something that ought not to be.
    Anomaly(AnomalyKind),
    /// The last event of this connection. What was held has been handed on as `Gap` and `Data` before.
    Close(CloseReason),
}
