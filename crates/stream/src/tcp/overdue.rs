//! What no longer comes: when to stop waiting for missing bytes of one direction.
//!
//! A hole that the receiver acknowledged will not be filled by a retransmission, only by reordering in
//! the capture: it becomes a gap soon. One that it did not acknowledge will be: it may take long.
//! Where nothing of the receiver is captured, there is no way to tell, and it becomes a gap soon.

use tw_model::Direction;

use super::hole::Mark;
use super::side::Side;
use crate::step::{Sink, Step};

impl Side {
    /// One packet of the flow later: what is due?
    pub(crate) fn review<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        resetting: bool,
    ) {
        if self.hole.is_none() {
            return;
        }
        self.drain(step, direction);
        self.reach_end(step, direction);
        let (acked, next, started) = (self.acked, self.next, self.started);
        let Some(hole) = &mut self.hole else { return };
        hole.packets = hole.packets.saturating_add(1);
        if !started && !resetting {
            return;
        }
        if hole.mark.is_some_and(|mark| mark.until <= next) {
            hole.mark = None;
        }
        if hole.mark.is_none() && (resetting || acked == 0 || acked > next) {
            let heard = acked != 0 && !resetting;
            let seen = hole.end().unwrap_or(0).max(self.end);
            let until = if heard { acked } else { seen.max(acked) };
            hole.mark = Some(Mark { until, since: step.now, packets: 0 });
        }
        if step.now.saturating_sub(hole.opened) >= HOPELESS {
            self.give_up_all(step, direction);
            return;
        }
        let Some(mark) = &mut hole.mark else { return };
        mark.packets = mark.packets.saturating_add(1);
        let waited = step.now.saturating_sub(mark.since);
        let patience = step.limits.reorder_nanos();
        if mark.packets <= step.limits.reorder_packets && waited < patience {
            return;
        }
        let until = mark.until;
        self.start_at_first_held(step, direction);
        while self.has_hole() && self.next < until {
            self.give_up_first(step, direction);
        }
    }

    /// When the hole is due by the table's clock.
    pub(crate) fn due(&self, patience: u64) -> Option<u64> {
        let hole = self.hole.as_ref()?;
        Some(match hole.mark {
            Some(mark) => mark.since.saturating_add(patience),
            None if !self.started => hole.opened.saturating_add(START_NANOS),
            None => hole.opened.saturating_add(HOPELESS),
        })
    }

    /// Was there enough time for a SYN, or the real first byte, to show up?
    pub(crate) fn start_is_due(&self, now: u64) -> bool {
        !self.started
            && self.hole.as_ref().is_some_and(|hole| {
                hole.packets >= START_PACKETS || now.saturating_sub(hole.opened) >= START_NANOS
            })
    }

    /// Everything missing is a gap.
    pub(crate) fn give_up_all<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
    ) {
        self.start_at_first_held(step, direction);
        while self.has_hole() {
            self.give_up_first(step, direction);
        }
    }

    pub(super) fn give_up_first<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
    ) {
        let first = self.first_held();
        if first.is_none() && !self.fin && self.end != 0 {
            // Bytes before a RST that the receiver never got need not have been sent.
            self.end = if self.acked == 0 { self.end } else { self.end.min(self.acked) };
        }
        let known = first.or_else(|| (self.end != 0).then_some(self.end));
        let target = known.unwrap_or(self.acked);
        let target = if self.fin { target.min(self.end) } else { target };
        self.believe(step, direction, target);
        let target = target.max(self.next);
        self.skip_to(step, direction, target);
        if !self.fin && first.is_none() {
            self.end = 0;
        }
        self.drain(step, direction);
        self.reach_end(step, direction);
    }

    /// Nothing is held any more, and what was is only counted.
    pub(crate) fn forget_held<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
    ) {
        let Some(hole) = self.hole.take() else { return };
        step.counters.release(hole.charged());
        if !self.started {
            self.start(hole.first().unwrap_or(self.next));
        }
        let end = if self.fin { self.end } else { 0 };
        self.count_to(step, direction, hole.end().unwrap_or(0).max(end));
        self.reach_end(step, direction);
    }
}

/// A direction whose SYN was not seen begins with its first payload after that many packets of the
/// flow, or that much time, in which the SYN or earlier payload may still come.
const START_PACKETS: u32 = 16;
const START_NANOS: u64 = 200_000_000;
/// A hole that the receiver never acknowledged is given up after a minute.
const HOPELESS: u64 = 60_000_000_000;
