//! What the table counted.

/// Counters of a [`crate::Table`] since it was made. All are totals but for those that say "now".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets taken.
    pub packets: u64,
    /// Packets that were the same packet again (mirrored twice, or before and behind a router).
    pub duplicates: u64,
    /// TCP connections.
    pub flows_tcp: u64,
    /// UDP conversations.
    pub flows_udp: u64,
    /// Conversations of other protocols.
    pub flows_other: u64,
    /// Flows in the table now, the lingering ones included.
    pub flows_now: u64,
    /// The most flows that were in the table at once.
    pub flows_peak: u64,
    /// Flows forgotten before their time because the table, or the share of attempts in it, was full.
    pub flows_evicted: u64,
    /// Flows ended by their idle time.
    pub flows_idle: u64,
    /// Payload bytes that had been seen before.
    pub retransmitted_bytes: u64,
    /// Gaps.
    pub gaps: u64,
    /// Payload bytes missing in them.
    pub gap_bytes: u64,
    /// TCP segments that differ from bytes seen before.
    pub overlap_conflicts: u64,
    /// Holes given up because out-of-order data reached a limit.
    pub reassembly_limits: u64,
    /// TCP segments that their receiver may never have taken: set aside until it acknowledges them.
    pub segments_doubted: u64,
    /// Urgent bytes left out, which are no part of the stream.
    pub urgent_bytes: u64,
    /// RSTs ignored because they were far outside of the window.
    pub resets_ignored: u64,
    /// Other TCP segments ignored because they were far outside of the window.
    pub segments_ignored: u64,
    /// Payload bytes ignored because they came after the sender's FIN.
    pub after_fin_bytes: u64,
    /// Out-of-order bytes held now, with what it costs to hold them.
    pub held_bytes_now: u64,
    /// The most that was held at once.
    pub held_bytes_peak: u64,
    /// Bytes reserved now to compare retransmissions with.
    pub kept_bytes_now: u64,
}

impl Counters {
    pub(crate) fn hold(&mut self, bytes: u64) {
        self.held_bytes_now = self.held_bytes_now.saturating_add(bytes);
        self.held_bytes_peak = self.held_bytes_peak.max(self.held_bytes_now);
    }

    pub(crate) const fn release(&mut self, bytes: u64) {
        self.held_bytes_now = self.held_bytes_now.saturating_sub(bytes);
    }
}
