//! What is at hand while one packet, or one timer, works on one flow.

use tw_model::{AnomalyKind, Direction, Evidence};

use crate::{Counters, Flow, Interest, Limits, StreamEvent, pair};

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

/// The length of a slice as positions count.
pub(crate) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
