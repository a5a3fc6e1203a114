//! What was told already, so that nothing is told twice and what changed is told again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::lines::{Stage, Status};

/// Things remembered; beyond it the one that was told least recently is forgotten.
const LIMIT: usize = 65_536;

/// Ids of what was told, with what it said.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Told {
    by_id: BTreeMap<String, Entry>,
    /// Counts what was told.
    turn: u64,
    /// Entries forgotten for the limit.
    pub(crate) forgotten: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    revision: u32,
    gist: u64,
    turn: u64,
}

impl Told {
    /// The stage in which this is to be told; nothing where that was said before.
    pub(crate) fn stage(&mut self, id: &str, gist: u64) -> Option<Stage> {
        self.turn += 1;
        let turn = self.turn;
        if let Some(entry) = self.by_id.get_mut(id) {
            if entry.gist == gist {
                return None;
            }
            entry.revision = entry.revision.saturating_add(1);
            (entry.gist, entry.turn) = (gist, turn);
            return Some(Stage { status: Status::Updated, revision: entry.revision });
        }
        if self.by_id.len() >= LIMIT {
            self.forget_half();
        }
        self.by_id.insert(id.to_owned(), Entry { revision: 1, gist, turn });
        Some(Stage { status: Status::Open, revision: 1 })
    }

    /// It could not be told: it will be as if it never had been.
    pub(crate) fn take_back(&mut self, id: &str) {
        self.by_id.remove(id);
    }

    /// Half at a time, so that it costs little each.
    fn forget_half(&mut self) {
        let mut turns: Vec<u64> = self.by_id.values().map(|entry| entry.turn).collect();
        let middle = turns.len() / 2;
        let (_, median, _) = turns.select_nth_unstable(middle);
        let median = *median;
        let before = self.by_id.len();
        self.by_id.retain(|_, entry| entry.turn >= median);
        self.forgotten += (before - self.by_id.len()) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_the_same_is_told_once_and_what_changed_again() {
        let mut told = Told::default();
        let stage = |told: &mut Told, gist| told.stage("f-1", gist).map(|s| (s.status, s.revision));
        assert_eq!(stage(&mut told, 7), Some((Status::Open, 1)));
        assert_eq!(stage(&mut told, 7), None);
        assert_eq!(stage(&mut told, 8), Some((Status::Updated, 2)));
        told.take_back("f-0");
        let kept = serde_json::to_string(&told).unwrap();
        let mut told: Told = serde_json::from_str(&kept).unwrap();
        assert_eq!(stage(&mut told, 8), None);
        assert_eq!(stage(&mut told, 9), Some((Status::Updated, 3)));
        told.take_back("f-1");
        assert_eq!(stage(&mut told, 9), Some((Status::Open, 1)));
    }

    #[test]
    fn it_stays_within_its_limit_and_keeps_the_latest() {
        let mut told = Told::default();
        for number in 0..=LIMIT {
            told.stage(&number.to_string(), 0);
        }
        assert!(told.by_id.len() <= LIMIT && told.forgotten > 0);
        assert_eq!(told.stage(&LIMIT.to_string(), 0), None);
    }
}
