//! A flow record as a piece of a conversation: one direction, one stretch of time.

use std::net::IpAddr;

use tw_model::{Endpoint, Evidence, FlowCounts, FlowRecord, Protocol, Sampling, Timestamp};

/// Who exported a record: the scope in which records add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) exporter: IpAddr,
    pub(crate) version: u16,
    pub(crate) domain: u32,
}

/// Both ends, the lesser first, and the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) ends: [Endpoint; 2],
    pub(crate) protocol: Protocol,
}

/// One direction of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) source: Source,
    /// Index in [`Key::ends`] of who sent it.
    pub(crate) sender: usize,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// All TCP flags, where exported.
    pub(crate) flags: Option<u8>,
    pub(crate) sampling: Sampling,
    /// Who opened the flow, where the exporter says so: index in [`Key::ends`].
    pub(crate) opener: Option<usize>,
    pub(crate) evidence: Evidence,
}

/// The conversation that a record belongs to and its one or two pieces; nothing where an address is
/// missing.
pub(crate) fn pieces(
    record: &FlowRecord,
    evidence: Evidence,
) -> Option<(Key, Piece, Option<Piece>)> {
    let source = inside(record.source?, record.translated_source.0);
    let target = inside(record.destination?, record.translated_destination.0);
    let port = |own: Option<u16>, nat: Option<u16>, is_nat: bool| {
        nat.filter(|port| is_nat && *port != 0).or(own).unwrap_or(0)
    };
    let (nat_source, nat_target) = (record.translated_source.1, record.translated_destination.1);
    let from = Endpoint::new(source.0, port(record.source_port, nat_source, source.1));
    let to = Endpoint::new(target.0, port(record.destination_port, nat_target, target.1));
    let swapped = to < from;
    let ends = if swapped { [to, from] } else { [from, to] };
    let key = Key { ends, protocol: Protocol(record.protocol.unwrap_or(0)) };
    let sender = usize::from(swapped);
    let last = record.last.or(record.first).unwrap_or(evidence.timestamp);
    let first = record.first.unwrap_or(last).min(last);
    let piece = |sender: usize, counts: FlowCounts| Piece {
        source: Source {
            exporter: record.exporter.ip.to_canonical(),
            version: record.version,
            domain: record.domain,
        },
        sender,
        first,
        last,
        packets: counts.packets.unwrap_or(0),
        bytes: counts.bytes.unwrap_or(0),
        flags: counts.tcp_flags.filter(|_| key.protocol == Protocol::TCP),
        sampling: record.sampling,
        opener: record
            .source_opened
            .map(|opened| if opened { usize::from(swapped) } else { 1 - usize::from(swapped) }),
        evidence,
    };
    let reverse = record.reverse.filter(|counts| counts.packets != Some(0));
    Some((key, piece(sender, record.forward), reverse.map(|counts| piece(1 - sender, counts))))
}

/// The address by which a host is known inside, and whether that is the translated one: of the two
/// the private one, a container network's only where nothing else is there.
fn inside(own: IpAddr, translated: Option<IpAddr>) -> (IpAddr, bool) {
    let own = own.to_canonical();
    let Some(other) = translated.map(|ip| ip.to_canonical()).filter(|ip| !ip.is_unspecified())
    else {
        return (own, false);
    };
    if rank(other) > rank(own) { (other, true) } else { (own, false) }
}

/// Container networks (docker's first pools) rank above public addresses, the rest of the private
/// ranges (RFC 1918, RFC 4193) above both.
fn rank(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(v4) => match v4.octets() {
            [172, 17..=31, ..] => 1,
            _ if v4.is_private() => 2,
            _ => 0,
        },
        IpAddr::V6(v6) => u8::from(v6.is_unique_local()) * 2,
    }
}

impl Piece {
    /// One packet in so many, and whether that is known.
    pub(crate) const fn rate(&self) -> u32 {
        match self.sampling {
            Sampling::OneIn(rate) => rate,
            Sampling::Untold | Sampling::UnknownRate => 1,
        }
    }

    /// Were packets left out?
    pub(crate) const fn is_sampled(&self) -> bool {
        matches!(self.sampling, Sampling::UnknownRate | Sampling::OneIn(2..))
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags.is_some_and(|flags| flags & flag != 0)
    }

    /// The same for records that say the same: of one exporter, domain and direction, with the same
    /// times and counters. Never 0. It guards against repetition, not against who makes records up:
    /// he could as well leave them out.
    pub(crate) fn fingerprint(&self) -> u64 {
        let (high, low) = match self.source.exporter {
            IpAddr::V4(v4) => (0, u64::from(v4.to_bits())),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, rest @ ..] = v6.octets();
                (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes(rest))
            }
        };
        let domain = u64::from(self.source.domain) << 32
            | u64::from(self.source.version) << 1
            | u64::from(self.sender != 0);
        let (first, last) = (self.first.as_nanos(), self.last.as_nanos());
        let words = [
            high,
            low,
            domain,
            first.cast_unsigned(),
            last.cast_unsigned(),
            self.packets,
            self.bytes,
        ];
        let mix = |hash: u64, word: u64| {
            (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        let hash = words.into_iter().fold(0, mix);
        (hash ^ hash >> 32) | 1
    }
}

/// RFC 9293 §3.1.
pub(crate) const FIN: u8 = 0x01;
/// RFC 9293 §3.1.
pub(crate) const SYN: u8 = 0x02;
/// RFC 9293 §3.1.
pub(crate) const RST: u8 = 0x04;
/// RFC 9293 §3.1.
pub(crate) const ACK: u8 = 0x10;
