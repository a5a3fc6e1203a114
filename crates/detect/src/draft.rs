//! Findings while they are put together: one for each identity, merged on repetition.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tw_model::{Conversation, Evidence, Finding, Timestamp};

use crate::host::HostId;
use crate::window::Owner;

/// Conversations of one draft that are of none of its owners.
pub(crate) const MAX_CONVERSATIONS: usize = 64;

/// A finding with what links it to others.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) finding: Finding,
    pub(crate) host: HostId,
    pub(crate) clients: BTreeSet<IpAddr>,
    pub(crate) owners: BTreeSet<Owner>,
    /// What it is about, where that is a conversation of none of the owners.
    pub(crate) conversations: Vec<Conversation>,
    /// Last thing that belongs to it.
    pub(crate) last: Timestamp,
}

/// All findings of one judgement.
#[derive(Debug)]
pub(crate) struct Drafts {
    by_id: BTreeMap<String, Draft>,
    limit: usize,
    pub(crate) lost: u64,
}

impl Drafts {
    pub(crate) fn new(limit: usize) -> Self {
        Self { by_id: BTreeMap::new(), limit, lost: 0 }
    }

    /// Adds a finding; one of the same id takes what is new in it.
    pub(crate) fn add(&mut self, draft: Draft) {
        if let Some(known) = self.by_id.get_mut(&draft.finding.id) {
            known.merge(draft);
        } else if self.by_id.len() < self.limit {
            self.by_id.insert(draft.finding.id.clone(), draft);
        } else {
            self.lost += 1;
        }
    }

    /// Adds each.
    pub(crate) fn extend(&mut self, drafts: impl IntoIterator<Item = Draft>) {
        drafts.into_iter().for_each(|draft| self.add(draft));
    }

    /// In the order of their time.
    pub(crate) fn into_sorted(self) -> Vec<Draft> {
        let mut drafts: Vec<Draft> = self.by_id.into_values().collect();
        drafts.sort_by(|a, b| {
            (a.finding.timestamp, &a.finding.id).cmp(&(b.finding.timestamp, &b.finding.id))
        });
        drafts
    }
}

impl Draft {
    /// The words of the graver one stay; lists grow.
    fn merge(&mut self, other: Self) {
        self.clients.extend(other.clients);
        self.owners.extend(other.owners);
        extend_unique(&mut self.conversations, other.conversations, MAX_CONVERSATIONS);
        self.last = self.last.max(other.last);
        let (old, new) = (&mut self.finding, other.finding);
        if (new.severity, new.verdict) > (old.severity, old.verdict) {
            old.title = new.title;
            old.summary = new.summary;
        }
        old.severity = old.severity.max(new.severity);
        old.verdict = old.verdict.max(new.verdict);
        old.timestamp = old.timestamp.min(new.timestamp);
        extend_unique(&mut old.techniques, new.techniques, 16);
        extend_unique(&mut old.builds, new.builds, 64);
        extend_unique(&mut old.caveats, new.caveats, 16);
        old.caveats.sort_unstable();
        merge_evidence(&mut old.evidence, &new.evidence);
    }
}

fn extend_unique<T: PartialEq>(list: &mut Vec<T>, more: Vec<T>, limit: usize) {
    for item in more {
        if list.len() < limit && !list.contains(&item) {
            list.push(item);
        }
    }
}

/// The union in the order of time, at most 8.
pub(crate) fn merge_evidence(list: &mut Vec<Evidence>, more: &[Evidence]) {
    list.extend_from_slice(more);
    list.sort_unstable_by_key(|e| (e.timestamp, e.source, e.record));
    list.dedup();
    list.truncate(8);
}
