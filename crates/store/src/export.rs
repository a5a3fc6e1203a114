//! Records as lines of text: JSON for `import` and other programs, CSV for spreadsheets.

use std::io::Write;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime};
use tw_model::Timestamp;

use crate::days::Days;
use crate::directory::Watch;
use crate::error::StoreError;
use crate::key::{KeyError, SeenAxis, StoredKey};
use crate::list::{Record, RecordFilter};
use crate::row::{How, Row, VIAS, via_word};
use crate::store::Store;

/// Julian day of 1970-01-01.
const EPOCH_JULIAN_DAY: i32 = 2_440_588;
const CSV_HEADER: &str = "environment,axis,key,host,first_seen,first_seen_by,last_seen,told_at,\
                          days,how,via,in_finding";

/// How to write an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line, complete: `import` reads it back without loss.
    JsonLines,
    /// For reading; without the watch times.
    Csv,
}

/// A line of an export.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Line {
    /// How long an axis has been watched.
    Watch(WatchLine),
    /// A record.
    Entry(EntryLine),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WatchLine {
    pub(crate) environment: String,
    pub(crate) axis: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) watched_since: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_watched: Option<String>,
    #[serde(default)]
    pub(crate) baseline: bool,
}

/// Only environment, axis and key must be there: a person may write such lines too.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntryLine {
    pub(crate) environment: String,
    pub(crate) axis: String,
    pub(crate) key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first_seen: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first_seen_by: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_seen: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) told_at: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) days: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) how: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) via: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) in_finding: bool,
}

impl Store {
    /// Writes every committed record that fits and says how many; JSON lines begin with the watch
    /// times of the environments.
    ///
    /// # Errors
    /// When the database cannot be read or `out` not be written.
    pub fn export(
        &self,
        filter: &RecordFilter,
        format: Format,
        out: &mut dyn Write,
    ) -> Result<u64, StoreError> {
        let mut written = 0_u64;
        let output = |source| StoreError::Output { source };
        match format {
            Format::Csv => writeln!(out, "{CSV_HEADER}").map_err(output)?,
            Format::JsonLines => self.export_watch(filter, out)?,
        }
        self.try_list(filter, &mut |record| {
            let line = EntryLine::from(&record);
            match format {
                Format::Csv => writeln!(out, "{}", line.csv()).map_err(output)?,
                Format::JsonLines => write_json(&Line::Entry(line), out)?,
            }
            written = written.saturating_add(1);
            Ok(())
        })?;
        out.flush().map_err(output)?;
        Ok(written)
    }

    fn export_watch(&self, filter: &RecordFilter, out: &mut dyn Write) -> Result<(), StoreError> {
        let directory = self.layer.delta.directory();
        let mut environments: Vec<_> = directory.environments().iter().collect();
        environments
            .retain(|one| filter.environment.as_deref().is_none_or(|name| name == &*one.name));
        environments.sort_by(|a, b| a.name.cmp(&b.name));
        for environment in environments {
            for axis in
                SeenAxis::ALL.into_iter().filter(|&axis| filter.axis.is_none_or(|a| a == axis))
            {
                let Watch { since, last, baseline } = environment.watch(axis);
                let line = WatchLine {
                    environment: environment.name.to_string(),
                    axis: axis.to_string(),
                    watched_since: since.map(time_text),
                    last_watched: last.map(time_text),
                    baseline,
                };
                write_json(&Line::Watch(line), out)?;
            }
        }
        Ok(())
    }
}

/// One record as a JSON line.
pub(crate) fn write_record(record: &Record, out: &mut dyn Write) -> Result<(), StoreError> {
    write_json(&Line::Entry(record.into()), out)
}

fn write_json(line: &Line, out: &mut dyn Write) -> Result<(), StoreError> {
    let output = |source| StoreError::Output { source };
    serde_json::to_writer(&mut *out, line).map_err(|error| output(error.into()))?;
    out.write_all(b"\n").map_err(output)
}

impl From<&Record> for EntryLine {
    fn from(record: &Record) -> Self {
        Self {
            environment: record.environment.clone(),
            axis: record.key.axis().to_string(),
            key: record.key.value(),
            host: record.host,
            first_seen: record.first_seen().map(time_text),
            first_seen_by: record.first_seen_by(),
            last_seen: record.last_seen().map(time_text),
            told_at: record.told_at().map(time_text),
            days: record.row.days.runs().filter_map(days_text).collect(),
            how: record.how().map(|how| how.as_str().to_owned()).collect(),
            via: record.via().map(|via| via_word(via).to_owned()).collect(),
            in_finding: record.is_in_finding(),
        }
    }
}

impl EntryLine {
    fn csv(&self) -> String {
        let address = |address: Option<IpAddr>| address.map_or_else(String::new, |a| a.to_string());
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let fields = [
            self.environment.clone(),
            self.axis.clone(),
            self.key.clone(),
            address(self.host),
            text(&self.first_seen),
            address(self.first_seen_by),
            text(&self.last_seen),
            text(&self.told_at),
            self.days.join(" "),
            self.how.join(" "),
            self.via.join(" "),
            self.in_finding.to_string(),
        ];
        fields.map(|field| csv_field(&field)).join(",")
    }

    /// Key and row of a line; `at` is when an import happens. A line that does not say how it came
    /// into a store was written by a person: it is imported. All others come in as they once came
    /// in.
    pub(crate) fn parse(&self, at: Timestamp) -> Result<(StoredKey, Row), LineError> {
        let axis = SeenAxis::ALL.into_iter().find(|axis| axis.as_str() == self.axis);
        let axis = axis.ok_or_else(|| LineError::Axis(self.axis.clone()))?;
        let key = StoredKey::from_value(axis, &self.key)?;
        let mut row = Row {
            first_seen: parse_time(self.first_seen.as_deref())?,
            first_seen_by: self.first_seen_by.map(|by| by.to_canonical()),
            last_seen: parse_time(self.last_seen.as_deref())?,
            told_at: parse_time(self.told_at.as_deref())?,
            days: self.days.iter().map(|text| parse_days(text)).collect::<Result<Days, _>>()?,
            ..Row::default()
        };
        let mut marks = 0;
        for word in &self.how {
            let how = How::ALL.into_iter().find(|how| how.as_str() == word);
            marks |= how.ok_or_else(|| LineError::How(word.clone()))?.bit();
        }
        row.set_marks(marks);
        for word in &self.via {
            let via = VIAS.into_iter().find(|via| via_word(*via) == word);
            row.add_via(via.ok_or_else(|| LineError::Via(word.clone()))?);
        }
        if self.in_finding {
            row.merge(&Row::in_a_finding());
        }
        if self.how.is_empty() && !self.in_finding {
            row.merge(&Row::told(at, How::Imported));
        }
        Ok((key, row))
    }
}

impl WatchLine {
    pub(crate) fn parse(&self) -> Result<(SeenAxis, Watch), LineError> {
        let axis = SeenAxis::ALL.into_iter().find(|axis| axis.as_str() == self.axis);
        let axis = axis.ok_or_else(|| LineError::Axis(self.axis.clone()))?;
        let since = parse_time(self.watched_since.as_deref())?;
        let last = parse_time(self.last_watched.as_deref())?;
        Ok((axis, Watch { since, last, baseline: self.baseline }))
    }
}

/// Why a line of an import is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("not a line of an export: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("no such axis: {0:?}")]
    Axis(String),
    #[error("not learned, imported, accepted or observed: {0:?}")]
    How(String),
    #[error("not packets or netflow: {0:?}")]
    Via(String),
    #[error("not a time: {0:?}")]
    Time(String),
    #[error("not a day or range of days: {0:?}")]
    Day(String),
}

/// RFC 3339 with all nanoseconds, unlike in events: an export loses nothing.
fn time_text(at: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.as_nanos()))
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}

fn parse_time(text: Option<&str>) -> Result<Option<Timestamp>, LineError> {
    let Some(text) = text else { return Ok(None) };
    let nanos =
        OffsetDateTime::parse(text, &Rfc3339).map(OffsetDateTime::unix_timestamp_nanos).ok();
    let nanos = nanos.and_then(|nanos| i64::try_from(nanos).ok());
    nanos
        .map(|nanos| Some(Timestamp::from_nanos(nanos)))
        .ok_or_else(|| LineError::Time(text.into()))
}

/// `2026-11-24`, or `2026-11-24/2026-11-28` for several (ISO 8601 intervals).
fn days_text(run: std::ops::RangeInclusive<i32>) -> Option<String> {
    let date = |day: i32| Date::from_julian_day(day.checked_add(EPOCH_JULIAN_DAY)?).ok();
    let (first, last) = (date(*run.start())?, date(*run.end())?);
    Some(if first == last { first.to_string() } else { format!("{first}/{last}") })
}

fn parse_days(text: &str) -> Result<std::ops::RangeInclusive<i32>, LineError> {
    let day = |text: &str| {
        let format = time::macros::format_description!("[year]-[month]-[day]");
        let date = Date::parse(text, format).ok()?;
        date.to_julian_day().checked_sub(EPOCH_JULIAN_DAY)
    };
    let (first, last) = text.split_once('/').unwrap_or((text, text));
    match (day(first), day(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err(LineError::Day(text.into())),
    }
}

/// RFC 4180, with a quote before what a spreadsheet would take for a formula: keys come from the
/// network.
/// A field of comma-separated values (RFC 4180). What a spreadsheet would take for a formula gets an
/// apostrophe in front.
#[must_use]
pub fn csv_field(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let field = if formula { format!("'{field}") } else { field.to_owned() };
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field
    }
}
