//! Showing what is remembered, and why it is known.

use std::net::IpAddr;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use tw_detect::Knowledge;
use tw_model::Timestamp;

use crate::disk::{ROW_COLUMNS, ROW_SOURCE, row_from};
use crate::error::StoreError;
use crate::key::{SeenAxis, StoredKey};
use crate::row::{How, Row};
use crate::store::Store;

/// Which records are meant. Everything left open means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordFilter {
    /// Of this environment.
    pub environment: Option<String>,
    /// Of this axis.
    pub axis: Option<SeenAxis>,
    /// Of this key.
    pub key: Option<StoredKey>,
    /// First seen, learned, imported or accepted by this host: the rows of the host itself.
    pub host: Option<IpAddr>,
    /// Not seen, learned, imported or accepted at or after this time.
    pub not_since: Option<Timestamp>,
    /// Come into the store in this way, perhaps among others.
    pub how: Option<How>,
    /// Only the environments' own rows, without those of single hosts.
    pub environments_only: bool,
}

/// One remembered thing of an environment, or of one host in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The environment.
    pub environment: String,
    /// What.
    pub key: StoredKey,
    /// The host whose row this is; `None` for the whole environment.
    pub host: Option<IpAddr>,
    pub(crate) row: Row,
}

impl Record {
    /// First contact.
    #[must_use]
    pub const fn first_seen(&self) -> Option<Timestamp> {
        self.row.first_seen
    }

    /// Who made the first contact.
    #[must_use]
    pub const fn first_seen_by(&self) -> Option<IpAddr> {
        self.row.first_seen_by
    }

    /// Last contact.
    #[must_use]
    pub const fn last_seen(&self) -> Option<Timestamp> {
        self.row.last_seen
    }

    /// When it was last learned, imported or accepted.
    #[must_use]
    pub const fn told_at(&self) -> Option<Timestamp> {
        self.row.told_at
    }

    /// On how many different UTC days.
    #[must_use]
    pub fn days(&self) -> u32 {
        self.row.days.count()
    }

    /// In which ways it came into the store.
    pub fn how(&self) -> impl Iterator<Item = How> + '_ {
        self.row.how()
    }

    /// In what contacts were seen: packets, flow records, or both.
    pub fn via(&self) -> impl Iterator<Item = tw_model::Via> + '_ {
        self.row.via()
    }

    /// Whether it stands in a finding of medium or above.
    #[must_use]
    pub const fn is_in_finding(&self) -> bool {
        self.row.is_in_finding()
    }
}

/// A record with its standing at the time asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// What is remembered.
    pub record: Record,
    /// What that makes of it.
    pub knowledge: Knowledge,
}

impl Store {
    /// Calls `each` with every committed record that fits, in the order of environments, axes and
    /// keys, the environment's own row before those of its hosts.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn list(
        &self,
        filter: &RecordFilter,
        mut each: impl FnMut(&Record),
    ) -> Result<(), StoreError> {
        let mut visit = |record: Record| {
            each(&record);
            Ok(())
        };
        self.try_list(filter, &mut visit)
    }

    /// As [`Store::list`], until `each` fails.
    pub(crate) fn try_list(
        &self,
        filter: &RecordFilter,
        each: &mut impl FnMut(Record) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let disk = self.disk()?;
        for environment in disk.run(|connection| environments(connection, filter))? {
            let mut failed = None;
            disk.run(|connection| {
                for_each_record(connection, &environment, filter, |record| match each(record) {
                    Ok(()) => true,
                    Err(error) => {
                        failed = Some(error);
                        false
                    }
                })
            })?;
            failed.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// All that is remembered of one key in one environment, as it stands at a time: the
    /// environment's own row first, then its hosts. Waiting rows are committed first where this
    /// store is the writer.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn query(
        &mut self,
        environment: &str,
        key: &StoredKey,
        at: Timestamp,
    ) -> Result<Vec<Why>, StoreError> {
        if self.is_writer() {
            self.commit(&[])?;
        }
        let filter = RecordFilter {
            environment: Some(environment.to_owned()),
            key: Some(key.clone()),
            ..RecordFilter::default()
        };
        let rules = self.layer.options.rules;
        let mut found: Vec<Why> = Vec::new();
        let mut of_all = None;
        self.list(&filter, |record| {
            if record.host.is_none() {
                of_all = Some(record.row.clone());
            }
            let in_finding = of_all.as_ref().is_some_and(Row::is_in_finding);
            let for_all = of_all.as_ref().is_some_and(|row| row.is_told_for_all(at, &rules));
            let standing = record.row.standing(in_finding, at, &rules);
            let knowledge = if for_all { Knowledge::Known } else { standing };
            found.push(Why { record: record.clone(), knowledge });
        })?;
        Ok(found)
    }
}

/// The condition and its parameters.
pub(crate) fn condition(filter: &RecordFilter) -> (String, Vec<Value>) {
    let mut terms = vec!["1".to_owned()];
    let mut values = Vec::new();
    let mut term = |text: &str, value: Value| {
        values.push(value);
        terms.push(text.replace('?', &format!("?{}", values.len())));
    };
    if let Some(name) = &filter.environment {
        let text = "s.environment = (SELECT id FROM environment WHERE name = ?)";
        term(text, Value::Text(name.clone()));
    }
    if let Some(axis) = filter.axis.or_else(|| filter.key.as_ref().map(|key| key.axis)) {
        term("s.axis = ?", Value::Integer(axis.code().into()));
    }
    if let Some(key) = &filter.key {
        term("s.key = ?", Value::Blob(key.bytes.to_vec()));
    }
    if let Some(host) = filter.host {
        let mut octets = Vec::new();
        crate::key::push_address(&mut octets, host);
        term("s.host = (SELECT id FROM host WHERE address = ?)", Value::Blob(octets));
    }
    if let Some(time) = filter.not_since {
        let latest = "max(coalesce(s.last_seen, s.told_at), coalesce(s.told_at, s.last_seen)) < ?";
        term(latest, Value::Integer(time.as_nanos()));
    }
    if let Some(how) = filter.how {
        term("s.marks & ? <> 0", Value::Integer(how.bit().into()));
    }
    if filter.environments_only {
        term("s.host = ?", Value::Integer(0));
    }
    (terms.join(" AND "), values)
}

/// The environments that fit, by name, so that the order does not depend on which came first.
fn environments(connection: &Connection, filter: &RecordFilter) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM environment WHERE ?1 IS NULL OR name = ?1 ORDER BY name";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map((&filter.environment,), |row| row.get(0))?;
    names.collect()
}

/// Calls `each` with every record of one environment that fits until it says `false`.
fn for_each_record(
    connection: &Connection,
    environment: &str,
    filter: &RecordFilter,
    mut each: impl FnMut(Record) -> bool,
) -> rusqlite::Result<()> {
    let filter = RecordFilter { environment: Some(environment.to_owned()), ..filter.clone() };
    let (condition, values) = condition(&filter);
    let sql = format!(
        "SELECT s.axis, s.key, o.address, {ROW_COLUMNS} FROM {ROW_SOURCE} \
         LEFT JOIN host o ON o.id = s.host \
         WHERE {condition} ORDER BY s.axis, s.key, o.address"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    while let Some(found) = rows.next()? {
        let Some(axis) = SeenAxis::from_code(found.get(0)?) else { continue };
        let bytes: Vec<u8> = found.get(1)?;
        let host: Option<[u8; 16]> = found.get(2)?;
        let record = Record {
            environment: environment.to_owned(),
            key: StoredKey { axis, bytes: bytes.into() },
            host: host.map(crate::key::from_octets),
            row: row_from(found, 3)?,
        };
        if !each(record) {
            break;
        }
    }
    Ok(())
}
