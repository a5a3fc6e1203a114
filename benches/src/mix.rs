//! Flows into one stream of packets in the order of time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::io::{self, Write};
use std::time::Duration;

use tw_model::Timestamp;
use tw_testkit::{Packet, PcapWriter};

use crate::docker::Sessions;
use crate::office;
use crate::random::Random;

/// 2026-11-25 08:00 UTC, after the recorded baseline.
pub(crate) const BEGIN: Timestamp = Timestamp::from_secs_nanos(1_795_593_600, 0);

/// Mean time between the begins of two flows.
const MEAN_GAP_MICROS: u64 = 2_000;

/// One event in so many is a Docker build: one a second.
const BUILD_EVERY: u64 = 400;

/// How long the packets of bodies are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packets {
    /// As long as an Ethernet carries: some 600 bytes on average.
    #[default]
    Full,
    /// As those of terminals, games and telephony: some 84 bytes on average.
    Short,
}

/// What begins at one moment.
pub(crate) struct Event {
    pub(crate) packets: Vec<Packet>,
    /// Connections and conversations in it.
    pub(crate) flows: u64,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Connections and conversations.
    pub flows: u64,
    /// Packets.
    pub packets: u64,
    /// Bytes of packets, without the file's own headers.
    pub bytes: u64,
}

/// Writes a capture of `flows` connections and conversations, or a few more. Holds in memory only what
/// has begun and not ended.
///
/// # Errors
/// Whatever `output` says.
pub fn write_mix(
    flows: u64,
    seed: u64,
    packets: Packets,
    sessions: &mut Sessions<'_>,
    output: impl Write,
) -> io::Result<Totals> {
    let mut random = Random::new(seed);
    let mut writer = PcapWriter::new(output)?;
    let mut totals = Totals::default();
    let mut pending = Pending::default();
    let mut now = BEGIN;
    let mut number = 0;
    while totals.flows < flows {
        pending.write_until(now, &mut writer, &mut totals)?;
        let is_build = number % BUILD_EVERY == BUILD_EVERY / 2;
        let build = if is_build { sessions.next(now) } else { None };
        let event = build.unwrap_or_else(|| office::event(&mut random, now, packets));
        totals.flows += event.flows;
        pending.add(event.packets);
        now = now.plus(Duration::from_micros(random.below(2 * MEAN_GAP_MICROS * event.flows)));
        number += 1;
    }
    pending.write_until(Timestamp::MAX, &mut writer, &mut totals)?;
    writer.finish()?;
    Ok(totals)
}

/// Packets that are still to come; those of the same time in the order in which they were added.
#[derive(Default)]
struct Pending {
    heap: BinaryHeap<Reverse<Next>>,
    added: u64,
}

struct Next {
    packet: Packet,
    number: u64,
}

impl Pending {
    fn add(&mut self, packets: Vec<Packet>) {
        for packet in packets {
            self.heap.push(Reverse(Next { packet, number: self.added }));
            self.added += 1;
        }
    }

    fn write_until<W: Write>(
        &mut self,
        until: Timestamp,
        writer: &mut PcapWriter<W>,
        totals: &mut Totals,
    ) -> io::Result<()> {
        while self.heap.peek().is_some_and(|Reverse(next)| next.packet.at <= until) {
            let Some(Reverse(Next { packet, .. })) = self.heap.pop() else { break };
            writer.write(packet.at, &packet.frame)?;
            totals.packets += 1;
            totals.bytes += u64::try_from(packet.frame.len()).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

impl Next {
    const fn order(&self) -> (Timestamp, u64) {
        (self.packet.at, self.number)
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Next {}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

#[cfg(test)]
mod tests {
    use tw_testkit::Records;

    use super::*;

    const RECORDING: &[u8] = include_bytes!("../../testdata/scenarios/classic-http.pcap");

    fn mix(flows: u64, seed: u64) -> (Vec<u8>, Totals, usize) {
        let mut sessions = Sessions::new(RECORDING).unwrap();
        let mut file = Vec::new();
        let totals = write_mix(flows, seed, Packets::Full, &mut sessions, &mut file).unwrap();
        (file, totals, sessions.into_truth().findings())
    }

    #[test]
    fn a_seed_gives_the_same_bytes_and_another_gives_others() {
        assert_eq!(mix(600, 7).0, mix(600, 7).0);
        assert_ne!(mix(600, 7).0, mix(600, 8).0);
    }

    #[test]
    fn packets_are_in_the_order_of_time_and_all_there() {
        let (file, totals, findings) = mix(1_000, 1);
        let times: Vec<_> = Records::new(&file).unwrap().map(|(at, _)| at).collect();
        assert!(times.is_sorted());
        assert_eq!(u64::try_from(times.len()).unwrap(), totals.packets);
        assert_eq!(findings, 2);
    }
}
