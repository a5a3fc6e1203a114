//! What is kept with a connection while its objects are extracted.

use std::collections::{BTreeSet, HashMap};

use tw_proto::Reader;

/// Bodies of one connection that are remembered as not to be had whole.
const MAX_MARRED: usize = 256;

/// Its reader, and what is known of its bodies.
#[derive(Default)]
pub(super) struct Tracked {
    pub(super) reader: Option<Box<Reader>>,
    pub(super) incidents: BTreeSet<usize>,
    /// Targets and hosts of requests whose answers are to come, few.
    pub(super) asked: HashMap<u64, (String, String)>,
    /// Bodies that began with a hole, or whose beginning found no room.
    pub(super) marred: HashMap<(u64, bool), Marred>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Marred {
    Hole,
    LeftOut,
}

impl Tracked {
    pub(super) fn mar(&mut self, body: (u64, bool), how: Marred) {
        if self.marred.len() < MAX_MARRED {
            self.marred.entry(body).or_insert(how);
        }
    }

    /// What is wrong with it; where more are wrong than are remembered, any may be.
    pub(super) fn marred(&self, body: (u64, bool)) -> Option<Marred> {
        let full = self.marred.len() >= MAX_MARRED;
        self.marred.get(&body).copied().or_else(|| full.then_some(Marred::Hole))
    }
}
