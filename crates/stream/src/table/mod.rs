//! The flow table: finds a packet's flow, keeps time, keeps within limits.

mod ending;
mod packet;
mod unreachable;

use std::collections::BTreeSet;

use hashbrown::HashTable;
use tw_model::{ConnectionState, Direction, Evidence, Opener, Protocol, Timestamp};
use tw_wire::{Packet, Transport};

use crate::clock::Clock;
use crate::key::{Addressed, Keyed};
use crate::pool::{Entry, Pool, Slot};
use crate::step::{Sink, Step, close};
use crate::tcp::{Outcome, opened_by_source};
use crate::{CloseReason, Counters, Flow, Interest, Limits, StreamEvent, opener};
use packet::{count, datagram, settle_opener};

/// Connections and conversations, each with its owner's state `S`.
///
/// [`push`](Self::push) every packet in capture order, [`advance`](Self::advance) when time passes
/// without packets, [`finish`](Self::finish) at the end. For each flow the sink gets
/// [`StreamEvent::Open`] first and [`StreamEvent::Close`] last, and nothing after that.
///
/// **When a connection closes.** `Close` comes as soon as both directions have handed on everything
/// before their FIN, or with a RST. The flow then stays for [`crate::IdleTimes::closed`] to swallow
/// late packets, which are not reported any more, so that they don't make a new flow. The ACK of the
/// last FIN is the first of these: it is not in the flow's counts.
///
/// **Mirror duplicates.** The same packet again within milliseconds is counted once, whatever its
/// link-layer addresses and hop limit; for TCP it still goes through reassembly, where it changes
/// nothing.
///
/// **Evidence.** Each event comes with the packet that carried it: for bytes that were held, the packet
/// that they came in; for gaps and endings, the packet that made it certain; for timers, the flow's
/// latest.
///
/// **Determinism.** The same packets give the same events, whatever the keys of the hash table.
///
/// **Memory.** About 660 bytes and an `S` for a flow with no data held, and at most 4 KiB for each
/// direction that is being read, within [`Limits::kept_bytes`].
#[derive(Debug)]
pub struct Table<S> {
    limits: Limits,
    counters: Counters,
    keyed: Keyed,
    clock: Clock,
    index: HashTable<Slot>,
    pool: Pool<S>,
    /// Flows with holes by when the first of them is due.
    agenda: BTreeSet<(u64, Slot)>,
    next_id: u64,
    next_tick: u64,
}

impl<S: Default> Table<S> {
    /// An empty table.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            counters: Counters::default(),
            keyed: Keyed::new(),
            clock: Clock::default(),
            index: HashTable::new(),
            pool: Pool::new(),
            agenda: BTreeSet::new(),
            next_id: 0,
            next_tick: 0,
        }
    }

    /// Takes a packet.
    pub fn push<F>(&mut self, packet: &Packet<'_>, sink: &mut F)
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        self.counters.packets += 1;
        let now = self.clock.observe(packet.evidence.timestamp);
        if now >= self.next_tick {
            self.tick(now, sink);
        }
        let to = Addressed::of(packet);
        let hash = self.keyed.of(&to.key);
        let found = self.find(&to, hash);
        let Some(slot) = found.or_else(|| self.open(packet, &to, hash, sink)) else { return };
        if self.work(slot, packet, &to, sink) == Outcome::Reopens {
            self.retire(slot, CloseReason::Reused, packet.evidence, sink);
            if let Some(slot) = self.open(packet, &to, hash, sink) {
                self.work(slot, packet, &to, sink);
            }
        }
        while self.counters.held_bytes_now > self.limits.held_bytes && self.relieve(sink) {}
    }

    /// Lets time pass: ends idle flows, and gives up holes that are due.
    pub fn advance<F>(&mut self, now: Timestamp, sink: &mut F)
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        let now = self.clock.observe(now);
        self.tick(now, sink);
    }

    /// Ends all flows, in the order in which they began. The table is empty then.
    pub fn finish<F>(&mut self, sink: &mut F)
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        let mut left: Vec<_> =
            self.pool.slots().map(|(slot, entry)| (entry.flow.id, slot)).collect();
        left.sort_unstable();
        for (_, slot) in left {
            let Some(at) = self.pool.get(slot).map(|entry| entry.evidence) else { continue };
            self.retire(slot, CloseReason::EndOfInput, at, sink);
        }
        // Whoever judges now needs the memory more.
        self.pool = Pool::new();
        self.index = HashTable::new();
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn find(&self, to: &Addressed, hash: u64) -> Option<Slot> {
        let same = |slot: &Slot| self.pool.get(*slot).is_some_and(|entry| entry.key == to.key);
        self.index.find(hash, same).copied()
    }

    fn open<F: Sink<S>>(
        &mut self,
        packet: &Packet<'_>,
        to: &Addressed,
        hash: u64,
        sink: &mut F,
    ) -> Option<Slot> {
        while self.pool.len() >= self.limits.flows.max(1) {
            let slot = self.pool.least_valuable()?;
            self.evict(slot, sink);
        }
        let (flow, opener_is_low) = self.flow(packet, to);
        let now = self.clock.elapsed();
        let entry = Entry::new(flow, to, opener_is_low, packet.evidence);
        let slot = self.pool.insert(entry, now)?;
        let (pool, keyed) = (&self.pool, &self.keyed);
        self.index.insert_unique(hash, slot, |slot| {
            pool.get(*slot).map_or(0, |entry| keyed.of(&entry.key))
        });
        let total = match to.protocol {
            Protocol::TCP => &mut self.counters.flows_tcp,
            Protocol::UDP => &mut self.counters.flows_udp,
            _ => &mut self.counters.flows_other,
        };
        *total += 1;
        self.counters.flows_now += 1;
        self.counters.flows_peak = self.counters.flows_peak.max(self.counters.flows_now);
        let flow = &mut self.pool.get_mut(slot)?.flow;
        sink(flow, packet.evidence, StreamEvent::Open);
        self.shed_attempts(sink);
        Some(slot)
    }

    fn flow(&mut self, packet: &Packet<'_>, to: &Addressed) -> (Flow<S>, bool) {
        let id = tw_model::FlowId(self.next_id);
        self.next_id += 1;
        let told = match packet.transport {
            Transport::Tcp(tcp) => opened_by_source(tcp.flags),
            _ if to.protocol == Protocol::TCP => None,
            _ => Some(true),
        };
        let opener_known = if told.is_some() { Opener::Seen } else { Opener::ByPorts };
        let guess = || !opener::source_serves(to.src.port, to.dst.port);
        let from_opener = told.unwrap_or_else(guess);
        let state = match to.protocol {
            Protocol::TCP => ConnectionState::Attempted,
            _ => ConnectionState::Established,
        };
        let (opener, responder) = if from_opener { (to.src, to.dst) } else { (to.dst, to.src) };
        let at = packet.evidence.timestamp;
        let flow = Flow {
            id,
            opener,
            responder,
            opener_known,
            protocol: to.protocol,
            tag: packet.tag,
            macs: None,
            first: at,
            last: at,
            first_payload: None,
            payload_bytes: [0; 2],
            packets: [0; 2],
            bytes: [0; 2],
            state,
            midstream: opener_known == Opener::ByPorts,
            gap_bytes: 0,
            truncated: false,
            interest: Interest::Payload,
            unread: [0; 2],
            passed: [None; 2],
            user: S::default(),
        };
        (flow, from_opener == to.from_low)
    }

    /// One packet on its flow.
    fn work<F: Sink<S>>(
        &mut self,
        slot: Slot,
        packet: &Packet<'_>,
        to: &Addressed,
        sink: &mut F,
    ) -> Outcome {
        let now = self.clock.elapsed();
        let Some(entry) = self.pool.get_mut(slot) else { return Outcome::Taken };
        if let Transport::Tcp(tcp) = packet.transport {
            settle_opener(entry, &tcp, to);
        }
        let direction = entry.direction(to.from_low);
        if entry.closed {
            let outcome = match packet.transport {
                Transport::Tcp(tcp) => entry.tcp.lingers(direction, &tcp),
                _ => Outcome::Taken,
            };
            self.pool.touch(slot, now);
            return outcome;
        }
        let fingerprint = self.keyed.fingerprint(packet, to.from_low);
        let repeated = entry.recent.repeats(fingerprint, packet.ip_id != 0, now);
        let before = (entry.flow.packets, entry.flow.bytes, entry.flow.last);
        if repeated {
            self.counters.duplicates += 1;
        } else {
            count(&mut entry.flow, packet, direction);
        }
        let mut step = Step {
            flow: &mut entry.flow,
            sink,
            counters: &mut self.counters,
            limits: &self.limits,
            evidence: packet.evidence,
            now,
        };
        let outcome = match packet.transport {
            Transport::Tcp(tcp) => entry.tcp.segment(&mut step, direction, packet, &tcp),
            Transport::Udp(_) if repeated => Outcome::Taken,
            Transport::Udp(udp) => datagram(&mut step, direction, &udp),
            Transport::Other { .. } => Outcome::Taken,
        };
        if outcome == Outcome::Reopens {
            (entry.flow.packets, entry.flow.bytes, entry.flow.last) = before;
            return outcome;
        }
        entry.evidence = packet.evidence;
        if outcome != Outcome::Taken || !entry.is_settled(now) {
            self.conclude(slot, outcome, sink);
        }
        if let Transport::Other { protocol, payload } = packet.transport {
            self.refuse(Protocol(protocol), payload, packet.tag.vni);
        }
        outcome
    }

    /// After work on a flow that was not settled: its end, its place in the agenda and in the lists.
    fn conclude<F: Sink<S>>(&mut self, slot: Slot, outcome: Outcome, sink: &mut F) {
        let now = self.clock.elapsed();
        let Some(entry) = self.pool.get_mut(slot) else { return };
        if let Outcome::Ends(reason) = outcome {
            entry.closed = true;
            entry.tcp.forget_tails(&mut self.counters);
            close(&mut entry.flow, entry.evidence, reason, sink);
        }
        if entry.hole_due.is_some() || entry.tcp.has_holes() {
            let due = entry.tcp.hole_due(self.limits.reorder_nanos());
            if entry.hole_due != due {
                if let Some(old) = std::mem::replace(&mut entry.hole_due, due) {
                    self.agenda.remove(&(old, slot));
                }
                self.agenda.extend(due.map(|due| (due, slot)));
            }
        }
        self.pool.touch(slot, now);
    }

    /// Keeps within the limit of attempts: the least recently seen goes.
    fn shed_attempts<F: Sink<S>>(&mut self, sink: &mut F) {
        if let Some(surplus) = self.pool.surplus_attempt(self.limits.attempted_flows.max(1)) {
            self.evict(surplus, sink);
        }
    }

    /// An ICMP error about a SYN: nobody is there. It may come late, or from anybody, so the
    /// attempt goes on until its idle time; an answer from its responder counts more.
    fn refuse(&mut self, protocol: Protocol, payload: &[u8], vni: Option<u32>) {
        let Some(quoted) = unreachable::quoted_syn(protocol, payload) else { return };
        let to = Addressed::new(Protocol::TCP, quoted.src, quoted.dst, vni);
        let Some(slot) = self.find(&to, self.keyed.of(&to.key)) else { return };
        let Some(entry) = self.pool.get_mut(slot) else { return };
        let direction = entry.direction(to.from_low);
        let attempted = entry.flow.state == ConnectionState::Attempted && !entry.closed;
        if attempted
            && direction == Direction::ToResponder
            && entry.tcp.side(direction).began_with(quoted.seq)
        {
            entry.flow.state = ConnectionState::Refused;
        }
    }
}
