//! How flows end, and their holes: by time, by a limit, by the end of input.

use tw_model::{AnomalyKind, ConnectionState, Evidence};

use super::Table;
use crate::CloseReason;
use crate::pool::Slot;
use crate::step::{Sink, Step, close};
use crate::tcp::Outcome;

impl<S: Default> Table<S> {
    pub(super) fn tick<F: Sink<S>>(&mut self, now: u64, sink: &mut F) {
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
    fn review<F: Sink<S>>(&mut self, slot: Slot, now: u64, sink: &mut F) {
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
    pub(super) fn relieve<F: Sink<S>>(&mut self, sink: &mut F) -> bool {
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
    fn reschedule<F: Sink<S>>(&mut self, slot: Slot, outcome: Outcome, now: u64, sink: &mut F) {
        let Some(entry) = self.pool.get_mut(slot) else { return };
        if let Outcome::Ends(reason) = outcome {
            entry.closed = true;
            entry.tcp.forget_tails(&mut self.counters);
            close(&mut entry.flow, entry.evidence, reason, sink);
            self.pool.touch(slot, now);
            return;
        }
        // Never at once, else a tick might not end.
        let due = entry.tcp.hole_due(self.limits.reorder_nanos());
        entry.hole_due = due.map(|due| due.max(now.saturating_add(1)));
        self.agenda.extend(entry.hole_due.map(|due| (due, slot)));
    }

    pub(super) fn evict<F: Sink<S>>(&mut self, slot: Slot, sink: &mut F) {
        let Some(entry) = self.pool.get(slot) else { return };
        let at = entry.evidence;
        self.counters.flows_evicted += u64::from(!entry.closed);
        self.retire(slot, CloseReason::Evicted, at, sink);
    }

    /// Takes a flow out of the table, telling its end if that was not told yet.
    pub(super) fn retire<F: Sink<S>>(
        &mut self,
        slot: Slot,
        reason: CloseReason,
        at: Evidence,
        sink: &mut F,
    ) {
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
        close(step.flow, step.evidence, reason, step.sink);
        entry.tcp.forget_tails(&mut self.counters);
    }
}

/// How often timers are looked at, in nanoseconds of packet time.
const TICK: u64 = 100_000_000;
