//! Checking a store against itself.

use crate::days::Days;
use crate::disk::count;
use crate::error::StoreError;
use crate::key::MAX_KEY_BYTES;
use crate::rebuild::for_each_entry;
use crate::store::Store;

/// Problems of one kind that are told one by one.
const MAX_PROBLEMS: i64 = 20;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// What `SQLite`'s own check says, when it is not `ok`.
    pub database: Vec<String>,
    /// Entries that were looked at.
    pub entries: u64,
    /// Entries of which the filters say "never": answers would be wrong. `rebuild` repairs it.
    pub missed_by_filters: u64,
    /// Rows of hosts without a row of their environment.
    pub lone_host_rows: u64,
    /// Rows with a key, environment, host or days that no store writes.
    pub malformed_rows: u64,
    /// Filter shards that cannot be used; `rebuild` repairs them.
    pub damaged_filters: u64,
}

impl Verification {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let Self { database, missed_by_filters, lone_host_rows, malformed_rows, .. } = self;
        let wrong = [*missed_by_filters, *lone_host_rows, *malformed_rows, self.damaged_filters];
        database.is_empty() && wrong == [0; 4]
    }
}

impl Store {
    /// Checks the database with its own means, and every entry against the filters; reads
    /// everything.
    ///
    /// # Errors
    /// When the database cannot be read at all.
    pub fn verify(&self) -> Result<Verification, StoreError> {
        let delta = &self.layer.delta;
        let filters = delta.filters();
        let mut found =
            Verification { damaged_filters: filters.damaged(), ..Verification::default() };
        let disk = self.disk()?;
        found.database = disk.run(|connection| {
            let mut statement = connection.prepare("SELECT * FROM pragma_integrity_check(?1)")?;
            let lines = statement.query_map((MAX_PROBLEMS,), |row| row.get(0))?;
            lines.filter(|line| line.as_ref().is_ok_and(|line: &String| line != "ok")).collect()
        })?;
        disk.run(|connection| {
            for_each_entry(connection, |environment, axis, key| {
                found.entries = found.entries.saturating_add(1);
                let hash = delta.hash(environment, axis, key);
                if !delta.may_know(hash) {
                    found.missed_by_filters = found.missed_by_filters.saturating_add(1);
                }
            })
        })?;
        let count_of =
            |sql: &str| disk.run(|connection| connection.query_row(sql, (), |row| count(row, 0)));
        found.lone_host_rows = count_of(
            "SELECT count(*) FROM seen s WHERE s.host <> 0 AND NOT EXISTS (SELECT 1 FROM seen e \
             WHERE e.environment = s.environment AND e.axis = s.axis AND e.key = s.key \
             AND e.host = 0)",
        )?;
        found.malformed_rows = count_of(&format!(
            "SELECT count(*) FROM seen s WHERE s.axis NOT BETWEEN 1 AND 9 \
             OR length(s.key) NOT BETWEEN 1 AND {MAX_KEY_BYTES} \
             OR NOT EXISTS (SELECT 1 FROM environment e WHERE e.id = s.environment) \
             OR s.host <> 0 AND NOT EXISTS (SELECT 1 FROM host h WHERE h.id = s.host)"
        ))?;
        disk.run(|connection| {
            let mut statement = connection.prepare("SELECT days FROM seen")?;
            let mut rows = statement.query(())?;
            while let Some(row) = rows.next()? {
                if Days::decode(row.get_ref(0)?.as_blob()?).is_none() {
                    found.malformed_rows = found.malformed_rows.saturating_add(1);
                }
            }
            Ok(())
        })?;
        Ok(found)
    }
}
