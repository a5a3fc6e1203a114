//! One direction of a connection: puts its bytes in order, each once.
//!
//! Positions are sequence numbers made 64 bits wide, so that they don't wrap.

use tw_model::Direction;

use super::doubt::Trust;
use super::hole::Hole;
use super::tail::Tail;
use crate::step::{Sink, Step};

/// Reassembly of one direction.
#[derive(Debug, Default)]
pub(crate) struct Side {
    /// Of the first payload byte.
    pub(super) start: u64,
    /// Of the next byte to hand on. Before the start is known: of anything near. 0: nothing known.
    pub(super) next: u64,
    /// The other side has everything before this. 0: it never said.
    pub(super) acked: u64,
    /// Of the latest urgent byte, which is no part of the stream (RFC 6093 §2). 0: there was none.
    pub(super) urgent: u64,
    /// Where this direction ends. 0: not known.
    pub(super) end: u64,
    pub(super) hole: Option<Box<Hole>>,
    pub(super) tail: Option<Box<Tail>>,
    /// Bytes that the receiver may never have taken.
    pub(super) doubtful: Option<Box<Hole>>,
    pub(super) trust: Trust,
    pub(super) conflicts: u32,
    pub(super) overflows: u32,
    /// A packet of this direction was captured: if not, nothing is missed from it.
    pub(super) captured: bool,
    pub(super) started: bool,
    pub(super) syn: bool,
    /// The end is that of a FIN, otherwise of a RST.
    pub(super) fin: bool,
    pub(super) finished: bool,
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
        let untouched = self.next == self.start && position <= self.start && !self.finished;
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
    pub(crate) fn fin<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        end: u64,
    ) {
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

    pub(super) fn reach_end<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
    ) {
        if self.fin && !self.finished && self.started && self.next >= self.end {
            self.finished = true;
            if let Some(hole) = self.hole.take() {
                step.counters.release(hole.charged());
                step.counters.after_fin_bytes += hole.bytes();
            }
            step.half_close(direction);
        }
    }

    pub(super) fn open_hole(&mut self, now: u64) -> &mut Hole {
        self.hole.get_or_insert_with(|| Box::new(Hole::opened_at(now)))
    }

    pub(super) fn first_held(&self) -> Option<u64> {
        self.hole.as_ref().and_then(|hole| hole.first())
    }

    pub(super) fn charged(&self) -> u64 {
        self.hole.as_ref().map_or(0, |hole| hole.charged())
    }

    /// Did the receiver acknowledge more than was seen? One more may be a FIN.
    pub(super) const fn lost_tail(&self) -> bool {
        self.captured && self.started && !self.fin && self.acked > self.next.saturating_add(1)
    }

    pub(super) const fn position(&self, seq: u32) -> u64 {
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
