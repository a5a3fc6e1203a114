//! Taking in lists: plain keys, or lines of an export.

use std::io::BufRead;

use tw_model::Timestamp;

use crate::delta::Room;
use crate::error::StoreError;
use crate::export::{Line, LineError};
use crate::key::StoredKey;
use crate::row::{How, Row};
use crate::store::Store;

const MAX_LINE_BYTES: u64 = 65_536;
/// Rejected lines that are told one by one; the rest is counted.
const MAX_REJECTED: usize = 100;

/// What became of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Lines taken in.
    pub taken: u64,
    /// Lines not taken in.
    pub rejected: u64,
    /// The first of them.
    pub first_rejected: Vec<RejectedLine>,
}

/// A line that names nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedLine {
    /// 1-based.
    pub line: u64,
    /// Why.
    pub reason: String,
}

impl Store {
    /// Takes in a list and commits. A line is a key as [`StoredKey`] reads it, which becomes
    /// imported in `environment` at `at`, or a JSON line of [`Store::export`], which comes in as it
    /// was. Empty lines and those that begin with `#` are skipped; lines that name nothing are
    /// reported and the rest goes on.
    ///
    /// # Errors
    /// When the store is no writer, the list cannot be read, or the disk does not take it.
    pub fn import(
        &mut self,
        environment: &str,
        list: &mut dyn BufRead,
        at: Timestamp,
    ) -> Result<ImportReport, StoreError> {
        self.writable()?;
        let mut report = ImportReport::default();
        let mut number = 0_u64;
        while let Some(line) = read_line(list).map_err(|source| StoreError::Input { source })? {
            number = number.saturating_add(1);
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_start_matches('\u{feff}').trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            match self.import_line(environment, text, at) {
                Ok(()) => report.taken = report.taken.saturating_add(1),
                Err(ImportError::Store(error)) => return Err(error),
                Err(ImportError::Line(error)) => report.reject(number, error.to_string()),
            }
        }
        self.commit(&[])?;
        Ok(report)
    }

    fn import_line(
        &mut self,
        environment: &str,
        text: &str,
        at: Timestamp,
    ) -> Result<(), ImportError> {
        if !text.starts_with('{') {
            let key: StoredKey = text.parse().map_err(LineError::from)?;
            self.take_in(environment, None, &key, &Row::told(at, How::Imported))?;
            return Ok(());
        }
        match serde_json::from_str(text).map_err(LineError::from)? {
            Line::Entry(line) => {
                let (key, row) = line.parse(at)?;
                self.take_in(&line.environment, line.host, &key, &row)?;
            }
            Line::Watch(line) => {
                let (axis, watch) = line.parse()?;
                let mut directory = self.layer.delta.directory_mut();
                if let Some(id) = directory.add_environment(&line.environment) {
                    directory.merge_watch(id, axis, &watch);
                }
            }
        }
        Ok(())
    }

    /// Merges a record, committing when there is no room. Baseline marks make a baseline.
    pub(crate) fn take_in(
        &mut self,
        environment: &str,
        host: Option<std::net::IpAddr>,
        key: &StoredKey,
        row: &Row,
    ) -> Result<(), StoreError> {
        let merge =
            |store: &Self| store.layer.merge_encoded(environment, host, key.axis, &key.bytes, row);
        if merge(self) == Room::Full {
            self.commit(&[])?;
            if merge(self) == Room::Full {
                return Err(self
                    .disk()?
                    .corrupt("more environments or hosts than a store can hold"));
            }
        }
        if row.how().any(How::is_baseline) {
            let mut directory = self.layer.delta.directory_mut();
            if let Some(id) = directory.environment_id(environment) {
                directory.set_baseline(id, key.axis, true);
            }
        }
        self.commit_when_full();
        Ok(())
    }
}

enum ImportError {
    Store(StoreError),
    Line(LineError),
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<LineError> for ImportError {
    fn from(error: LineError) -> Self {
        Self::Line(error)
    }
}

impl ImportReport {
    fn reject(&mut self, line: u64, reason: String) {
        self.rejected = self.rejected.saturating_add(1);
        if self.first_rejected.len() < MAX_REJECTED {
            self.first_rejected.push(RejectedLine { line, reason });
        }
    }
}

/// The next line, cut off at a length that no key reaches: what is cut off names nothing then and
/// is rejected.
fn read_line(list: &mut dyn BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = std::io::Read::take(&mut *list, MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    while line.last() != Some(&b'\n') {
        let mut rest = Vec::new();
        if std::io::Read::take(&mut *list, MAX_LINE_BYTES).read_until(b'\n', &mut rest)? == 0 {
            break;
        }
        if rest.last() == Some(&b'\n') {
            line.push(b'\n');
        }
    }
    Ok(Some(line))
}
