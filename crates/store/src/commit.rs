//! Writing down what waits, in one transaction.

use std::sync::Arc;

use rusqlite::Connection;
use tw_model::Timestamp;

use crate::delta::{Delta, Entry, EntryRef};
use crate::disk::{read_rows, write_directory, write_row};
use crate::error::StoreError;
use crate::filter::Filters;
use crate::row::Row;
use crate::store::Store;

/// How far an input has been taken into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedThrough {
    /// Name of the input.
    pub source: String,
    /// Frame or record, 1-based.
    pub record: u64,
    /// Its packet time.
    pub timestamp: Timestamp,
}

impl Store {
    /// Writes all that waits, in one transaction that is durable when this returns. Only then may
    /// `committed_through` be reported.
    ///
    /// # Errors
    /// When the disk does not take it. Nothing is lost then: it keeps waiting.
    pub fn commit(&mut self, committed_through: &[CommittedThrough]) -> Result<(), StoreError> {
        // In this order the changes name every host that the entries name.
        let delta = Arc::clone(&self.layer.delta);
        let entries = delta.pending();
        let changes = delta.directory_mut().take_changes();
        let filters = delta.filters();
        let result = self.writable().and_then(|disk| {
            disk.transact(|transaction| {
                write_directory(transaction, &changes)?;
                for (hash, entry) in &entries {
                    write_entry(transaction, *hash, entry, &delta, &filters)?;
                }
                write_progress(transaction, committed_through)
            })
        });
        if let Err(error) = result {
            delta.directory_mut().take_back(&changes);
            self.failed_commits = self.failed_commits.saturating_add(1);
            return Err(error);
        }
        self.after_commit(&delta, &entries);
        Ok(())
    }

    fn after_commit(&mut self, delta: &Delta, entries: &[(u64, Entry)]) {
        delta.written(entries);
        self.commit_at = self.layer.options.pending_limit;
        if self.rebuild_due().is_err() {
            self.failed_rebuilds = self.failed_rebuilds.saturating_add(1);
            let unfiltered = u64::try_from(delta.unfiltered()).unwrap_or(u64::MAX);
            self.rebuild_not_below = unfiltered.saturating_mul(2);
        }
    }

    /// Commits when enough waits. After a failure it waits for a quarter of the limit more, so that
    /// a full disk is not asked for every fact.
    pub(crate) fn commit_when_full(&mut self) {
        let waiting = self.pending_rows();
        if waiting < self.commit_at || !self.is_writer() {
            return;
        }
        if self.commit(&[]).is_err() {
            let more = (self.layer.options.pending_limit / 4).max(1);
            self.commit_at = waiting.saturating_add(more);
        }
    }

    /// How far each input has been taken in, as of the last commit.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn committed_through(&self) -> Result<Vec<CommittedThrough>, StoreError> {
        self.disk()?.run(|connection| {
            let sql = "SELECT source, record, timestamp FROM committed ORDER BY source";
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map((), |row| {
                let timestamp = Timestamp::from_nanos(row.get(2)?);
                let record = row.get::<_, i64>(1)?.cast_unsigned();
                Ok(CommittedThrough { source: row.get(0)?, record, timestamp })
            })?;
            rows.collect()
        })
    }
}

/// Merges one entry into what is on disk. Unless the filter covers it already its hash is kept too,
/// in the same transaction, so that the filter is right after a crash.
fn write_entry(
    connection: &Connection,
    hash: u64,
    entry: &Entry,
    delta: &Delta,
    filters: &Filters,
) -> rusqlite::Result<()> {
    let Entry { environment, axis, key, row, hosts } = entry;
    let place = EntryRef { hash, environment: *environment, axis: *axis, key };
    let write = |host: u32, theirs: Option<Row>, ours: &Row| {
        let mut merged = theirs.unwrap_or_default();
        merged.merge(ours);
        let by = merged.first_seen_by.and_then(|by| delta.directory().host_id(by));
        write_row(connection, place, host, &merged, by)
    };
    // The first host's row is read together with the environment's: most entries have one host.
    let mut hosts = hosts.iter();
    let first = hosts.next();
    let rows = read_rows(connection, place, first.map_or(0, |(host, _)| host))?;
    write(0, rows.environment, row)?;
    if let Some((host, row)) = first {
        write(host, rows.host, row)?;
    }
    for (host, row) in hosts {
        write(host, read_rows(connection, place, host)?.host, row)?;
    }
    if !filters.covers(hash) {
        let sql = "INSERT OR IGNORE INTO unfiltered (hash) VALUES (?1)";
        connection.prepare_cached(sql)?.execute((hash.cast_signed(),))?;
    }
    Ok(())
}

fn write_progress(connection: &Connection, inputs: &[CommittedThrough]) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO committed (source, record, timestamp) VALUES (?1, ?2, ?3)";
    let mut statement = connection.prepare_cached(sql)?;
    for CommittedThrough { source, record, timestamp } in inputs {
        statement.execute((source, record.cast_signed(), timestamp.as_nanos()))?;
    }
    Ok(())
}
