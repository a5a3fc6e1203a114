//! One direction of a connection: puts its bytes in order, each once.
//!
//! Positions are sequence numbers made 64 bits wide, so that they don't wrap.
//!
//! Overlaps: the first bytes win. Systems differ in which bytes they keep, and nobody outside knows
//! the receiver's choice; but what was handed on cannot be taken back, so the first is the only policy
//! that is the same for bytes that are still held and for those that are not. That they differ is an
//! anomaly in itself: it is told for bytes that are held, and for the latest 4 KiB handed on.

use tw_model::{AnomalyKind, Direction, Evidence};

use super::hole::{Held, Hole, Mark, charge, slice};
use super::tail::{SIZE as TAIL_SIZE, Tail};
use crate::step::{Step, length};
use crate::{Counters, Flow, StreamEvent};

/// Reassembly of one direction.
#[derive(Debug, Default)]
pub(crate) struct Side {
    /// Of the first payload byte.
    start: u64,
    /// Of the next byte to hand on. Before the start is known: of anything near. 0: nothing known.
    next: u64,
    /// The other side has everything before this. 0: it never said.
    acked: u64,
    /// Where this direction ends. 0: not known.
    end: u64,
    hole: Option<Box<Hole>>,
    tail: Option<Box<Tail>>,
    conflicts: u32,
    /// A packet of this direction was captured: if not, nothing is missed from it.
    captured: bool,
    started: bool,
    syn: bool,
    /// The end is that of a FIN, otherwise of a RST.
    fin: bool,
    finished: bool,
}

impl Side {
    pub(crate) const fn saw_fin(&self) -> bool {
        self.fin
    }

    pub(crate) const fn saw_syn(&self) -> bool {
        self.syn
    }

    pub(crate) const fn started(&self) -> bool {
        self.started
    }

    pub(crate) const fn finished(&self) -> bool {
        self.finished
    }

    pub(crate) const fn is_known(&self) -> bool {
        self.next != 0
    }

    pub(crate) const fn has_hole(&self) -> bool {
        self.hole.is_some()
    }

    pub(crate) fn is_holding(&self) -> bool {
        self.hole.as_ref().is_some_and(|hole| hole.first().is_some())
    }

    pub(crate) fn hole_opened(&self) -> u64 {
        self.hole.as_ref().map_or(u64::MAX, |hole| hole.opened)
    }

    /// Was this SYN its first?
    pub(crate) const fn began_with(&self, seq: u32) -> bool {
        self.syn && low(self.start) == seq.wrapping_add(1)
    }

    /// Is it known what comes next, and is it this?
    pub(crate) const fn is_next(&self, seq: u32) -> bool {
        self.started && low(self.next) == seq
    }

    /// Is a sequence number one that this connection cannot have come to?
    pub(crate) const fn is_elsewhere(&self, seq: u32) -> bool {
        self.is_known() && self.position(seq).abs_diff(self.next) > ELSEWHERE
    }

    /// A keep-alive repeats the byte before the next (RFC 9293 §3.8.4).
    pub(crate) const fn is_probe(&self, position: u64) -> bool {
        self.started && position.saturating_add(1) == self.next
    }

    /// Is a sequence number between what was acknowledged and what was seen, give or take a slack?
    pub(crate) fn is_near(&self, seq: u32, slack: u32) -> bool {
        let position = self.position(seq);
        let lowest = if self.acked == 0 { self.next } else { self.next.min(self.acked) };
        let held = self.hole.as_ref().and_then(|hole| hole.end()).unwrap_or(0);
        let highest = self.next.max(self.acked).max(held);
        self.is_known()
            && position >= lowest.saturating_sub(u64::from(slack))
            && position <= highest.saturating_add(u64::from(slack))
    }

    /// The position of a segment, unless it is far outside of the window.
    pub(crate) fn locate(&mut self, seq: u32, window: u32) -> Option<u64> {
        self.captured = true;
        if !self.is_known() {
            self.next = FIRST | u64::from(seq);
            return Some(self.next);
        }
        let position = self.position(seq);
        let window = u64::from(window);
        // Without the receiver's word nothing tells how much was lost.
        let ahead = if self.acked == 0 && self.started { u64::from(u32::MAX) } else { window };
        let fits = position >= self.next.saturating_sub(window)
            && position <= self.next.max(self.acked).saturating_add(ahead);
        fits.then_some(position)
    }

    /// Takes a SYN; false if it does not fit to what is known.
    pub(crate) fn begin(&mut self, seq: u32, window: u32) -> bool {
        let first = seq.wrapping_add(1);
        if !self.is_known() {
            self.start(FIRST | u64::from(first));
            self.syn = true;
            return true;
        }
        let position = self.position(first);
        let untouched = self.next == self.start && position <= self.start;
        let fits = if self.started {
            position == self.start
                || (!self.syn && untouched && self.start - position <= u64::from(window))
        } else {
            position.abs_diff(self.next) <= u64::from(window)
        };
        if !fits {
            return false;
        }
        if !self.started || position != self.start {
            self.start(position);
        }
        self.syn = true;
        true
    }

    /// The first byte is the one at this position.
    pub(crate) const fn start(&mut self, position: u64) {
        self.start = position;
        self.next = position;
        self.started = true;
    }

    /// The SYN-ACK says where the other side begins.
    pub(crate) const fn start_at_ack(&mut self, ack: u32) {
        if !self.started && self.is_known() {
            self.start(self.position(ack));
        }
    }

    /// The receiver has everything before `ack`. True if that is more than before.
    pub(crate) fn acknowledge(&mut self, ack: u32, now: u64, counts_only: bool) -> bool {
        if !self.is_known() {
            self.next = FIRST | u64::from(ack);
        }
        let position = self.position(ack);
        let moved = self.acked != 0 && position > self.acked;
        let plausible = position.abs_diff(self.next.max(self.acked)) <= ELSEWHERE;
        if !plausible || (self.acked != 0 && !moved) {
            return false;
        }
        self.acked = position;
        if self.hole.is_none() && self.lost_tail() && !counts_only {
            self.open_hole(now);
        }
        moved
    }

    /// This direction ends at a RST.
    pub(crate) fn ends_at(&mut self, seq: u32, now: u64) {
        let position = self.position(seq);
        if self.end == 0 && position > self.next {
            self.end = position;
            self.open_hole(now);
        }
    }

    /// This direction ends at a FIN.
    pub(crate) fn fin<S, F>(&mut self, step: &mut Step<'_, S, F>, direction: Direction, end: u64)
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        // An acknowledged FIN that was lost looks like one more byte until it is sent again.
        if self.fin || (self.started && end.saturating_add(1) < self.next) {
            return;
        }
        (self.end, self.fin) = (end, true);
        if step.counts_only() {
            self.count_to(step, direction, end);
        } else if !self.started || self.next < end {
            self.open_hole(step.now);
        }
        self.reach_end(step, direction);
    }

    /// Payload at a position, of which `payload` was captured.
    pub(crate) fn payload<S, F>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        position: u64,
        payload: &[u8],
        payload_len: u32,
    ) where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
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
    fn hand_on<S, F>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        position: u64,
        payload: &[u8],
        end: u64,
    ) where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        if position < self.next {
            step.counters.retransmitted_bytes += self.next - position;
            self.compare(step, position, payload);
        }
        let captured = position.saturating_add(length(payload));
        // What is held came first: the segment is woven around it.
        while let Some(first) = self.first_held().filter(|first| *first < captured) {
            self.deliver(step, direction, slice(payload, position, self.next, first));
            let Some((at, held)) = self.hole.as_mut().and_then(|hole| hole.pop_first()) else {
                break;
            };
            let until = at.saturating_add(length(&held.bytes)).min(captured);
            if slice(payload, position, at, until) != slice(&held.bytes, at, at, until) {
                self.conflict(step);
            }
            step.counters.retransmitted_bytes += until.saturating_sub(at);
            self.deliver_held(step, direction, at, &held);
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

    fn hold<S, F>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        position: u64,
        payload: &[u8],
        end: u64,
    ) where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
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
        step.counters.reassembly_limits += 1;
        step.anomaly(AnomalyKind::ReassemblyLimit);
        self.start_at_first_held(step, direction);
        while self.charged() > step.limits.held_bytes_per_direction {
            self.give_up_first(step, direction);
        }
    }

    /// One packet of the flow later: what is due?
    pub(crate) fn review<S, F>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        resetting: bool,
    ) where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
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
            let until = if heard { acked } else { hole.end().unwrap_or(0).max(self.end) };
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

    /// The lowest byte held is the first.
    pub(crate) fn start_at_first_held<S, F>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
    ) where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        if self.started || self.hole.is_none() {
            return;
        }
        let end = if self.end == 0 { self.next } else { self.end };
        self.start(self.first_held().unwrap_or(end));
        self.drain(step, direction);
        self.reach_end(step, direction);
    }

    /// Everything missing is a gap.
    pub(crate) fn give_up_all<S, F>(&mut self, step: &mut Step<'_, S, F>, direction: Direction)
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        self.start_at_first_held(step, direction);
        while self.has_hole() {
            self.give_up_first(step, direction);
        }
    }

    /// Nothing is held any more, and what was is only counted.
    pub(crate) fn forget_held<S, F>(&mut self, step: &mut Step<'_, S, F>, direction: Direction)
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        let Some(hole) = self.hole.take() else { return };
        step.counters.release(hole.charged());
        if !self.started {
            self.start(hole.first().unwrap_or(self.next));
        }
        let end = if self.fin { self.end } else { 0 };
        self.count_to(step, direction, hole.end().unwrap_or(0).max(end));
        self.reach_end(step, direction);
    }

    fn give_up_first<S, F>(&mut self, step: &mut Step<'_, S, F>, direction: Direction)
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        let first = self.first_held();
        if first.is_none() && !self.fin && self.end != 0 {
            // Bytes before a RST that the receiver never got need not have been sent.
            self.end = if self.acked == 0 { self.end } else { self.end.min(self.acked) };
        }
        let known = first.or_else(|| (self.end != 0).then_some(self.end));
        let target = known.unwrap_or(self.acked).max(self.next);
        self.skip_to(step, direction, target);
        if !self.fin && first.is_none() {
            self.end = 0;
        }
        self.drain(step, direction);
        self.reach_end(step, direction);
    }

    /// Hands on what is held and no longer waits for anything.
    fn drain<S, F>(&mut self, step: &mut Step<'_, S, F>, direction: Direction)
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        while self.started {
            let Some(hole) = &mut self.hole else { return };
            let first = hole.first();
            let cut_until = hole.cut_until;
            if first.is_some_and(|first| first <= self.next) {
                let Some((at, held)) = hole.pop_first() else { return };
                self.deliver_held(step, direction, at, &held);
            } else if cut_until > self.next {
                let until = first.map_or(cut_until, |first| first.min(cut_until));
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

    fn deliver_held<S, F>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        at: u64,
        held: &Held,
    ) where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        step.counters.release(charge(&held.bytes));
        let end = at.saturating_add(length(&held.bytes));
        let new = slice(&held.bytes, at, self.next, end);
        let offset = self.next - self.start;
        if end > self.next {
            self.keep(step, new);
            self.next = end;
            step.data(direction, offset, new, held.evidence);
        }
        if let Some(hole) = &mut self.hole {
            hole.cut_until = hole.cut_until.max(end.saturating_add(held.cut));
            hole.opened = step.now;
        }
    }

    fn deliver<S, F>(&mut self, step: &mut Step<'_, S, F>, direction: Direction, bytes: &[u8])
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        if bytes.is_empty() {
            return;
        }
        self.keep(step, bytes);
        let offset = self.next - self.start;
        self.next = self.next.saturating_add(length(bytes));
        step.data(direction, offset, bytes, step.evidence);
    }

    /// Keeps bytes that are handed on for comparison, if the table has memory for that.
    fn keep<S, F>(&mut self, step: &mut Step<'_, S, F>, bytes: &[u8])
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        if self.tail.is_none() {
            let kept = step.counters.kept_bytes_now.saturating_add(TAIL_SIZE);
            if step.counts_only() || kept > step.limits.kept_bytes {
                return;
            }
            step.counters.kept_bytes_now = kept;
        }
        self.tail.get_or_insert_default().record(self.next, bytes);
    }

    fn compare<S, F>(&mut self, step: &mut Step<'_, S, F>, position: u64, bytes: &[u8])
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        if self.tail.as_ref().is_some_and(|tail| !tail.agrees(position, bytes)) {
            self.conflict(step);
        }
    }

    pub(crate) fn forget_tail(&mut self, counters: &mut Counters) {
        if self.tail.take().is_some() {
            counters.kept_bytes_now = counters.kept_bytes_now.saturating_sub(TAIL_SIZE);
        }
    }

    fn skip_to<S, F>(&mut self, step: &mut Step<'_, S, F>, direction: Direction, target: u64)
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        let offset = self.next - self.start;
        let len = target.saturating_sub(self.next);
        self.next = self.next.max(target);
        step.gap(direction, offset, len);
    }

    fn count_to<S, F>(&mut self, step: &mut Step<'_, S, F>, direction: Direction, end: u64)
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        step.count_payload(direction, end.saturating_sub(self.next));
        self.next = self.next.max(end);
    }

    fn reach_end<S, F>(&mut self, step: &mut Step<'_, S, F>, direction: Direction)
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        if self.fin && !self.finished && self.started && self.next >= self.end {
            self.finished = true;
            step.emit(StreamEvent::HalfClose { direction });
        }
    }

    fn conflict<S, F>(&mut self, step: &mut Step<'_, S, F>)
    where
        F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>),
    {
        step.counters.overlap_conflicts += 1;
        self.conflicts = self.conflicts.saturating_add(1);
        if self.conflicts.is_power_of_two() {
            step.anomaly(AnomalyKind::TcpOverlapConflict);
        }
    }

    fn open_hole(&mut self, now: u64) -> &mut Hole {
        self.hole.get_or_insert_with(|| Box::new(Hole::opened_at(now)))
    }

    fn first_held(&self) -> Option<u64> {
        self.hole.as_ref().and_then(|hole| hole.first())
    }

    fn charged(&self) -> u64 {
        self.hole.as_ref().map_or(0, |hole| hole.charged())
    }

    /// Did the receiver acknowledge more than was seen? One more may be a FIN.
    const fn lost_tail(&self) -> bool {
        self.captured && self.started && !self.fin && self.acked > self.next.saturating_add(1)
    }

    const fn position(&self, seq: u32) -> u64 {
        let delta = seq.wrapping_sub(low(self.next)).cast_signed();
        self.next.saturating_add_signed(delta as i64)
    }
}

/// The sequence number of a position.
const fn low(position: u64) -> u32 {
    let [a, b, c, d, ..] = position.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Positions begin here, so that there is room before the first.
const FIRST: u64 = 1 << 32;
/// No window is larger (RFC 7323 §2.3).
const ELSEWHERE: u64 = 1 << 30;
/// A direction whose SYN was not seen begins with its first payload after that many packets of the
/// flow, or that much time, in which the SYN or earlier payload may still come.
const START_PACKETS: u32 = 16;
const START_NANOS: u64 = 200_000_000;
/// A hole that the receiver never acknowledged is given up after a minute.
const HOPELESS: u64 = 60_000_000_000;
