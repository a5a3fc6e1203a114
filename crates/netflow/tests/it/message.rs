//! Makes export datagrams.

use std::net::{IpAddr, Ipv4Addr};

use tw_model::{Endpoint, Evidence, FlowRecord, SourceId, Timestamp};
use tw_netflow::{Collector, Datagram, Decoder, Limits};

/// Seconds at which the exporter of these tests started, and at which it exports.
pub(crate) const BOOT: u32 = 1_795_440_000;
pub(crate) const NOW: u32 = BOOT + 1_000;

pub(crate) fn at(secs: u32) -> Timestamp {
    Timestamp::from_secs_nanos(secs.into(), 0)
}

pub(crate) fn exporter(last: u8) -> Endpoint {
    Endpoint::new(IpAddr::from([192, 0, 2, last]), 50_000)
}

pub(crate) fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

/// One way of a flow, as records have it: times in milliseconds since the exporter started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) from: (u8, u16),
    pub(crate) to: (u8, u16),
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) packets: u32,
    pub(crate) bytes: u32,
    pub(crate) flags: u8,
}

impl Way {
    pub(crate) fn back(self) -> Self {
        Self { from: self.to, to: self.from, ..self }
    }
}

/// A TCP conversation from its SYN to its FIN.
pub(crate) const WAY: Way = Way {
    from: (1, 40_000),
    to: (2, 80),
    first: 900_000,
    last: 905_000,
    packets: 10,
    bytes: 1_000,
    flags: 0x1b,
};

fn header(version: u16, count: u16, sequence: u32) -> Vec<u8> {
    let mut bytes = [version.to_be_bytes(), count.to_be_bytes()].concat();
    bytes.extend(1_000_000u32.to_be_bytes());
    bytes.extend(NOW.to_be_bytes());
    if version < 9 {
        bytes.extend(0u32.to_be_bytes());
    }
    bytes.extend(sequence.to_be_bytes());
    bytes
}

/// NetFlow v5 (`sampling`: its word) or v7.
pub(crate) fn fixed(version: u16, sequence: u32, sampling: u16, ways: &[Way]) -> Vec<u8> {
    let mut bytes = header(version, u16::try_from(ways.len()).unwrap(), sequence);
    bytes.extend([0, 0]);
    bytes.extend(sampling.to_be_bytes());
    for way in ways {
        bytes.extend(ip(way.from.0).octets());
        bytes.extend(ip(way.to.0).octets());
        bytes.extend([0; 8]);
        for number in [way.packets, way.bytes, way.first, way.last] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(way.from.1.to_be_bytes());
        bytes.extend(way.to.1.to_be_bytes());
        bytes.extend([0, way.flags, 6, 0]);
        bytes.extend(vec![0; if version == 7 { 12 } else { 8 }]);
    }
    bytes
}

pub(crate) fn v9(count: u16, sequence: u32, domain: u32, sets: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = header(9, count, sequence);
    bytes.extend(domain.to_be_bytes());
    bytes.extend(sets.concat());
    bytes
}

pub(crate) fn ipfix(sequence: u32, domain: u32, sets: &[Vec<u8>]) -> Vec<u8> {
    let body = sets.concat();
    let mut bytes = 10u16.to_be_bytes().to_vec();
    bytes.extend(u16::try_from(body.len() + 16).unwrap().to_be_bytes());
    bytes.extend(NOW.to_be_bytes());
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(domain.to_be_bytes());
    bytes.extend(body);
    bytes
}

pub(crate) fn set(id: u16, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len() + 4).unwrap();
    [&id.to_be_bytes()[..], &len.to_be_bytes(), body].concat()
}

/// A template record: element and length, the enterprise bit with its number after it.
pub(crate) fn template(id: u16, fields: &[(u16, u16, u32)]) -> Vec<u8> {
    let count = u16::try_from(fields.len()).unwrap();
    let mut bytes = [id.to_be_bytes(), count.to_be_bytes()].concat();
    bytes.extend(fields.iter().flat_map(specifier));
    bytes
}

pub(crate) fn specifier((element, len, enterprise): &(u16, u16, u32)) -> Vec<u8> {
    let bit = if *enterprise == 0 { 0 } else { 0x8000 };
    let mut bytes = [(element | bit).to_be_bytes(), len.to_be_bytes()].concat();
    if *enterprise != 0 {
        bytes.extend(enterprise.to_be_bytes());
    }
    bytes
}

/// Addresses, ports, protocol, flags, packets, bytes, first and last by uptime.
pub(crate) const FLOW: [(u16, u16, u32); 10] = [
    (8, 4, 0),
    (12, 4, 0),
    (7, 2, 0),
    (11, 2, 0),
    (4, 1, 0),
    (6, 1, 0),
    (2, 4, 0),
    (1, 4, 0),
    (22, 4, 0),
    (21, 4, 0),
];

/// A record of [`FLOW`].
pub(crate) fn flow(way: &Way) -> Vec<u8> {
    let mut bytes = [ip(way.from.0).octets(), ip(way.to.0).octets()].concat();
    bytes.extend(way.from.1.to_be_bytes());
    bytes.extend(way.to.1.to_be_bytes());
    bytes.extend([6, way.flags]);
    for number in [way.packets, way.bytes, way.first, way.last] {
        bytes.extend(number.to_be_bytes());
    }
    bytes
}

/// A v9 datagram with the template and these flows.
pub(crate) fn v9_flows(sequence: u32, ways: &[Way]) -> Vec<u8> {
    let data: Vec<u8> = ways.iter().flat_map(flow).collect();
    v9(1, sequence, 0, &[set(0, &template(256, &FLOW)), set(256, &data)])
}

pub(crate) fn datagram(bytes: &[u8], number: u64) -> Datagram<'_> {
    datagram_from(bytes, number, exporter(1))
}

pub(crate) fn datagram_from(bytes: &[u8], number: u64, exporter: Endpoint) -> Datagram<'_> {
    let seconds = u32::try_from(number).unwrap();
    Datagram { exporter, bytes, evidence: Evidence::frame(SourceId(0), number, at(NOW + seconds)) }
}

/// What a decoder makes of these datagrams, in this order.
pub(crate) fn decode(datagrams: &[Vec<u8>]) -> (Vec<FlowRecord>, Decoder) {
    let mut decoder = Decoder::new(Limits::default());
    let mut records = Vec::new();
    for (number, bytes) in (1..).zip(datagrams) {
        decoder.push(&datagram(bytes, number), &mut |record, _| records.push(*record));
    }
    (records, decoder)
}

pub(crate) fn collector() -> Collector {
    Collector::new(Limits::default())
}
