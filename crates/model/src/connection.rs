//! A connection as it is joined with others: who spoke to whom, when, and how much.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use crate::{
    Caveat, DestinationName, Endpoint, MacAddress, NetworkTag, Protocol, ProxyKind, Timestamp,
};

/// A connection within one run; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub u64);

/// Which way data goes. The opener is who opened the connection on the transport layer; this says
/// nothing about HTTP or Docker roles (on BuildKit's `/session` they are reversed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Sent by the opener.
    ToResponder,
    /// Sent by the responder.
    ToOpener,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::ToResponder => Self::ToOpener,
            Self::ToOpener => Self::ToResponder,
        }
    }

    /// 0 for `ToResponder`, 1 for `ToOpener`: for per-direction pairs.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::ToResponder => 0,
            Self::ToOpener => 1,
        }
    }
}

/// How we know who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Opener {
    /// A SYN (or SYN-ACK) was seen, or the first datagram of a UDP conversation.
    Seen,
    /// A request, a `ClientHello` or the like was seen from this side.
    ByProtocol,
    /// Guessed from the ports.
    ByPorts,
}

/// How far a connection got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// A SYN and nothing back: no connection.
    Attempted,
    /// A SYN answered by a RST (or ICMP unreachable): no connection.
    Refused,
    /// Handshake seen, or data in mid-stream, or a UDP conversation.
    Established,
    /// Both sides said FIN.
    Closed,
    /// Ended by RST after it had been established.
    Reset,
}

/// What carried the knowledge of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Packets were seen.
    Packets,
    /// Flow records were seen.
    Netflow,
}

/// What is spoken on a connection, as far as it was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AppProtocol {
    /// HTTP/1.x in clear.
    Http,
    /// HTTP/2 in clear.
    Http2,
    /// TLS.
    Tls,
    /// DNS.
    Dns,
    /// SSH.
    Ssh,
    /// QUIC.
    Quic,
    /// SOCKS proxying.
    Socks,
    /// NetFlow or IPFIX export.
    Netflow,
}

/// How the records of a connection were made, and what may be missing of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Who exported them.
    pub exporters: Vec<IpAddr>,
    /// One packet in so many was counted, as far as that was told; counts are scaled by it.
    pub one_in: u32,
    /// Sampling, missing templates and gaps of the exporter, as far as they touch it.
    pub caveats: Vec<Caveat>,
}

/// One connection (TCP) or conversation (UDP). Sent first when payload flows and again, with the
/// same `id`, when it ends: readers keep the last.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// Identity within the run.
    pub id: FlowId,
    /// Who opened it, as far as `opener_known` says.
    pub opener: Endpoint,
    /// The other side.
    pub responder: Endpoint,
    /// How the opener is known.
    pub opener_known: Opener,
    /// Transport protocol.
    pub protocol: Protocol,
    /// What is spoken, where recognised.
    pub app: Option<AppProtocol>,
    /// Which network it was seen on.
    pub tag: NetworkTag,
    /// Link-layer source and destination of the opener's packets, outermost frame, where there are any.
    pub macs: Option<(MacAddress, MacAddress)>,
    /// First packet.
    pub first: Timestamp,
    /// Latest packet.
    pub last: Timestamp,
    /// First packet with payload in either direction; for a TCP connection of which only
    /// handshake packets were seen, `None`.
    pub first_payload: Option<Timestamp>,
    /// Payload bytes by [`Direction::index`], as the sequence numbers count them (retransmissions once).
    pub payload_bytes: [u64; 2],
    /// Packets by [`Direction::index`] (mirror duplicates once).
    pub packets: [u64; 2],
    /// IP bytes by [`Direction::index`].
    pub bytes: [u64; 2],
    /// How far it got.
    pub state: ConnectionState,
    /// First packet was not a SYN.
    pub midstream: bool,
    /// Payload bytes that are missing (lost, or cut off by the snap length) in either direction.
    pub gap_bytes: u64,
    /// Some packets were cut off by the snap length.
    pub truncated: bool,
    /// Packets or records.
    pub via: Via,
    /// Names that DNS, SNI or HTTP gave the responder on or before this connection.
    pub names: Vec<DestinationName>,
    /// Where it is a tunnel through a proxy (the responder): `host:port` that was asked for.
    pub tunnel: Option<(String, ProxyKind)>,
    /// How it was exported, where flow records told of it.
    pub exported: Option<Box<Exported>>,
    /// Is this the last word on the connection?
    pub ended: bool,
}

/// Who spoke to whom, and when at most: what is needed to find the packets again. One that stands for
/// several connections between the same ports lasts from the first to the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conversation {
    /// The two sides, the lower first.
    pub ends: (Endpoint, Endpoint),
    /// Transport protocol.
    pub protocol: Protocol,
    /// First packet; the earliest time that there is, where it is not known.
    pub first: Timestamp,
    /// Last packet, as far as known: a call's connection may go on after it.
    pub last: Timestamp,
}

impl Conversation {
    /// Between these two, in either order.
    #[must_use]
    pub fn between(
        a: Endpoint,
        b: Endpoint,
        protocol: Protocol,
        (first, last): (Timestamp, Timestamp),
    ) -> Self {
        Self { ends: (a.min(b), a.max(b)), protocol, first, last }
    }
}

impl From<&Connection> for Conversation {
    fn from(c: &Connection) -> Self {
        Self::between(c.opener, c.responder, c.protocol, (c.first, c.last))
    }
}

impl Connection {
    /// Was payload seen both ways?
    #[must_use]
    pub fn both_ways(&self) -> bool {
        self.payload_bytes.iter().all(|bytes| *bytes > 0)
    }

    /// Were packets seen in one direction only?
    #[must_use]
    pub fn one_direction(&self) -> bool {
        self.packets.contains(&0)
    }

    /// First to latest packet.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.last.since(self.first)
    }
}
