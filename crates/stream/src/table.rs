//! The flow table: finds a packet's flow, keeps time, keeps within limits.

use std::collections::BTreeSet;

use hashbrown::HashTable;
use tw_model::{AnomalyKind, ConnectionState, Direction, Evidence, Opener, Protocol, Timestamp};
use tw_wire::{Packet, TcpSegment, Transport, UdpDatagram};

use crate::clock::Clock;
use crate::key::{Addressed, Keyed};
use crate::pool::{Entry, Pool, Slot};
use crate::step::{Step, length};
use crate::tcp::{Outcome, opened_by_source, swap_opener};
use crate::{CloseReason, Counters, Flow, Interest, Limits, StreamEvent, opener, pair};

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
/// **Memory.** About 550 bytes and an `S` for a flow with no data held, and 4 KiB for each
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

    fn open<F>(
        &mut self,
        packet: &Packet<'_>,
        to: &Addressed,
        hash: u64,
        sink: &mut F,
    ) -> Option<Slot>
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
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
        Some(slot)
    }

    fn flow(&mut self, packet: &Packet<'_>, to: &Addressed) -> (Flow<S>, bool) {
        let id = tw_model::FlowId(self.next_id);
        self.next_id += 1;
        let (from_opener, opener_known, state) = match packet.transport {
            Transport::Tcp(tcp) => {
                let told = opened_by_source(tcp.flags);
                let guess = || !opener::source_serves(tcp.src_port, tcp.dst_port);
                let known = if told.is_some() { Opener::Seen } else { Opener::ByPorts };
                (told.unwrap_or_else(guess), known, ConnectionState::Attempted)
            }
            _ => (true, Opener::Seen, ConnectionState::Established),
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
            user: S::default(),
        };
        (flow, from_opener == to.from_low)
    }

    /// One packet on its flow.
    fn work<F>(&mut self, slot: Slot, packet: &Packet<'_>, to: &Addressed, sink: &mut F) -> Outcome
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
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
        entry.evidence = packet.evidence;
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
            Transport::Tcp(tcp) => entry.tcp.segment(&mut step, direction, &tcp),
            Transport::Udp(_) if repeated => Outcome::Taken,
            Transport::Udp(udp) => datagram(&mut step, direction, &udp),
            Transport::Other { .. } => Outcome::Taken,
        };
        self.conclude(slot, outcome, sink);
        outcome
    }

    /// After work on a flow: its end, its place in the agenda and in the lists.
    fn conclude<F>(&mut self, slot: Slot, outcome: Outcome, sink: &mut F)
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        let now = self.clock.elapsed();
        let Some(entry) = self.pool.get_mut(slot) else { return };
        if let Outcome::Ends(reason) = outcome {
            entry.closed = true;
            entry.tcp.forget_tails(&mut self.counters);
            sink(&mut entry.flow, entry.evidence, StreamEvent::Close(reason));
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
        if let Some(surplus) = self.pool.surplus_attempt(self.limits.attempted_flows.max(1)) {
            self.evict(surplus, sink);
        }
    }

    fn tick<F>(&mut self, now: u64, sink: &mut F)
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        self.next_tick = now.saturating_add(TICK);
        while let Some(&(due, slot)) = self.agenda.first().filter(|(due, _)| *due <= now) {
            self.agenda.remove(&(due, slot));
            self.review(slot, now, sink);
        }
        while let Some(slot) = self.pool.idle(now, &self.limits.idle) {
            let Some(entry) = self.pool.get(slot) else { break };
            self.counters.flows_idle += u64::from(!entry.closed);
            let at = entry.evidence;
            self.retire(slot, CloseReason::Idle, at, sink);
        }
    }

    /// The holes of a flow that are due.
    fn review<F>(&mut self, slot: Slot, now: u64, sink: &mut F)
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        let Some(entry) = self.pool.get_mut(slot) else { return };
        entry.hole_due = None;
        let mut step = Step {
            flow: &mut entry.flow,
            sink,
            counters: &mut self.counters,
            limits: &self.limits,
            evidence: entry.evidence,
            now,
        };
        let outcome = entry.tcp.review(&mut step);
        self.reschedule(slot, outcome, now, sink);
    }

    /// Gives up the hole that is due first, of any flow. False if there is none.
    fn relieve<F>(&mut self, sink: &mut F) -> bool
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        let Some((_, slot)) = self.agenda.pop_first() else { return false };
        let now = self.clock.elapsed();
        let Some(entry) = self.pool.get_mut(slot) else { return true };
        entry.hole_due = None;
        let mut step = Step {
            flow: &mut entry.flow,
            sink,
            counters: &mut self.counters,
            limits: &self.limits,
            evidence: entry.evidence,
            now,
        };
        let outcome = entry.tcp.give_up_oldest(&mut step);
        self.reschedule(slot, outcome, now, sink);
        true
    }

    /// As `conclude`, but the flow was not seen.
    fn reschedule<F>(&mut self, slot: Slot, outcome: Outcome, now: u64, sink: &mut F)
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        let Some(entry) = self.pool.get_mut(slot) else { return };
        if let Outcome::Ends(reason) = outcome {
            entry.closed = true;
            entry.tcp.forget_tails(&mut self.counters);
            sink(&mut entry.flow, entry.evidence, StreamEvent::Close(reason));
            self.pool.touch(slot, now);
            return;
        }
        // Never at once, else a tick might not end.
        let due = entry.tcp.hole_due(self.limits.reorder_nanos());
        entry.hole_due = due.map(|due| due.max(now.saturating_add(1)));
        self.agenda.extend(entry.hole_due.map(|due| (due, slot)));
    }

    fn evict<F>(&mut self, slot: Slot, sink: &mut F)
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        let Some(entry) = self.pool.get(slot) else { return };
        let at = entry.evidence;
        self.counters.flows_evicted += u64::from(!entry.closed);
        self.retire(slot, CloseReason::Evicted, at, sink);
    }

    /// Takes a flow out of the table, telling its end if that was not told yet.
    fn retire<F>(&mut self, slot: Slot, reason: CloseReason, at: Evidence, sink: &mut F)
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        let Some(mut entry) = self.pool.remove(slot) else { return };
        self.counters.flows_now = self.counters.flows_now.saturating_sub(1);
        let hash = self.keyed.of(&entry.key);
        if let Ok(found) = self.index.find_entry(hash, |other| *other == slot) {
            found.remove();
        }
        if let Some(due) = entry.hole_due.take() {
            self.agenda.remove(&(due, slot));
        }
        if entry.closed {
            return;
        }
        let mut step = Step {
            flow: &mut entry.flow,
            sink,
            counters: &mut self.counters,
            limits: &self.limits,
            evidence: at,
            now: self.clock.elapsed(),
        };
        entry.tcp.flush(&mut step);
        let attempt = step.flow.state != ConnectionState::Established;
        let evicted = reason == CloseReason::Evicted;
        // A flood would drown its reader: of mere attempts only the count is told each time.
        if evicted && (!attempt || step.counters.flows_evicted.is_power_of_two()) {
            step.anomaly(AnomalyKind::FlowEvicted);
        }
        step.emit(StreamEvent::Close(reason));
        entry.tcp.forget_tails(&mut self.counters);
    }
}

/// A SYN shows who opened a connection whose opener was guessed from the ports. Once payload was
/// handed on under the guess, the guess stays.
fn settle_opener<S>(entry: &mut Entry<S>, tcp: &TcpSegment<'_>, to: &Addressed) {
    if entry.flow.opener_known != Opener::ByPorts || entry.closed {
        return;
    }
    let Some(opened_by_source) = opened_by_source(tcp.flags) else { return };
    let guess = entry.direction(to.from_low) == Direction::ToResponder;
    if guess == opened_by_source {
        entry.flow.opener_known = Opener::Seen;
    } else if !entry.tcp.started() {
        swap_opener(&mut entry.flow);
        entry.tcp.swap();
        entry.opener_is_low = !entry.opener_is_low;
    }
}

fn count<S>(flow: &mut Flow<S>, packet: &Packet<'_>, direction: Direction) {
    let at = packet.evidence.timestamp;
    flow.last = flow.last.max(at);
    *pair::of_mut(&mut flow.packets, direction) += 1;
    let bytes = pair::of_mut(&mut flow.bytes, direction);
    *bytes = bytes.saturating_add(u64::from(packet.ip_len));
    if direction == Direction::ToResponder && flow.macs.is_none() {
        flow.macs = packet.macs;
    }
}

fn datagram<S, F>(step: &mut Step<'_, S, F>, direction: Direction, udp: &UdpDatagram<'_>) -> Outcome
where
    F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
{
    let missing = u64::from(udp.payload_len).saturating_sub(length(udp.payload));
    step.flow.truncated |= missing > 0;
    if udp.payload_len == 0 {
        return Outcome::Taken;
    }
    step.flow.first_payload.get_or_insert(step.evidence.timestamp);
    step.count_payload(direction, u64::from(udp.payload_len));
    if !step.counts_only() {
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        step.emit(StreamEvent::Datagram { direction, bytes: udp.payload, missing });
    }
    Outcome::Taken
}

/// How often timers are looked at, in nanoseconds of packet time.
const TICK: u64 = 100_000_000;
