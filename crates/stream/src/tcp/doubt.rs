//! Segments that their receiver may never have taken.
//!
//! Who wants to hide a request from a tap sends a copy with other bytes ahead of it that the receiver
//! drops: with a wrong checksum, with a hop limit that ends between the tap and the receiver, in fragments
//! that overlap, or without ACK (RFC 9293 §3.10.7.4 drops that). Such a segment is doubted, those of the
//! first two kinds where the SYN of their direction was better: checksums that a network card computes are
//! wrong from the beginning. Its flags count for nothing. Its bytes are set aside: what comes in their place
//! without doubt wins, and they are taken as soon as the receiver acknowledges them; where it is not heard,
//! when nothing else fills their place, or too much is set aside.

use tw_model::Direction;
use tw_wire::{Checksum, Packet, TcpFlags, TcpSegment};

use super::Tcp;
use super::hole::{Hole, charge, slice};
use super::side::Side;
use crate::Counters;
use crate::step::{Sink, Step, length};

/// What the SYN of a direction said of the way from there to the tap.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trust {
    /// One with a right checksum was seen, so that those of the others have to be.
    sums: bool,
    /// The highest hop limit of one; 0: none was seen. The best of several counts, for a worse copy may be
    /// anybody's.
    hops: u8,
}

impl Trust {
    fn learn(&mut self, packet: &Packet<'_>) {
        self.sums |= packet.tcp_checksum() == Checksum::Right;
        self.hops = self.hops.max(packet.hop_limit);
    }

    fn covers(self, packet: &Packet<'_>, segment: &TcpSegment<'_>) -> bool {
        if packet.overlapped {
            return false;
        }
        if self.hops == 0 {
            return true;
        }
        let fell = packet.hop_limit < self.hops && packet.hop_limit < FEW_HOPS;
        let silent = !segment.flags.has(TcpFlags::ACK) && !segment.flags.has(TcpFlags::RST);
        if fell || silent {
            return false;
        }
        match packet.tcp_checksum() {
            _ if !self.sums => true,
            Checksum::Right | Checksum::Unknown => true,
            Checksum::Offloaded => segment.payload_len > ONE_SEGMENT,
            Checksum::Wrong => false,
        }
    }
}

impl Tcp {
    /// Learns from the SYN that began a direction.
    pub(super) fn learn_trust(&mut self, direction: Direction, packet: &Packet<'_>) {
        self.side_mut(direction).trust.learn(packet);
    }

    /// Is it a segment that its receiver may never have taken?
    pub(super) fn doubts<S, F: Sink<S>>(
        &self,
        step: &Step<'_, S, F>,
        direction: Direction,
        packet: &Packet<'_>,
        segment: &TcpSegment<'_>,
    ) -> bool {
        let len = u64::from(segment.payload_len);
        let matters = len > 0 && step.wants(direction, len)
            || segment.flags.has(TcpFlags::RST)
            || segment.flags.has(TcpFlags::FIN);
        matters
            && !segment.flags.has(TcpFlags::SYN)
            && !self.side(direction).trust.covers(packet, segment)
    }

    /// Sets the bytes of such a segment aside. False if they have to be taken after all: they were
    /// acknowledged, or memory is short and the receiver is not heard. Where it is heard and memory is
    /// short, what it did not acknowledge is dropped, so that a flood of decoys makes none of them credible.
    pub(super) fn set_aside<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        segment: &TcpSegment<'_>,
    ) -> bool {
        step.counters.segments_doubted += 1;
        let side = self.side_mut(direction);
        let Some(position) = side.locate(segment.seq, step.limits.window_bytes) else {
            return true;
        };
        let len = u64::from(segment.payload_len);
        let end = position.saturating_add(len);
        if len == 0 || end <= side.next {
            side.compare(step, position, segment.payload);
            return true;
        }
        let acknowledged = side.acked >= end;
        if acknowledged || side.is_too_much(step, segment.payload) {
            side.believe(step, direction, u64::MAX);
            side.forget_doubtful(step.counters);
            if acknowledged || side.acked == 0 {
                return false;
            }
            if side.is_too_much(step, segment.payload) {
                return true;
            }
        }
        let cut = len.saturating_sub(length(segment.payload));
        let hole = side.doubtful.get_or_insert_with(|| Box::new(Hole::opened_at(step.now)));
        let done = hole.insert(position, segment.payload, cut, step.evidence);
        step.counters.hold(done.charged);
        true
    }
}

impl Side {
    /// Takes what was set aside before a position, and was acknowledged if the receiver is heard.
    pub(super) fn believe<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        until: u64,
    ) {
        let Some(mut doubtful) = self.doubtful.take() else { return };
        let until = if self.acked == 0 { until } else { until.min(self.acked) };
        let packet = step.evidence;
        while doubtful.first().is_some_and(|first| first < until) {
            let Some((position, held)) = doubtful.pop_first() else { break };
            step.counters.release(charge(&held.bytes));
            step.evidence = held.evidence;
            step.flow.first_payload.get_or_insert(held.evidence.timestamp);
            let end = position.saturating_add(length(&held.bytes)).saturating_add(held.cut);
            let bytes = slice(&held.bytes, position, position, until);
            let len = u32::try_from(end.min(until) - position).unwrap_or(u32::MAX);
            self.payload(step, direction, position, bytes, len);
            let rest = slice(&held.bytes, position, until, end);
            if !rest.is_empty() {
                let done = doubtful.insert(until, rest, held.cut, held.evidence);
                step.counters.hold(done.charged);
            }
        }
        step.evidence = packet;
        if doubtful.first().is_some() {
            self.doubtful = Some(doubtful);
        }
    }

    fn is_too_much<S, F: Sink<S>>(&self, step: &Step<'_, S, F>, payload: &[u8]) -> bool {
        let cost = charge(payload);
        let own = self.doubtful.as_ref().map_or(0, |hole| hole.charged());
        own.saturating_add(cost) > step.limits.held_bytes_per_direction
            || step.counters.held_bytes_now.saturating_add(cost) > step.limits.held_bytes / 2
    }

    /// Drops what was set aside.
    pub(super) fn forget_doubtful(&mut self, counters: &mut Counters) {
        if let Some(doubtful) = self.doubtful.take() {
            counters.release(doubtful.charged());
        }
    }
}

/// Nobody begins with so few hops left: who has them was sent not to arrive, or is at the end of a
/// long way that its SYN went too.
const FEW_HOPS: u8 = 32;
/// What fits into one frame of Ethernet is no product of a card that puts segments together.
const ONE_SEGMENT: u32 = 1460;
