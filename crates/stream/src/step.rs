//! What is at hand while one packet, or one timer, works on one flow.

use tw_model::{AnomalyKind, Direction, Evidence};

use crate::event::Passed;
use crate::{CloseReason, Counters, Flow, Interest, Limits, StreamEvent, pair};

/// Where events go; what every function here that tells something is generic over.
pub(crate) trait Sink<S>: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>) {}

impl<S, F: FnMut(&mut Flow<S>, Evidence, StreamEvent<'_>)> Sink<S> for F {}

/// One flow being worked on, and where its events go.
pub(crate) struct Step<'a, S, F> {
    pub(crate) flow: &'a mut Flow<S>,
    pub(crate) sink: &'a mut F,
    pub(crate) counters: &'a mut Counters,
    pub(crate) limits: &'a Limits,
    /// The packet at work; for timers the flow's latest.
    pub(crate) evidence: Evidence,
    /// Time elapsed by the table's clock.
    pub(crate) now: u64,
}

impl<S, F: Sink<S>> Step<'_, S, F> {
    pub(crate) fn emit(&mut self, event: StreamEvent<'_>) {
        (self.sink)(self.flow, self.evidence, event);
    }

    pub(crate) fn half_close(&mut self, direction: Direction) {
        tell_passed(self.flow, direction, self.sink);
        self.emit(StreamEvent::HalfClose { direction });
    }

    /// Does the owner want to see so many bytes that come next?
    pub(crate) fn wants(&self, direction: Direction, len: u64) -> bool {
        !self.counts_only() && *pair::of(&self.flow.unread, direction) < len
    }

    pub(crate) fn anomaly(&mut self, kind: AnomalyKind) {
        self.emit(StreamEvent::Anomaly(kind));
    }

    /// Payload in order, with the packet that carried it.
    pub(crate) fn data(
        &mut self,
        direction: Direction,
        offset: u64,
        bytes: &[u8],
        evidence: Evidence,
    ) {
        self.count_payload(direction, length(bytes));
        if bytes.is_empty() || self.counts_only() {
            return;
        }
        let unread = pair::of_mut(&mut self.flow.unread, direction);
        if let Some(left) = unread.checked_sub(length(bytes)) {
            *unread = left;
            let passed = pair::of_mut(&mut self.flow.passed, direction);
            let before = passed.map_or(0, |passed| passed.len);
            *passed = Some(Passed { len: before.saturating_add(length(bytes)), at: evidence });
            return;
        }
        tell_passed(self.flow, direction, self.sink);
        (self.sink)(self.flow, evidence, StreamEvent::Data { direction, offset, bytes });
    }

    /// Payload that is missing.
    pub(crate) fn gap(&mut self, direction: Direction, offset: u64, len: u64) {
        if len == 0 {
            return;
        }
        self.count_payload(direction, len);
        if self.counts_only() {
            return;
        }
        self.counters.gaps += 1;
        self.counters.gap_bytes = self.counters.gap_bytes.saturating_add(len);
        self.flow.gap_bytes = self.flow.gap_bytes.saturating_add(len);
        tell_passed(self.flow, direction, self.sink);
        self.emit(StreamEvent::Gap { direction, offset, len });
    }

    pub(crate) const fn count_payload(&mut self, direction: Direction, len: u64) {
        let total = pair::of_mut(&mut self.flow.payload_bytes, direction);
        *total = total.saturating_add(len);
    }

    pub(crate) fn counts_only(&self) -> bool {
        self.flow.interest == Interest::Counts
    }
}

/// Tells what the owner did not want to see of one direction, if anything.
fn tell_passed<S, F: Sink<S>>(flow: &mut Flow<S>, direction: Direction, sink: &mut F) {
    if let Some(Passed { len, at }) = pair::of_mut(&mut flow.passed, direction).take() {
        sink(flow, at, StreamEvent::Unread { direction, len });
    }
}

/// Tells the end of a flow.
pub(crate) fn close<S, F: Sink<S>>(
    flow: &mut Flow<S>,
    at: Evidence,
    reason: CloseReason,
    sink: &mut F,
) {
    for direction in [Direction::ToResponder, Direction::ToOpener] {
        tell_passed(flow, direction, sink);
    }
    sink(flow, at, StreamEvent::Close(reason));
}

/// The length of a slice as positions count.
pub(crate) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
