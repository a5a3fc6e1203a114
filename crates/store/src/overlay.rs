//! A replay's throw-away layer.

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tw_detect::{Answer, Fact, Key, Seen};
use tw_model::Timestamp;

use crate::delta::Delta;
use crate::error::StoreError;
use crate::export::write_record;
use crate::key::{SeenAxis, StoredKey};
use crate::layer::Layer;
use crate::list::Record;
use crate::memory::Memory;
use crate::options::Options;
use crate::row::{How, Row};
use crate::store::Store;

/// A throw-away layer over a store, or over nothing, that answers as the live store would at each
/// packet's time.
///
/// What is recorded here becomes known by the same rules as there and never reaches the disk. As
/// the store below shows one moment and what it saw after a packet's time does not count, a second
/// run says the same.
pub struct Overlay {
    layer: Layer,
}

/// What an overlay holds and could not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OverlayStats {
    /// Rows kept in memory.
    pub rows: usize,
    /// Facts dropped because `pending_limit` rows were kept already.
    pub dropped: u64,
    /// Keys that were too long to keep.
    pub keys_refused: u64,
    /// Questions that the store below could not answer.
    pub unavailable: u64,
}

impl Overlay {
    /// Over a store, which should have been opened with [`Store::open_read_only`].
    #[must_use]
    pub fn over(store: Store) -> Self {
        let mut layer = store.layer;
        layer.limit_rows(layer.options.pending_limit);
        Self { layer }
    }

    /// Over nothing.
    #[must_use]
    pub fn empty(options: Options) -> Self {
        let delta = Arc::new(Delta::ephemeral());
        Self { layer: Layer::new(delta, None, options, options.pending_limit) }
    }

    /// Writes what was recorded here, and not what lies below, as JSON lines that [`Store::import`]
    /// reads: a list to look through and edit before it is learned. Says how many lines.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn export(&self, out: &mut dyn Write) -> Result<u64, StoreError> {
        let delta = &self.layer.delta;
        let mut records = Vec::new();
        for (_, entry) in delta.pending() {
            let directory = delta.directory();
            let Some(environment) = directory.environment(entry.environment) else { continue };
            let key = StoredKey { axis: entry.axis, bytes: entry.key };
            let record = |host, row| Record {
                environment: environment.name.to_string(),
                key: key.clone(),
                host,
                row,
            };
            records.push(record(None, entry.row));
            for (id, row) in entry.hosts.iter() {
                records.push(record(directory.host(id), row.clone()));
            }
        }
        records.sort_by(|a, b| {
            (&a.environment, &a.key, a.host).cmp(&(&b.environment, &b.key, b.host))
        });
        records.iter().try_for_each(|record| write_record(record, out))?;
        out.flush().map_err(|source| StoreError::Output { source })?;
        Ok(u64::try_from(records.len()).unwrap_or(u64::MAX))
    }

    /// What it holds and could not hold.
    #[must_use]
    pub fn stats(&self) -> OverlayStats {
        let delta = &self.layer.delta;
        OverlayStats {
            rows: delta.pending_rows(),
            dropped: delta.dropped.load(Ordering::Relaxed),
            keys_refused: delta.keys_refused.load(Ordering::Relaxed),
            unavailable: delta.unavailable.load(Ordering::Relaxed),
        }
    }
}

impl Seen for Overlay {
    fn ask(&mut self, environment: &str, host: IpAddr, question: Key<'_>, at: Timestamp) -> Answer {
        self.layer.ask(environment, host, question, at)
    }
}

impl Memory for Overlay {
    fn watching_axes(&mut self, environment: &str, axes: &[SeenAxis], at: Timestamp) {
        self.layer.watching(environment, axes, at);
    }

    fn record(&mut self, fact: &Fact<'_>, how: How) {
        self.layer.record(fact, how);
    }

    fn mark_in_finding(&mut self, environment: &str, key: Key<'_>) {
        self.layer.merge_row(environment, key, &Row::in_a_finding());
    }
}
