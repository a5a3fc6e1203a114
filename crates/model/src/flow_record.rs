//! One record of NetFlow or IPFIX, as exported.

use std::net::IpAddr;

use crate::{Endpoint, Timestamp};

/// What is known of the sampling behind a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sampling {
    /// The exporter says nothing about it.
    #[default]
    Untold,
    /// Sampled, at a rate that was not told.
    UnknownRate,
    /// One packet in so many; 1 is not sampled.
    OneIn(u32),
}

/// A direction's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowCounts {
    /// Packets, as exported.
    pub packets: Option<u64>,
    /// IP bytes, as exported.
    pub bytes: Option<u64>,
    /// All TCP flags of the flow, low octet.
    pub tcp_flags: Option<u8>,
}

/// One flow record: NetFlow v5, v7, v9 or IPFIX. What the record lacks is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// 5, 7, 9 or 10.
    pub version: u16,
    /// Who sent the datagram.
    pub exporter: Endpoint,
    /// Observation domain (source id in v9, engine type and id in v5).
    pub domain: u32,
    /// Source address.
    pub source: Option<IpAddr>,
    /// Destination address.
    pub destination: Option<IpAddr>,
    /// Source port.
    pub source_port: Option<u16>,
    /// Destination port.
    pub destination_port: Option<u16>,
    /// IP protocol.
    pub protocol: Option<u8>,
    /// Counters from source to destination.
    pub forward: FlowCounts,
    /// Counters the other way, where the record is of both (RFC 5103).
    pub reverse: Option<FlowCounts>,
    /// First packet.
    pub first: Option<Timestamp>,
    /// Latest packet.
    pub last: Option<Timestamp>,
    /// Was it the source that opened the flow, if the exporter says so (RFC 5103 biflowDirection)?
    pub source_opened: Option<bool>,
    /// Source address and port after translation.
    pub translated_source: (Option<IpAddr>, Option<u16>),
    /// Destination address and port after translation.
    pub translated_destination: (Option<IpAddr>, Option<u16>),
    /// Sampling behind it.
    pub sampling: Sampling,
}
