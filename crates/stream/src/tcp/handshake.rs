//! What a SYN means for a connection that is already in the table.

use tw_model::{ConnectionState, Direction, Opener};
use tw_wire::{TcpFlags, TcpSegment};

use crate::Flow;
use crate::step::{Sink, Step};

use super::Tcp;

/// What a SYN is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syn {
    /// The beginning of this direction, or that again.
    Opens,
    /// Neither; the connection goes on.
    Ignored,
    /// The beginning of another connection between the same ports.
    Reopens,
}

impl Tcp {
    /// Judges a SYN (RFC 9293 §3.5, RFC 5961 §4).
    ///
    /// A SYN with another sequence number may be anybody's while both sides speak: the receiver
    /// would answer with an ACK and go on. So there it only counts once the receiver answers it with a
    /// SYN-ACK. Where the connection is over, never began, or the other side cannot be seen, it
    /// counts at once.
    pub(crate) fn syn<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
        segment: &TcpSegment<'_>,
    ) -> Syn {
        let answers = segment.flags.has(TcpFlags::ACK);
        let other = self.side(direction.reversed());
        let stray = answers && other.is_known() && !other.is_near(segment.ack, EARLY_DATA);
        if self.side(direction).began_with(segment.seq) {
            return Syn::Opens;
        }
        if !stray && self.side_mut(direction).begin(segment.seq, step.limits.window_bytes) {
            step.flow.midstream &= !self.side(direction).began_with(segment.seq);
            return Syn::Opens;
        }
        if answers {
            let agreed = self.agrees_to_reopen(direction, segment);
            return if agreed { Syn::Reopens } else { Syn::Ignored };
        }
        let other_seen = step.flow.packets.iter().all(|packets| *packets > 0);
        let speaking = other_seen
            && step.flow.state == ConnectionState::Established
            && !self.sides.iter().any(super::Side::finished);
        if !speaking {
            return Syn::Reopens;
        }
        self.reopening = Some((direction, segment.seq));
        Syn::Ignored
    }

    /// Does a segment acknowledge a SYN that would open the connection anew, and nothing that was
    /// sent on this one? Normally that is the SYN-ACK; if the capture lost it, what its sender says next.
    pub(crate) fn agrees_to_reopen(&self, direction: Direction, segment: &TcpSegment<'_>) -> bool {
        let Some((from, seq)) = self.reopening else { return false };
        from != direction
            && segment.flags.has(TcpFlags::ACK)
            && (1..=EARLY_DATA).contains(&segment.ack.wrapping_sub(seq))
            && !self.side(from).is_near(segment.ack, EARLY_DATA)
    }
}

/// Who opened the connection, judged by one segment: `None` if it does not tell.
pub(crate) fn opened_by_source(flags: TcpFlags) -> Option<bool> {
    match (flags.has(TcpFlags::SYN), flags.has(TcpFlags::ACK)) {
        (true, false) => Some(true),
        (true, true) => Some(false),
        _ => None,
    }
}

/// Makes the responder the opener, where the ports had told the wrong one.
pub(crate) fn swap_opener<S>(flow: &mut Flow<S>) {
    std::mem::swap(&mut flow.opener, &mut flow.responder);
    flow.payload_bytes.swap(0, 1);
    flow.packets.swap(0, 1);
    flow.bytes.swap(0, 1);
    flow.macs = None;
    flow.opener_known = Opener::Seen;
}

/// More than a SYN ever carried (RFC 7413).
const EARLY_DATA: u32 = 64 << 10;
