//! Accepting and forgetting by the operator's hand.

use rusqlite::{Connection, params_from_iter};
use tw_model::Timestamp;

use crate::delta::Room;
use crate::error::StoreError;
use crate::key::{SeenAxis, StoredKey};
use crate::list::{RecordFilter, condition};
use crate::row::{BASELINE, How, Row};
use crate::store::Store;

/// Whether to forget, or to say what would be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forget {
    /// Count only.
    Rehearse,
    /// Delete.
    ForGood,
}

/// What was forgotten, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Rows of environments.
    pub entries: u64,
    /// Rows of single hosts.
    pub host_rows: u64,
}

impl Store {
    /// Makes a key known in an environment and to all its hosts, and commits.
    ///
    /// # Errors
    /// When the store is no writer or the disk does not take it.
    pub fn accept(
        &mut self,
        environment: &str,
        key: &StoredKey,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.writable()?;
        let row = Row::told(at, How::Accepted);
        if self.layer.merge_encoded(environment, None, key.axis, &key.bytes, &row) == Room::Full {
            self.commit(&[])?;
            self.layer.merge_encoded(environment, None, key.axis, &key.bytes, &row);
        }
        self.commit(&[])
    }

    /// Forgets every record that fits, and those of hosts whose environment's record goes. What
    /// waits is committed first. An axis of which nothing learned or imported is left has no
    /// baseline any more.
    ///
    /// # Errors
    /// When the store is no writer or the disk does not take it; nothing is forgotten then.
    pub fn forget(
        &mut self,
        filter: &RecordFilter,
        forget: Forget,
    ) -> Result<Forgotten, StoreError> {
        self.commit(&[])?;
        let work = |connection: &_| delete(connection, filter);
        if forget == Forget::Rehearse {
            return self.writable()?.rehearse(|transaction| work(transaction));
        }
        let forgotten = self.writable()?.transact(|transaction| work(transaction))?;
        self.layer.delta.written(&[]);
        self.judge_baselines()?;
        Ok(forgotten)
    }

    /// Forgets what is older than `forget_after` at this time, which did not count any more.
    ///
    /// # Errors
    /// As [`Store::forget`].
    pub fn expire(&mut self, at: Timestamp) -> Result<Forgotten, StoreError> {
        let not_since = Some(at.minus(self.layer.options.rules.forget_after));
        self.forget(&RecordFilter { not_since, ..RecordFilter::default() }, Forget::ForGood)
    }

    fn judge_baselines(&mut self) -> Result<(), StoreError> {
        let mut gone = Vec::new();
        {
            let directory = self.layer.delta.directory();
            for (id, environment) in (1_u32..).zip(directory.environments()) {
                for axis in SeenAxis::ALL {
                    if environment.watch(axis).baseline && !self.has_baseline(id, axis)? {
                        gone.push((id, axis));
                    }
                }
            }
        }
        for (id, axis) in gone {
            self.layer.delta.directory_mut().set_baseline(id, axis, false);
        }
        self.commit(&[])
    }

    fn has_baseline(&self, environment: u32, axis: SeenAxis) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM seen \
                   WHERE environment = ?1 AND axis = ?2 AND marks & ?3 <> 0)";
        let parameters = (environment, axis.code(), BASELINE);
        self.disk()?.run(|connection| connection.query_row(sql, parameters, |row| row.get(0)))
    }
}

fn delete(connection: &Connection, filter: &RecordFilter) -> rusqlite::Result<Forgotten> {
    let (condition, values) = condition(filter);
    let delete = |hosts: &str| {
        let sql = format!("DELETE FROM seen AS s WHERE {hosts} AND {condition}");
        connection.execute(&sql, params_from_iter(values.iter()))
    };
    let host_rows = delete("s.host <> 0")?;
    let entries = delete("s.host = 0")?;
    let alone = "DELETE FROM seen AS s WHERE s.host <> 0 AND NOT EXISTS (SELECT 1 FROM seen e \
                 WHERE e.environment = s.environment AND e.axis = s.axis AND e.key = s.key \
                 AND e.host = 0)";
    let alone = if entries > 0 { connection.execute(alone, ())? } else { 0 };
    Ok(Forgotten {
        entries: u64::try_from(entries).unwrap_or(u64::MAX),
        host_rows: u64::try_from(host_rows.saturating_add(alone)).unwrap_or(u64::MAX),
    })
}
