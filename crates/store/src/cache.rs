//! Settled rows, so that the same question does not go to disk twice.

use std::collections::HashMap;
use std::mem;

use crate::delta::{EntryRef, Rows};
use crate::key::SeenAxis;

/// What one entry and host said on disk.
#[derive(Debug)]
struct Settled {
    environment: u32,
    axis: SeenAxis,
    key: Box<[u8]>,
    rows: Rows,
}

/// Two generations: when the young one is full it becomes the old one, and what is still asked for
/// moves over. Never more than `limit` rows.
#[derive(Debug)]
pub(crate) struct Cache {
    young: HashMap<(u64, u32), Settled>,
    old: HashMap<(u64, u32), Settled>,
    limit: usize,
    commits: u64,
}

impl Cache {
    pub(crate) fn new(limit: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), limit, commits: 0 }
    }

    /// Forgets everything if there was a commit since.
    pub(crate) fn sync(&mut self, commits: u64) {
        if self.commits != commits {
            self.commits = commits;
            self.young.clear();
            self.old.clear();
        }
    }

    pub(crate) fn get(&mut self, entry: EntryRef<'_>, host: u32) -> Option<Rows> {
        let place = (entry.hash, host);
        if let Some(settled) = self.young.get(&place) {
            return settled.is(entry).then(|| settled.rows.clone());
        }
        let settled = self.old.remove(&place).filter(|settled| settled.is(entry))?;
        let rows = settled.rows.clone();
        self.insert_settled(place, settled);
        Some(rows)
    }

    pub(crate) fn insert(&mut self, entry: EntryRef<'_>, host: u32, rows: Rows) {
        let EntryRef { hash, environment, axis, key } = entry;
        let settled = Settled { environment, axis, key: key.into(), rows };
        self.insert_settled((hash, host), settled);
    }

    fn insert_settled(&mut self, place: (u64, u32), settled: Settled) {
        if self.limit < 2 {
            return;
        }
        if self.young.len() >= self.limit / 2 {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(place, settled);
    }
}

impl Settled {
    fn is(&self, entry: EntryRef<'_>) -> bool {
        self.environment == entry.environment && self.axis == entry.axis && *self.key == *entry.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(hash: u64, key: &[u8]) -> EntryRef<'_> {
        EntryRef { hash, environment: 1, axis: SeenAxis::Name, key }
    }

    #[test]
    fn keeps_at_most_its_limit_and_what_is_asked_for() {
        let mut cache = Cache::new(10);
        for hash in 0..1_000 {
            cache.insert(entry(hash, b"a"), 0, Rows::default());
            assert!(cache.get(entry(0, b"a"), 0).is_some());
            assert!(cache.young.len() + cache.old.len() <= 10);
        }
    }

    #[test]
    fn an_equal_hash_is_no_equal_key_and_a_commit_empties_it() {
        let mut cache = Cache::new(10);
        cache.insert(entry(1, b"a"), 0, Rows::default());
        assert!(cache.get(entry(1, b"b"), 0).is_none());
        assert!(cache.get(entry(1, b"a"), 7).is_none());
        cache.sync(1);
        assert!(cache.get(entry(1, b"a"), 0).is_none());
    }
}
