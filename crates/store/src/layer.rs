//! Asking and recording: what live store, reader and overlay have in common.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tw_detect::{Answer, Fact, Key, Knowledge};
use tw_model::Timestamp;

use crate::cache::Cache;
use crate::delta::{Delta, EntryRef, LookedUp, Room, Rows};
use crate::directory::Watch;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::key::{self, SeenAxis};
use crate::options::Options;
use crate::row::{How, Row};

/// A shared delta over a database of its own connection, or over nothing.
pub(crate) struct Layer {
    pub(crate) delta: Arc<Delta>,
    pub(crate) disk: Option<Disk>,
    pub(crate) options: Options,
    /// Rows that may wait; beyond it new ones are dropped and counted.
    row_limit: usize,
    cache: Cache,
    /// The key that is being asked about, to spare an allocation per question.
    scratch: Vec<u8>,
}

impl Layer {
    pub(crate) fn new(
        delta: Arc<Delta>,
        disk: Option<Disk>,
        options: Options,
        row_limit: usize,
    ) -> Self {
        let cache = Cache::new(options.cache_limit);
        let scratch = Vec::with_capacity(key::MAX_KEY_BYTES);
        Self { delta, disk, options, row_limit, cache, scratch }
    }

    /// Sets how many rows may wait.
    pub(crate) const fn limit_rows(&mut self, limit: usize) {
        self.row_limit = limit;
    }

    /// One directory read, one hash, one look into the map and one into the filter; only "maybe"
    /// goes further, to the cache and then to the database.
    ///
    /// A key that is too long to be stored was never seen.
    pub(crate) fn ask(
        &mut self,
        environment: &str,
        host: IpAddr,
        question: Key<'_>,
        at: Timestamp,
    ) -> Answer {
        let axis = SeenAxis::of(question);
        let (id, watch, host) = self.place(environment, axis, host);
        let mut key = std::mem::take(&mut self.scratch);
        let rows = match (id, key::encode(question, &mut key)) {
            (Some(environment), Ok(())) => {
                let hash = self.delta.hash(environment, axis, &key);
                self.rows(EntryRef { hash, environment, axis, key: &key }, host)
            }
            _ => Some(Rows::default()),
        };
        self.scratch = key;
        if rows.is_none() {
            count(&self.delta.unavailable);
        }
        self.judge(&watch, axis, rows.as_ref(), at)
    }

    fn place(
        &self,
        environment: &str,
        axis: SeenAxis,
        host: IpAddr,
    ) -> (Option<u32>, Watch, Option<u32>) {
        let directory = self.delta.directory();
        let id = directory.environment_id(environment);
        let watch = id.and_then(|id| directory.environment(id)).map(|found| found.watch(axis));
        let host = axis.has_hosts().then(|| directory.host_id(host)).flatten();
        (id, watch.unwrap_or_default(), host)
    }

    /// All that is remembered of an entry; `None` when the database could not be asked.
    fn rows(&mut self, entry: EntryRef<'_>, host: Option<u32>) -> Option<Rows> {
        let LookedUp { waiting, maybe_on_disk } = self.delta.look_up(entry, host);
        if !maybe_on_disk {
            return Some(waiting);
        }
        let mut rows = self.settled(entry, host.unwrap_or(0)).ok()?;
        rows.merge(waiting);
        Some(rows)
    }

    fn settled(&mut self, entry: EntryRef<'_>, host: u32) -> Result<Rows, StoreError> {
        let Some(disk) = &self.disk else { return Ok(Rows::default()) };
        self.cache.sync(self.delta.commits());
        if let Some(rows) = self.cache.get(entry, host) {
            return Ok(rows);
        }
        let rows = disk.rows(entry, host)?;
        self.cache.insert(entry, host, rows.clone());
        Ok(rows)
    }

    fn judge(&self, watch: &Watch, axis: SeenAxis, rows: Option<&Rows>, at: Timestamp) -> Answer {
        let (environment, host) = match rows {
            Some(rows) => self.standing(watch, axis, rows, at),
            None => (Knowledge::Unavailable, Knowledge::Unavailable),
        };
        Answer {
            environment,
            host,
            watched_since: watch.since,
            baseline: watch.baseline,
            error_probability: 0.0,
        }
    }

    fn standing(
        &self,
        watch: &Watch,
        axis: SeenAxis,
        rows: &Rows,
        at: Timestamp,
    ) -> (Knowledge, Knowledge) {
        let rules = &self.options.rules;
        let in_finding = rows.environment.as_ref().is_some_and(Row::is_in_finding);
        let unjudged = watch.is_unjudged(at, rules.known_after);
        let judged = |row: Option<&Row>| {
            let standing = row.map_or(Knowledge::Never, |row| row.standing(in_finding, at, rules));
            if unjudged && standing != Knowledge::Known { Knowledge::Unwatched } else { standing }
        };
        let environment = judged(rows.environment.as_ref());
        let for_all = rows.environment.as_ref().is_some_and(|row| row.is_told_for_all(at, rules));
        let host = if axis.has_hosts() && !for_all {
            judged(rows.host.as_ref())
        } else {
            environment.clone()
        };
        (environment, host)
    }

    /// Remembers a contact.
    pub(crate) fn record(&mut self, fact: &Fact<'_>, how: How) {
        let mut key = std::mem::take(&mut self.scratch);
        match key::encode(fact.key, &mut key) {
            Ok(()) => {
                if self.record_encoded(fact, &key, how).is_none() {
                    count(&self.delta.dropped);
                }
            }
            Err(_) => count(&self.delta.keys_refused),
        }
        self.scratch = key;
    }

    fn record_encoded(&self, fact: &Fact<'_>, key: &[u8], how: How) -> Option<()> {
        let axis = SeenAxis::of(fact.key);
        let (environment, host) = self.ids(fact, axis, how)?;
        let host = axis.has_hosts().then_some(host);
        let hash = self.delta.hash(environment, axis, key);
        let entry = EntryRef { hash, environment, axis, key };
        let contact = (fact.at, fact.host.to_canonical(), how, fact.via);
        (self.delta.touch(entry, host, self.row_limit, contact) == Room::Taken).then_some(())
    }

    /// Ids of the environment and host, and the axis watched at that time. Takes the directory for
    /// writing only when something in it changes.
    fn ids(&self, fact: &Fact<'_>, axis: SeenAxis, how: How) -> Option<(u32, u32)> {
        let baseline = how.is_baseline();
        {
            let directory = self.delta.directory();
            let environment = directory.environment_id(fact.environment);
            let environment =
                environment.filter(|&id| directory.covers(id, axis, fact.at, baseline));
            if let (Some(environment), Some(host)) = (environment, directory.host_id(fact.host)) {
                return Some((environment, host));
            }
        }
        let mut directory = self.delta.directory_mut();
        let environment = directory.add_environment(fact.environment)?;
        directory.extend(environment, axis, fact.at, baseline);
        Some((environment, directory.add_host(fact.host)?))
    }

    /// These axes of this environment are watched at this time.
    pub(crate) fn watching(&self, environment: &str, axes: &[SeenAxis], at: Timestamp) {
        {
            let directory = self.delta.directory();
            let id = directory.environment_id(environment);
            let covered = |id| axes.iter().all(|&axis| directory.covers(id, axis, at, false));
            if id.is_some_and(covered) {
                return;
            }
        }
        let mut directory = self.delta.directory_mut();
        let Some(id) = directory.add_environment(environment) else { return };
        for &axis in axes {
            directory.extend(id, axis, at, false);
        }
    }

    /// Changes the environment's row of a key, whether or not it was ever seen.
    pub(crate) fn merge_row(&mut self, environment: &str, key: Key<'_>, row: &Row) {
        let mut bytes = std::mem::take(&mut self.scratch);
        match key::encode(key, &mut bytes) {
            Ok(()) => {
                let axis = SeenAxis::of(key);
                if self.merge_encoded(environment, None, axis, &bytes, row) == Room::Full {
                    count(&self.delta.dropped);
                }
            }
            Err(_) => count(&self.delta.keys_refused),
        }
        self.scratch = bytes;
    }

    /// Merges a row into the environment's row and, if it is that of a host, into the host's. The
    /// environment knows at least what its hosts know, so that no host's row is ever alone.
    pub(crate) fn merge_encoded(
        &self,
        environment: &str,
        host: Option<IpAddr>,
        axis: SeenAxis,
        key: &[u8],
        row: &Row,
    ) -> Room {
        let ids = {
            let mut directory = self.delta.directory_mut();
            let by = row.first_seen_by.is_none_or(|by| directory.add_host(by).is_some());
            let host = host.map(|host| directory.add_host(host));
            match (directory.add_environment(environment), host) {
                (Some(environment), None) if by => Some((environment, None)),
                (Some(environment), Some(Some(host))) if by => Some((environment, Some(host))),
                _ => None,
            }
        };
        let Some((environment, host)) = ids else { return Room::Full };
        let hash = self.delta.hash(environment, axis, key);
        let entry = EntryRef { hash, environment, axis, key };
        self.delta.change(entry, host, self.row_limit, |ours| ours.merge(row))
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
