//! What all handles on one store share: the map of what came since the filters were built, the
//! filters, and the directory of environments and hosts.
//!
//! Order of reading, so that nothing that was once recorded is ever missed while a writer commits
//! or swaps a filter in another thread: first the map, then the filter, then the disk. A writer
//! goes the other way: it fills the disk, then the filter, and only then takes things out of the
//! map.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use dashmap::DashMap;
use siphasher::sip::SipHasher13;
use tw_model::{Timestamp, Via};

use crate::directory::Directory;
use crate::filter::Filters;
use crate::hosts::Hosts;
use crate::key::SeenAxis;
use crate::row::{How, Row};

/// Names one entry: an environment, an axis and the bytes of a key, with their keyed hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryRef<'a> {
    pub(crate) hash: u64,
    pub(crate) environment: u32,
    pub(crate) axis: SeenAxis,
    pub(crate) key: &'a [u8],
}

/// What waits to be written of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) environment: u32,
    pub(crate) axis: SeenAxis,
    pub(crate) key: Box<[u8]>,
    pub(crate) row: Row,
    pub(crate) hosts: Hosts,
}

impl Entry {
    pub(crate) fn new(entry: EntryRef<'_>) -> Self {
        let EntryRef { environment, axis, key, .. } = entry;
        Self { environment, axis, key: key.into(), row: Row::default(), hosts: Hosts::default() }
    }

    pub(crate) fn is(&self, entry: EntryRef<'_>) -> bool {
        self.environment == entry.environment && self.axis == entry.axis && *self.key == *entry.key
    }

    /// The environment's row and those of the hosts.
    pub(crate) fn rows(&self) -> usize {
        self.hosts.len().saturating_add(1)
    }
}

/// The rows of an entry for one question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) environment: Option<Row>,
    pub(crate) host: Option<Row>,
}

impl Rows {
    pub(crate) fn merge(&mut self, other: Self) {
        merge_option(&mut self.environment, other.environment);
        merge_option(&mut self.host, other.host);
    }
}

fn merge_option(ours: &mut Option<Row>, theirs: Option<Row>) {
    match (ours.as_mut(), theirs) {
        (Some(ours), Some(theirs)) => ours.merge(&theirs),
        (None, theirs) => *ours = theirs,
        (Some(_), None) => {}
    }
}

/// The keys are keyed hashes already.
#[derive(Default)]
pub(crate) struct PassThrough(u64);

impl Hasher for PassThrough {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// What is known of one hash since the filters were built.
#[derive(Debug, Default)]
struct Since {
    /// An entry of this hash is on disk, and in no filter.
    on_disk: bool,
    waiting: Vec<Entry>,
}

impl Since {
    fn rows(&self, entry: EntryRef<'_>, host: Option<u32>) -> Rows {
        let Some(found) = self.waiting.iter().find(|waiting| waiting.is(entry)) else {
            return Rows::default();
        };
        let host = host.and_then(|host| found.hosts.get(host)).cloned();
        Rows { environment: Some(found.row.clone()), host }
    }
}

/// What the map and the filters say of an entry.
pub(crate) struct LookedUp {
    /// What waits to be written.
    pub(crate) waiting: Rows,
    /// There may be more on disk.
    pub(crate) maybe_on_disk: bool,
}

/// What all handles on one store share.
pub(crate) struct Delta {
    /// By hash: what is not in a filter.
    since: DashMap<u64, Since, BuildHasherDefault<PassThrough>>,
    filters: RwLock<Arc<Filters>>,
    directory: RwLock<Directory>,
    hasher: SipHasher13,
    pending_rows: AtomicUsize,
    commits: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) keys_refused: AtomicU64,
    pub(crate) unavailable: AtomicU64,
}

/// Whether a row found room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// It is in.
    Taken,
    /// The limit is reached and it would have been a new one.
    Full,
}

impl Delta {
    pub(crate) fn new(secret: [u8; 16], filters: Filters, directory: Directory) -> Self {
        Self {
            since: DashMap::default(),
            filters: RwLock::new(Arc::new(filters)),
            directory: RwLock::new(directory),
            hasher: SipHasher13::new_with_key(&secret),
            pending_rows: AtomicUsize::new(0),
            commits: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            keys_refused: AtomicU64::new(0),
            unavailable: AtomicU64::new(0),
        }
    }

    /// With a secret of this process, for an overlay over nothing. The secret decides where things
    /// are kept in memory and nothing that is answered.
    pub(crate) fn ephemeral() -> Self {
        let random = RandomState::new();
        let [upper, lower] = [0_u8, 1].map(|half| random.hash_one(half));
        let secret = u128::from(upper) << 64 | u128::from(lower);
        Self::new(secret.to_le_bytes(), Filters::unbuilt(), Directory::default())
    }

    /// The keyed hash of an entry.
    pub(crate) fn hash(&self, environment: u32, axis: SeenAxis, key: &[u8]) -> u64 {
        let mut hasher = self.hasher;
        hasher.write(&environment.to_le_bytes());
        hasher.write(&[axis.code()]);
        hasher.write(key);
        hasher.finish()
    }

    pub(crate) fn directory(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn directory_mut(&self) -> RwLockWriteGuard<'_, Directory> {
        self.directory.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn filters(&self) -> Arc<Filters> {
        Arc::clone(&self.filters.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn may_be_filtered(&self, hash: u64) -> bool {
        self.filters.read().unwrap_or_else(PoisonError::into_inner).may_contain(hash)
    }

    /// Puts new filters in place, then drops what they cover from the map.
    pub(crate) fn swap_filters(&self, filters: Filters) {
        let filters = Arc::new(filters);
        *self.filters.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&filters);
        self.since.retain(|&hash, slot| !slot.waiting.is_empty() || !filters.covers(hash));
    }

    /// How many commits there were: what was read from disk before may be old.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }

    pub(crate) fn pending_rows(&self) -> usize {
        self.pending_rows.load(Ordering::Relaxed)
    }

    /// Hashes on disk or waiting that no filter covers.
    pub(crate) fn unfiltered(&self) -> usize {
        self.since.len()
    }

    /// Calls `each` with the hash of everything that no filter covers and that is on disk.
    pub(crate) fn for_each_unfiltered(&self, mut each: impl FnMut(u64)) {
        for slot in &self.since {
            if slot.value().on_disk {
                each(*slot.key());
            }
        }
    }

    /// An entry that is on disk and in no filter.
    pub(crate) fn note_unfiltered(&self, hash: u64) {
        self.since.entry(hash).or_default().on_disk = true;
    }

    /// Whether anything but the database knows of this hash.
    pub(crate) fn may_know(&self, hash: u64) -> bool {
        self.since.contains_key(&hash) || self.may_be_filtered(hash)
    }

    /// What waits of this entry, and whether the disk need be asked for more.
    pub(crate) fn look_up(&self, entry: EntryRef<'_>, host: Option<u32>) -> LookedUp {
        let (waiting, noted) = match self.since.get(&entry.hash) {
            None => (Rows::default(), false),
            Some(slot) => (slot.rows(entry, host), slot.on_disk),
        };
        LookedUp { waiting, maybe_on_disk: noted || self.may_be_filtered(entry.hash) }
    }

    /// Changes one entry and, if it has one, the row of one host.
    pub(crate) fn change(
        &self,
        entry: EntryRef<'_>,
        host: Option<u32>,
        limit: usize,
        mut change: impl FnMut(&mut Row),
    ) -> Room {
        let full = self.pending_rows() >= limit;
        if full && !self.since.contains_key(&entry.hash) {
            return Room::Full;
        }
        let mut slot = self.since.entry(entry.hash).or_default();
        let mut added = 0_usize;
        if !slot.waiting.iter().any(|waiting| waiting.is(entry)) {
            if full {
                return Room::Full;
            }
            // Two entries hardly ever share a hash.
            slot.waiting.reserve_exact(1);
            slot.waiting.push(Entry::new(entry));
            added = 1;
        }
        let Some(waiting) = slot.waiting.iter_mut().find(|waiting| waiting.is(entry)) else {
            return Room::Full;
        };
        change(&mut waiting.row);
        let mut room = Room::Taken;
        match host {
            Some(host) if full && waiting.hosts.get(host).is_none() => room = Room::Full,
            Some(host) => {
                let before = waiting.hosts.len();
                change(waiting.hosts.row(host));
                added = added.saturating_add(waiting.hosts.len().saturating_sub(before));
            }
            None => {}
        }
        drop(slot);
        self.pending_rows.fetch_add(added, Ordering::Relaxed);
        room
    }

    /// Adds a contact.
    pub(crate) fn touch(
        &self,
        entry: EntryRef<'_>,
        host: Option<u32>,
        limit: usize,
        (at, by, how, via): (Timestamp, IpAddr, How, Via),
    ) -> Room {
        self.change(entry, host, limit, |row| row.touch(at, by, how, via))
    }

    /// A copy of all that waits, in the order in which it lies on disk.
    pub(crate) fn pending(&self) -> Vec<(u64, Entry)> {
        let mut all: Vec<(u64, Entry)> = Vec::new();
        for slot in &self.since {
            all.extend(slot.value().waiting.iter().map(|entry| (*slot.key(), entry.clone())));
        }
        all.sort_unstable_by(|(_, a), (_, b)| {
            (a.environment, a.axis.code(), &a.key).cmp(&(b.environment, b.axis.code(), &b.key))
        });
        all
    }

    /// These are on disk now. What changed meanwhile keeps waiting, and what no filter covers stays
    /// as a hash.
    pub(crate) fn written(&self, entries: &[(u64, Entry)]) {
        self.commits.fetch_add(1, Ordering::Release);
        let filters = self.filters();
        let mut gone = 0_usize;
        for (hash, written) in entries {
            let Some(mut slot) = self.since.get_mut(hash) else { continue };
            slot.on_disk = true;
            let before = slot.waiting.len();
            slot.waiting.retain(|waiting| waiting != written);
            if slot.waiting.len() < before {
                gone = gone.saturating_add(written.rows());
            }
            drop(slot);
            if filters.covers(*hash) {
                self.since.remove_if(hash, |_, slot| slot.waiting.is_empty());
            }
        }
        let rows = |left: usize| Some(left.saturating_sub(gone));
        let _ = self.pending_rows.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rows);
    }
}
