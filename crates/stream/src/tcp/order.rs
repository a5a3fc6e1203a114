//! Puts the segments of one direction in order.
//!
//! Overlaps: what was handed on stays, as it does with every receiver that took it. Of bytes that are
//! still held systems keep different ones; here it is those that Linux keeps, for that is what nearly
//! every Docker daemon runs on. That they differ is an anomaly in itself: it is told for bytes that are held,
//! and for the latest 4 KiB handed on.

use tw_model::{AnomalyKind, Direction, Evidence};

use super::hole::{Held, charge, slice};
use super::side::Side;
use super::tail::SIZE as TAIL_SIZE;
use crate::Counters;
use crate::step::{Sink, Step, length};

impl Side {
    /// Payload at a position, of which `payload` was captured.
    pub(crate) fn payload<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        position: u64,
        payload: &[u8],
        payload_len: u32,
    ) {
        let mut end = position.saturating_add(u64::from(payload_len));
        if self.fin && end > self.end {
            step.counters.after_fin_bytes += end - self.end.max(position);
            end = self.end;
            if end <= position {
                return;
            }
        }
        let payload = slice(payload, position, position, end);
        if step.counts_only() {
            if !self.started {
                self.start(position);
            }
            if end <= self.next {
                step.counters.retransmitted_bytes += end - position;
            }
            self.count_to(step, direction, end);
        } else if !self.started || position > self.next {
            self.hold(step, direction, position, payload, end);
        } else if end <= self.next {
            step.counters.retransmitted_bytes += end - position;
            self.compare(step, position, payload);
        } else {
            self.hand_on(step, direction, position, payload, end);
        }
        self.reach_end(step, direction);
    }

    /// A segment that continues what was handed on.
    fn hand_on<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        position: u64,
        payload: &[u8],
        end: u64,
    ) {
        if position < self.next {
            step.counters.retransmitted_bytes += self.next - position;
            self.compare(step, position, payload);
        }
        let captured = position.saturating_add(length(payload));
        // It begins before all that is held, so that its bytes win.
        let mut differs = false;
        for (at, held) in self.hole.iter().flat_map(|hole| hole.before(captured)) {
            let until = at.saturating_add(length(&held.bytes)).min(captured);
            differs |= slice(payload, position, at, until) != slice(&held.bytes, at, at, until);
            step.counters.retransmitted_bytes += until.saturating_sub(at);
        }
        if differs {
            self.conflict(step);
        }
        self.deliver(step, direction, slice(payload, position, self.next, captured));
        if captured < end {
            match &mut self.hole {
                Some(hole) => hole.cut_until = hole.cut_until.max(end),
                None => self.skip_to(step, direction, end),
            }
        }
        self.drain(step, direction);
    }

    pub(super) fn hold<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        position: u64,
        payload: &[u8],
        end: u64,
    ) {
        let cut = end.saturating_sub(position).saturating_sub(length(payload));
        let evidence = step.evidence;
        let hole = self.open_hole(step.now);
        let done = hole.insert(position, payload, cut, evidence);
        let too_much = hole.charged() > step.limits.held_bytes_per_direction;
        step.counters.hold(done.charged);
        step.counters.retransmitted_bytes += done.repeated;
        if done.conflict {
            self.conflict(step);
        }
        if !too_much {
            return;
        }
        self.overflow(step);
        self.start_at_first_held(step, direction);
        while self.charged() > step.limits.held_bytes_per_direction {
            self.give_up_first(step, direction);
        }
    }

    /// Hands on what is held and no longer waits for anything.
    pub(super) fn drain<S, F: Sink<S>>(&mut self, step: &mut Step<'_, S, F>, direction: Direction) {
        while self.started {
            let Some(hole) = &mut self.hole else { return };
            let first = hole.first();
            let cut_until = hole.cut_until;
            if first.is_some_and(|first| first <= self.next) {
                let Some((at, held)) = hole.pop_first() else { return };
                self.deliver_held(step, direction, at, &held);
            } else if cut_until > self.next {
                let until = first.map_or(cut_until, |first| first.min(cut_until));
                let until = if self.fin { until.min(self.end) } else { until };
                if until <= self.next {
                    return;
                }
                self.skip_to(step, direction, until);
            } else {
                let waits = first.is_some() || self.next < self.end || self.lost_tail();
                if !waits {
                    self.hole = None;
                }
                return;
            }
        }
    }

    pub(super) fn deliver_held<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        at: u64,
        held: &Held,
    ) {
        step.counters.release(charge(&held.bytes));
        let all = at.saturating_add(length(&held.bytes));
        let end = if self.fin { all.min(self.end) } else { all };
        step.counters.after_fin_bytes += all - end.max(at).min(all);
        let new = slice(&held.bytes, at, self.next, end);
        self.tell(step, direction, new, held.evidence);
        if let Some(hole) = &mut self.hole {
            hole.cut_until = hole.cut_until.max(all.saturating_add(held.cut));
            hole.opened = step.now;
        }
    }

    fn deliver<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        bytes: &[u8],
    ) {
        self.tell(step, direction, bytes, step.evidence);
    }

    /// Hands on the next bytes, without one that is urgent: who reads the stream does not get it.
    fn tell<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        bytes: &[u8],
        evidence: Evidence,
    ) {
        if bytes.is_empty() {
            return;
        }
        if step.wants(direction, length(bytes)) {
            self.keep(step, bytes);
        }
        let (at, offset) = (self.next, self.next - self.start);
        self.next = at.saturating_add(length(bytes));
        if self.urgent < at || self.urgent >= self.next {
            step.data(direction, offset, bytes, evidence);
            return;
        }
        step.counters.urgent_bytes += 1;
        let before = slice(bytes, at, at, self.urgent);
        let behind = slice(bytes, at, self.urgent.saturating_add(1), self.next);
        step.data(direction, offset, before, evidence);
        step.count_payload(direction, 1);
        step.data(
            direction,
            offset.saturating_add(length(before)).saturating_add(1),
            behind,
            evidence,
        );
    }

    /// Keeps bytes that are handed on for comparison, if the table has memory for that.
    pub(super) fn keep<S, F: Sink<S>>(&mut self, step: &mut Step<'_, S, F>, bytes: &[u8]) {
        if self.tail.is_none() {
            let kept = step.counters.kept_bytes_now.saturating_add(TAIL_SIZE);
            if step.counts_only() || kept > step.limits.kept_bytes {
                return;
            }
            step.counters.kept_bytes_now = kept;
        }
        self.tail.get_or_insert_default().record(self.next, bytes);
    }

    pub(super) fn compare<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        position: u64,
        bytes: &[u8],
    ) {
        if self.tail.as_ref().is_some_and(|tail| !tail.agrees(position, bytes)) {
            self.conflict(step);
        }
    }

    pub(crate) fn forget_tail(&mut self, counters: &mut Counters) {
        if self.tail.take().is_some() {
            counters.kept_bytes_now = counters.kept_bytes_now.saturating_sub(TAIL_SIZE);
        }
    }

    fn conflict<S, F: Sink<S>>(&mut self, step: &mut Step<'_, S, F>) {
        step.counters.overlap_conflicts += 1;
        self.conflicts = self.conflicts.saturating_add(1);
        if self.conflicts.is_power_of_two() {
            step.anomaly(AnomalyKind::TcpOverlapConflict);
        }
    }

    /// A limit was reached.
    pub(crate) fn overflow<S, F: Sink<S>>(&mut self, step: &mut Step<'_, S, F>) {
        step.counters.reassembly_limits += 1;
        self.overflows = self.overflows.saturating_add(1);
        if self.overflows.is_power_of_two() {
            step.anomaly(AnomalyKind::ReassemblyLimit);
        }
    }

    pub(super) fn skip_to<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        target: u64,
    ) {
        let offset = self.next - self.start;
        let len = target.saturating_sub(self.next);
        self.next = self.next.max(target);
        step.gap(direction, offset, len);
    }

    pub(super) fn count_to<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        end: u64,
    ) {
        step.count_payload(direction, end.saturating_sub(self.next));
        self.next = self.next.max(end);
    }
}
