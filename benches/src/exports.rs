//! Export datagrams of many conversations that are under way at the same time.
//!
//! Each conversation is reported both ways once a round, a minute of its clock apart, as an exporter
//! with an active timeout of one minute does; it lasts five rounds, and another begins in its place.

/// Seconds at which the exporter of these datagrams started.
const BOOT: u32 = 1_795_440_000;
/// Records in a datagram: what fits into 1,500 octets.
const V5_RECORDS: u32 = 30;
const TEMPLATE_RECORDS: u32 = 32;
/// Rounds that a conversation lasts.
const ROUNDS: u32 = 5;

/// Which encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// NetFlow v5.
    V5,
    /// NetFlow v9.
    V9,
    /// IPFIX.
    Ipfix,
}

/// Makes datagrams, round by round.
#[derive(Debug)]
pub struct Exports {
    version: Version,
    conversations: u32,
    sequence: u32,
    round: u32,
}

/// Elements of a record, in this order: addresses, ports, protocol, flags, packets, octets, and first
/// and last packet in milliseconds since the start (v9) or since 1970 (IPFIX).
const V9: [(u16, u16); 10] =
    [(8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (6, 1), (2, 4), (1, 4), (22, 4), (21, 4)];
const IPFIX: [(u16, u16); 10] =
    [(8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (6, 1), (2, 4), (1, 4), (152, 8), (153, 8)];

impl Exports {
    /// Of so many conversations at a time.
    #[must_use]
    pub const fn new(version: Version, conversations: u32) -> Self {
        Self { version, conversations, sequence: 0, round: 0 }
    }

    /// When the next round is exported, in seconds since 1970.
    #[must_use]
    pub const fn time(&self) -> u32 {
        BOOT + (self.round + 1) * 60
    }

    /// One round: each conversation once, both ways. Says how many records that were.
    pub fn round(&mut self, mut each: impl FnMut(&[u8])) -> u32 {
        let records = self.conversations * 2;
        let most = if self.version == Version::V5 { V5_RECORDS } else { TEMPLATE_RECORDS };
        let mut datagram = Vec::with_capacity(1_600);
        let mut done = 0;
        while done < records {
            let count = most.min(records - done);
            datagram.clear();
            self.header(&mut datagram, count, done == 0);
            for number in done..done + count {
                // A prime step spreads neighbours over the table, and meets each once.
                let index = u64::from(number / 2) * 7_919 % u64::from(self.conversations);
                let index = u32::try_from(index).unwrap_or(0);
                self.record(&mut datagram, index, number % 2 == 1);
            }
            self.finish(&mut datagram);
            each(&datagram);
            self.sequence += if self.version == Version::V9 { 1 } else { count };
            done += count;
        }
        self.round += 1;
        records
    }

    fn header(&self, out: &mut Vec<u8>, count: u32, templates: bool) {
        let short = |value: u32| u16::try_from(value).unwrap_or(u16::MAX).to_be_bytes();
        let uptime = (self.time() - BOOT) * 1_000;
        match self.version {
            Version::V5 => {
                out.extend([short(5), short(count)].concat());
                for word in [uptime, self.time(), 0, self.sequence, 0] {
                    out.extend(word.to_be_bytes());
                }
            }
            Version::V9 => {
                out.extend([short(9), short(count)].concat());
                for word in [uptime, self.time(), self.sequence, 0] {
                    out.extend(word.to_be_bytes());
                }
                self.sets(out, 0, &V9, count, templates);
            }
            Version::Ipfix => {
                out.extend([short(10), short(0)].concat());
                for word in [self.time(), self.sequence, 0] {
                    out.extend(word.to_be_bytes());
                }
                self.sets(out, 2, &IPFIX, count, templates);
            }
        }
    }

    fn sets(
        &self,
        out: &mut Vec<u8>,
        template_set: u16,
        fields: &[(u16, u16)],
        count: u32,
        templates: bool,
    ) {
        if templates {
            for word in [template_set, 4 + 4 + 40, 256, 10] {
                out.extend(word.to_be_bytes());
            }
            for (element, len) in fields {
                out.extend([element.to_be_bytes(), len.to_be_bytes()].concat());
            }
        }
        let record: u32 = fields.iter().map(|(_, len)| u32::from(*len)).sum();
        let len = u16::try_from(4 + record * count).unwrap_or(u16::MAX);
        out.extend([256u16.to_be_bytes(), len.to_be_bytes()].concat());
    }

    fn record(&self, out: &mut Vec<u8>, index: u32, back: bool) {
        // Those of one index begin and end at different rounds.
        let age = (self.round + index) % ROUNDS;
        let generation = (self.round + index) / ROUNDS;
        let client = (0x0a00_0000u32 + index % 60_000).to_be_bytes();
        let server = (0xc600_0000u32 + index.wrapping_mul(40_503) % 0x00ff_ffff).to_be_bytes();
        let port = u16::try_from(32_768 + (generation * 7 + index / 60_000) % 28_000).unwrap_or(0);
        let ports = [port.to_be_bytes(), 443u16.to_be_bytes()];
        let flags = match age {
            0 => 0x1a,
            4 => 0x19,
            _ => 0x18,
        };
        let first = self.round * 60_000 + index % 1_000;
        let last = first + 55_000;
        let (from, to) = if back { (server, client) } else { (client, server) };
        let (from_port, to_port) = if back { (ports[1], ports[0]) } else { (ports[0], ports[1]) };
        let counts = [40u32.to_be_bytes(), 30_000u32.to_be_bytes()].concat();
        out.extend([from, to].concat());
        match self.version {
            Version::V5 => {
                out.extend([0; 8]);
                out.extend(&counts);
                out.extend([first.to_be_bytes(), last.to_be_bytes()].concat());
                out.extend([from_port, to_port].concat());
                out.extend([0, flags, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            }
            Version::V9 => {
                out.extend([from_port, to_port].concat());
                out.extend([6, flags]);
                out.extend(&counts);
                out.extend([first.to_be_bytes(), last.to_be_bytes()].concat());
            }
            Version::Ipfix => {
                out.extend([from_port, to_port].concat());
                out.extend([6, flags]);
                out.extend(&counts);
                let absolute = |ms: u32| u64::from(BOOT) * 1_000 + u64::from(ms);
                out.extend([absolute(first).to_be_bytes(), absolute(last).to_be_bytes()].concat());
            }
        }
    }

    fn finish(&self, datagram: &mut [u8]) {
        if self.version == Version::Ipfix {
            let len = u16::try_from(datagram.len()).unwrap_or(u16::MAX).to_be_bytes();
            datagram[2..4].copy_from_slice(&len);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use tw_model::{Endpoint, Evidence, SourceId, Timestamp};
    use tw_netflow::{Collector, Datagram, Limits};

    use super::*;

    #[test]
    fn every_version_is_decoded_whole_and_joined() {
        for version in [Version::V5, Version::V9, Version::Ipfix] {
            let mut exports = Exports::new(version, 1_000);
            let mut collector = Collector::new(Limits::default());
            let exporter = Endpoint::new(IpAddr::from(Ipv4Addr::LOCALHOST), 9);
            let mut records = 0;
            for _ in 0..6 {
                let at = Timestamp::from_secs_nanos(exports.time().into(), 0);
                let evidence = Evidence::frame(SourceId(0), 1, at);
                records += exports.round(|bytes| {
                    collector.push(&Datagram { exporter, bytes, evidence }, &mut |_| {});
                });
            }
            let counters = collector.counters();
            assert_eq!(counters.records, u64::from(records), "{version:?}");
            let wrong = counters.malformed + counters.gaps + counters.repeated + counters.sets_lost;
            assert_eq!(wrong, 0, "{version:?}: {counters:?}");
            let under_way = collector.usage().conversations;
            assert!((1_000..=3_000).contains(&under_way), "{version:?}: {under_way}");
        }
    }
}
