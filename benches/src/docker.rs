//! Recorded Docker builds, moved to hosts and servers of their own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tw_model::Timestamp;
use tw_testkit::{Records, Rewrite};

use crate::mix::Event;

/// `testdata/scenarios/classic-http.pcap`: who calls, who builds, and where it fetches from.
const CALLER: [u8; 4] = [198, 51, 100, 23];
const HOST: [u8; 4] = [10, 10, 1, 5];
const SERVER: [u8; 4] = [203, 0, 113, 77];

/// A server that the baseline knows; its name is as long as that of [`SERVER`].
const KNOWN_SERVER: [u8; 4] = [198, 18, 44, 12];

/// Servers are told apart by addresses that are as long as that of [`SERVER`].
const MOST_SESSIONS: u32 = 3_000;

/// One in so many sessions fetches from the server that is known.
const BENIGN_EVERY: u32 = 10;

/// The recording that all sessions are made from.
#[derive(Debug)]
pub struct Sessions<'a> {
    records: Vec<(Timestamp, &'a [u8])>,
    connections: u64,
    made: u32,
    truth: Truth,
}

/// What a capture holds that must be found, and what must not, in the form of `X.truth.json`.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    builds: Vec<Value>,
    findings: Vec<Value>,
    must_not_pairs: Vec<Value>,
}

impl Truth {
    /// How many pairs of host and destination must be found.
    #[must_use]
    pub fn findings(&self) -> usize {
        self.findings.len()
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "builds": self.builds,
            "findings": self.findings,
            "must_not_pairs": self.must_not_pairs,
        })
    }
}

impl<'a> Sessions<'a> {
    /// From `testdata/scenarios/classic-http.pcap`; `None` where it is no such capture.
    #[must_use]
    pub fn new(recording: &'a [u8]) -> Option<Self> {
        let records: Vec<_> = Records::new(recording)?.collect();
        if records.is_empty() {
            return None;
        }
        let connections = records.iter().filter(|(_, frame)| opens(frame)).count();
        Some(Self {
            connections: u64::try_from(connections).ok()?,
            records,
            made: 0,
            truth: Truth::default(),
        })
    }

    /// One more build, beginning at `at`; `None` where no more hosts can be told apart.
    pub(crate) fn next(&mut self, at: Timestamp) -> Option<Event> {
        if self.made == MOST_SESSIONS {
            return None;
        }
        let number = self.made;
        self.made += 1;
        let is_benign = number % BENIGN_EVERY == BENIGN_EVERY - 1;
        let [_, _, high, low] = (number + 1).to_be_bytes();
        let caller = [172, 20, high, low];
        let host = if is_benign { HOST } else { [10, 50, high, low] };
        let server = if is_benign { KNOWN_SERVER } else { new_server(number) };
        self.record_truth(caller, host, server, is_benign);
        let rewrite = Rewrite {
            addresses: BTreeMap::from([(CALLER, caller), (HOST, host), (SERVER, server)]),
            texts: vec![(dotted(SERVER), dotted(server))],
            began: self.records[0].0,
            begins: at,
        };
        let packets = self.records.iter().filter_map(|(at, frame)| rewrite.apply(*at, frame));
        Some(Event { packets: packets.collect(), flows: self.connections })
    }

    fn record_truth(&mut self, caller: [u8; 4], host: [u8; 4], server: [u8; 4], is_benign: bool) {
        self.truth.builds.push(json!({
            "client": dotted(caller),
            "daemon": format!("{}:2375", dotted(host)),
            "frontend": "classic",
            "tags": ["ubuntu:latest"],
            "base_images": ["alpine:3.18"],
        }));
        if is_benign {
            self.truth.must_not_pairs.push(json!([dotted(host), dotted(server)]));
        } else {
            self.truth.findings.push(json!({
                "technique": "T1612",
                "docker_host": dotted(host),
                "destination": dotted(server),
            }));
        }
    }

    /// What the sessions made so far hold.
    #[must_use]
    pub fn into_truth(self) -> Truth {
        self.truth
    }
}

/// Is this the first SYN of a TCP connection over IPv4 without options? Nothing else stands in the
/// recording.
fn opens(frame: &[u8]) -> bool {
    frame.get(23) == Some(&6) && frame.get(47).is_some_and(|flags| flags & 0x12 == 0x02)
}

fn dotted(address: [u8; 4]) -> String {
    Ipv4Addr::from(address).to_string()
}

/// 198.18.0.100 to 198.19.9.249: all twelve characters long, and none of them [`KNOWN_SERVER`].
fn new_server(number: u32) -> [u8; 4] {
    let byte = |value: u32| u8::try_from(value).expect("below 256");
    let (block, last) = (number / 150, number % 150);
    [198, byte(18 + block / 10), byte(block % 10), byte(100 + last)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn servers_are_distinct_and_as_long_as_the_recorded_one() {
        let servers: BTreeSet<_> = (0..MOST_SESSIONS).map(new_server).collect();
        assert_eq!(servers.len(), usize::try_from(MOST_SESSIONS).unwrap());
        assert!(!servers.contains(&KNOWN_SERVER));
        let len = dotted(SERVER).len();
        assert!(servers.into_iter().chain([KNOWN_SERVER]).all(|s| dotted(s).len() == len));
    }
}
