//! What a packet does to its flow, whatever the protocol.

use tw_model::{Direction, Opener};
use tw_wire::{Packet, TcpSegment, UdpDatagram};

use crate::key::Addressed;
use crate::pool::Entry;
use crate::step::{Sink, Step, length};
use crate::tcp::{Outcome, opened_by_source, swap_opener};
use crate::{Flow, StreamEvent, pair};

/// A SYN shows who opened a connection whose opener was guessed from the ports. Once payload was
/// handed on under the guess, the guess stays.
pub(super) fn settle_opener<S>(entry: &mut Entry<S>, tcp: &TcpSegment<'_>, to: &Addressed) {
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

pub(super) fn count<S>(flow: &mut Flow<S>, packet: &Packet<'_>, direction: Direction) {
    let at = packet.evidence.timestamp;
    flow.last = flow.last.max(at);
    *pair::of_mut(&mut flow.packets, direction) += 1;
    let bytes = pair::of_mut(&mut flow.bytes, direction);
    *bytes = bytes.saturating_add(u64::from(packet.ip_len));
    if direction == Direction::ToResponder && flow.macs.is_none() {
        flow.macs = packet.macs;
    }
}

pub(super) fn datagram<S, F: Sink<S>>(
    step: &mut Step<'_, S, F>,
    direction: Direction,
    udp: &UdpDatagram<'_>,
) -> Outcome {
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
