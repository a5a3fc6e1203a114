//! One TCP connection: states, acknowledgments, FIN, RST, port reuse (RFC 9293).
//!
//! Each direction is put together by a [`Side`]. This module decides what a segment means for the
//! connection, without trusting any single one: a blind sender must not be able to end it.

mod doubt;
mod handshake;
mod hole;
mod joined;
mod order;
mod overdue;
mod side;
mod tail;

use tw_model::{ConnectionState, Direction};
use tw_wire::{Packet, TcpFlags, TcpSegment};

use crate::step::{Sink, Step, length};
use crate::{CloseReason, Counters, pair};
pub(crate) use handshake::{opened_by_source, swap_opener};
use side::Side;

/// A connection's reassembly.
#[derive(Debug, Default)]
pub(crate) struct Tcp {
    sides: [Side; 2],
    /// A SYN that would open the same ports anew, if its receiver agrees: sender, sequence number.
    reopening: Option<(Direction, u32)>,
    /// Who said RST.
    reset_by: Option<Direction>,
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It belongs to the connection.
    Taken,
    /// The connection ends with it.
    Ends(CloseReason),
    /// It belongs to a new connection between the same ports.
    Reopens,
}

impl Tcp {
    pub(crate) const fn saw_fin(&self) -> bool {
        let [a, b] = &self.sides;
        a.saw_fin() || b.saw_fin()
    }

    pub(crate) const fn side(&self, direction: Direction) -> &Side {
        pair::of(&self.sides, direction)
    }

    const fn side_mut(&mut self, direction: Direction) -> &mut Side {
        pair::of_mut(&mut self.sides, direction)
    }

    /// Was anything handed on that tells the directions apart?
    pub(crate) const fn started(&self) -> bool {
        let [a, b] = &self.sides;
        a.started() || b.started()
    }

    /// The other one is the opener after all.
    pub(crate) const fn swap(&mut self) {
        self.sides.swap(0, 1);
    }

    /// A segment of an open connection.
    pub(crate) fn segment<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        packet: &Packet<'_>,
        segment: &TcpSegment<'_>,
    ) -> Outcome {
        if step.counts_only() {
            self.forget_held(step);
        } else if self.doubts(step, direction, packet, segment)
            && self.set_aside(step, direction, segment)
        {
            return self.review(step);
        }
        let flags = segment.flags;
        if flags.has(TcpFlags::SYN) {
            match self.syn(step, direction, segment) {
                handshake::Syn::Opens => self.learn_trust(direction, packet),
                handshake::Syn::Ignored => {
                    step.counters.segments_ignored += 1;
                    return Outcome::Taken;
                }
                handshake::Syn::Reopens => return Outcome::Reopens,
            }
        }
        if self.agrees_to_reopen(direction, segment) {
            return Outcome::Reopens;
        }
        if flags.has(TcpFlags::RST) {
            return self.reset(step, direction, segment);
        }
        let seq = segment.seq.wrapping_add(u32::from(flags.has(TcpFlags::SYN)));
        let Some(position) = self.side_mut(direction).locate(seq, step.limits.window_bytes) else {
            step.counters.segments_ignored += 1;
            return Outcome::Taken;
        };
        if flags.has(TcpFlags::ACK) {
            self.acknowledge(step, direction, segment);
        }
        self.payload(step, direction, position, segment);
        if flags.has(TcpFlags::FIN) {
            let end = position.saturating_add(u64::from(segment.payload_len));
            self.side_mut(direction).fin(step, direction, end);
        }
        self.review(step)
    }

    /// A segment of a connection that is closed: is it late, or the first of a new one?
    pub(crate) fn lingers(&mut self, direction: Direction, segment: &TcpSegment<'_>) -> Outcome {
        let side = pair::of(&self.sides, direction);
        if segment.flags.has(TcpFlags::SYN) {
            return if side.began_with(segment.seq) { Outcome::Taken } else { Outcome::Reopens };
        }
        if segment.payload_len == 0 || segment.flags.has(TcpFlags::RST) || !side.started() {
            return Outcome::Taken;
        }
        // Who sends on after its own RST did not send that RST.
        let resumes = self.reset_by == Some(direction) && side.is_next(segment.seq);
        if resumes || side.is_elsewhere(segment.seq) { Outcome::Reopens } else { Outcome::Taken }
    }

    /// Frees what is kept for comparison.
    pub(crate) fn forget_tails(&mut self, counters: &mut Counters) {
        for side in &mut self.sides {
            side.forget_tail(counters);
            side.forget_doubtful(counters);
        }
    }

    /// Everything held is handed on, with gaps in between.
    pub(crate) fn flush<S, F: Sink<S>>(&mut self, step: &mut Step<'_, S, F>) {
        self.begin(step);
        for direction in self.earliest_first() {
            self.side_mut(direction).believe(step, direction, u64::MAX);
            self.side_mut(direction).give_up_all(step, direction);
        }
    }

    /// The oldest hole of the connection, because memory is short. It goes even if nothing is held
    /// behind it yet, so that each call leaves one hole less.
    pub(crate) fn give_up_oldest<S, F: Sink<S>>(&mut self, step: &mut Step<'_, S, F>) -> Outcome {
        let [oldest, _] = self.earliest_first();
        let side = self.side_mut(oldest);
        if side.has_hole() {
            side.overflow(step);
            side.give_up_all(step, oldest);
        }
        self.verdict(step)
    }

    /// Holes that are due, and whether the connection ends.
    pub(crate) fn review<S, F: Sink<S>>(&mut self, step: &mut Step<'_, S, F>) -> Outcome {
        if !self.has_holes() {
            return self.verdict(step);
        }
        if self.sides.iter().any(|side| side.start_is_due(step.now)) {
            self.begin(step);
        }
        let resetting = self.reset_by.is_some();
        for direction in DIRECTIONS {
            self.side_mut(direction).review(step, direction, resetting);
        }
        self.verdict(step)
    }

    /// When the earliest hole is due by the table's clock.
    pub(crate) fn hole_due(&self, reorder_nanos: u64) -> Option<u64> {
        if !self.has_holes() {
            return None;
        }
        self.sides.iter().filter_map(|side| side.due(reorder_nanos)).min()
    }

    pub(crate) fn has_holes(&self) -> bool {
        self.sides.iter().any(Side::has_hole)
    }

    fn earliest_first(&self) -> [Direction; 2] {
        let [a, b] = &self.sides;
        if b.hole_opened() < a.hole_opened() {
            [Direction::ToOpener, Direction::ToResponder]
        } else {
            DIRECTIONS
        }
    }

    fn forget_held<S, F: Sink<S>>(&mut self, step: &mut Step<'_, S, F>) {
        for direction in DIRECTIONS {
            self.side_mut(direction).forget_held(step, direction);
        }
        self.forget_tails(step.counters);
    }

    fn payload<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        position: u64,
        segment: &TcpSegment<'_>,
    ) {
        if segment.payload_len == 0 {
            return;
        }
        let other_started = self.side(direction.reversed()).started();
        let side = self.side_mut(direction);
        // Probes of a keep-alive repeat one byte, or send one of garbage, just before the next one.
        let probes = segment.payload_len == 1 && side.is_probe(position);
        if probes {
            return;
        }
        step.flow.first_payload.get_or_insert(step.evidence.timestamp);
        if !segment.flags.has(TcpFlags::SYN) {
            step.flow.state = ConnectionState::Established;
        }
        if length(segment.payload) < u64::from(segment.payload_len) {
            step.flow.truncated = true;
        }
        // The moment for reordering is over if the other direction has begun.
        if !side.started() && step.flow.midstream && other_started {
            side.start(position);
        }
        if let Some(behind) = segment.urgent() {
            side.urgent = position.saturating_add(u64::from(behind));
        }
        side.payload(step, direction, position, segment.payload, segment.payload_len);
    }

    /// RFC 9293 §3.4: what the other side has.
    fn acknowledge<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        segment: &TcpSegment<'_>,
    ) {
        let syn = segment.flags.has(TcpFlags::SYN);
        let acknowledged = self.side_mut(direction.reversed());
        let moved = acknowledged.acknowledge(segment.ack, step.now, step.counts_only());
        acknowledged.believe(step, direction.reversed(), u64::MAX);
        if syn {
            acknowledged.start_at_ack(segment.ack);
            return;
        }
        let opener_answers = direction == Direction::ToResponder && self.side(direction).saw_syn();
        let both_sent = step.flow.packets.iter().all(|packets| *packets > 0);
        let joined = step.flow.midstream && (both_sent || moved);
        let open = matches!(step.flow.state, ConnectionState::Attempted | ConnectionState::Refused);
        if open && (opener_answers || joined) {
            step.flow.state = ConnectionState::Established;
        }
    }

    /// RFC 9293 §3.5.2, RFC 5961 §3: a RST counts only if its sequence number is near to what is
    /// expected, or, where nothing is known of that direction, if it acknowledges what was sent.
    fn reset<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        segment: &TcpSegment<'_>,
    ) -> Outcome {
        let acknowledges = segment.flags.has(TcpFlags::ACK)
            && self.side(direction.reversed()).is_near(segment.ack, RESET_SLACK);
        let side = self.side_mut(direction);
        let plausible = if side.is_known() {
            side.is_near(segment.seq, RESET_SLACK)
        } else {
            acknowledges || step.flow.packets.iter().sum::<u64>() <= 1
        };
        if !plausible {
            step.counters.resets_ignored += 1;
            return Outcome::Taken;
        }
        if side.is_known() {
            side.ends_at(segment.seq, step.now);
        }
        self.reset_by.get_or_insert(direction);
        self.review(step)
    }

    fn verdict<S, F: Sink<S>>(&mut self, step: &mut Step<'_, S, F>) -> Outcome {
        if self.has_holes() {
            return Outcome::Taken;
        }
        if let Some(by) = self.reset_by {
            let refused = by == Direction::ToOpener && self.side(by.reversed()).saw_syn();
            step.flow.state = match step.flow.state {
                ConnectionState::Attempted if refused => ConnectionState::Refused,
                ConnectionState::Established => ConnectionState::Reset,
                state => state,
            };
            return Outcome::Ends(CloseReason::Reset);
        }
        if self.sides.iter().all(Side::finished) {
            step.flow.state = ConnectionState::Closed;
            return Outcome::Ends(CloseReason::Fin);
        }
        Outcome::Taken
    }
}

const DIRECTIONS: [Direction; 2] = [Direction::ToResponder, Direction::ToOpener];

/// How far a RST may be from what is expected, to allow for packets that the capture lost. A blind
/// sender needs some 30,000 of them to hit it.
const RESET_SLACK: u32 = 64 << 10;
