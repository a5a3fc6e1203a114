//! Data sets that came before their template.

use std::collections::VecDeque;

use tw_model::{Evidence, Timestamp};

use crate::header::Header;

/// A data set that waits.
#[derive(Clone, Debug)]
pub(crate) struct HeldSet {
    pub(crate) id: u16,
    pub(crate) bytes: Box<[u8]>,
    pub(crate) header: Header,
    pub(crate) evidence: Evidence,
}

/// Sets that wait, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    pub(crate) sets: VecDeque<HeldSet>,
    bytes: usize,
}

impl Held {
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> u64 {
        self.sets.len() as u64
    }

    pub(crate) fn push(&mut self, set: HeldSet) {
        self.bytes += cost(&set);
        self.sets.push_back(set);
    }

    /// Drops what is older than `oldest` and, oldest first, what is over the limit; returns how many.
    pub(crate) fn trim(&mut self, oldest: Timestamp, limit: usize) -> u64 {
        let mut dropped = 0;
        while let Some(set) = self.sets.front()
            && (set.evidence.timestamp < oldest || self.bytes > limit)
        {
            self.bytes -= cost(set);
            self.sets.pop_front();
            dropped += 1;
        }
        dropped
    }

    /// Takes out the sets of one template.
    pub(crate) fn take(&mut self, id: u16) -> Vec<HeldSet> {
        if !self.sets.iter().any(|set| set.id == id) {
            return Vec::new();
        }
        let (taken, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.sets).into_iter().partition(|set| set.id == id);
        self.sets = kept.into();
        self.bytes -= taken.iter().map(cost).sum::<usize>();
        taken
    }
}

/// Octets with an allowance for what is around them.
pub(crate) fn cost(set: &HeldSet) -> usize {
    set.bytes.len() + size_of::<HeldSet>()
}
