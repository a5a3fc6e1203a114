//! What the store holds, how full it is, and how often it errs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use tw_model::Timestamp;

use crate::disk::count;
use crate::error::StoreError;
use crate::filter::FALSE_MAYBE;
use crate::key::SeenAxis;
use crate::store::Store;

/// One axis of one environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AxisStats {
    /// The environment.
    pub environment: String,
    /// The axis.
    pub axis: SeenAxis,
    /// Things remembered, committed ones only.
    pub entries: u64,
    /// Rows of single hosts beside them.
    pub host_rows: u64,
    /// Watched since.
    pub watched_since: Option<Timestamp>,
    /// Watched until.
    pub last_watched: Option<Timestamp>,
    /// Something was learned or imported.
    pub baseline: bool,
}

/// The filters in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FilterStats {
    /// How many shards.
    pub shards: u64,
    /// Shards that cannot be used and send every question to the database.
    pub damaged: u64,
    /// Entries in them.
    pub keys: u64,
    /// Memory.
    pub bytes: u64,
    /// Bits of memory for each entry in them; 0 when there is none.
    pub bits_per_entry: f64,
    /// Entries on disk or waiting that are in no filter yet.
    pub unfiltered: u64,
    /// Share of all these that the filters cover: 1 right after a rebuild, 0 before the first.
    pub fill: f64,
    /// Chance that a filter says "maybe" of something never seen: costs a look into the database.
    pub false_maybe: f64,
    /// Chance that this makes an answer wrong: none, because the database settles every "maybe".
    pub error_probability: f64,
}

/// What the store holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// Environments by name, axes in order.
    pub axes: Vec<AxisStats>,
    /// The filters.
    pub filters: FilterStats,
    /// Rows that wait for a commit.
    pub pending_rows: u64,
    /// Facts that were dropped because too many waited.
    pub dropped: u64,
    /// Keys that were too long to keep.
    pub keys_refused: u64,
    /// Environments or hosts that were too many.
    pub directory_refused: u64,
    /// Questions that the database could not answer.
    pub unavailable: u64,
    /// Commits that failed.
    pub failed_commits: u64,
    /// Filter builds that failed.
    pub failed_rebuilds: u64,
    /// Size of the database with its log, and of the filter files.
    pub disk_bytes: u64,
}

impl Store {
    /// Counts everything; reads through the whole database once.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let delta = &self.layer.delta;
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Ok(Stats {
            axes: self.axis_stats()?,
            filters: self.filter_stats(),
            pending_rows: u64::try_from(delta.pending_rows()).unwrap_or(u64::MAX),
            dropped: load(&delta.dropped),
            keys_refused: load(&delta.keys_refused),
            directory_refused: delta.directory().refused,
            unavailable: load(&delta.unavailable),
            failed_commits: self.failed_commits,
            failed_rebuilds: self.failed_rebuilds,
            disk_bytes: folder_bytes(self.folder())
                .saturating_add(folder_bytes(&self.filter_folder())),
        })
    }

    fn axis_stats(&self) -> Result<Vec<AxisStats>, StoreError> {
        let mut counts: BTreeMap<(u32, u8), (u64, u64)> = BTreeMap::new();
        self.disk()?.run(|connection| {
            let sql = "SELECT environment, axis, sum(host = 0), sum(host <> 0) FROM seen \
                       GROUP BY environment, axis";
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query(())?;
            while let Some(row) = rows.next()? {
                counts.insert((row.get(0)?, row.get(1)?), (count(row, 2)?, count(row, 3)?));
            }
            Ok(())
        })?;
        let directory = self.layer.delta.directory();
        let mut all = Vec::new();
        for (id, environment) in (1_u32..).zip(directory.environments()) {
            for axis in SeenAxis::ALL {
                let watch = environment.watch(axis);
                let (entries, host_rows) =
                    counts.get(&(id, axis.code())).copied().unwrap_or_default();
                all.push(AxisStats {
                    environment: environment.name.to_string(),
                    axis,
                    entries,
                    host_rows,
                    watched_since: watch.since,
                    last_watched: watch.last,
                    baseline: watch.baseline,
                });
            }
        }
        all.sort_by(|a, b| (&a.environment, a.axis).cmp(&(&b.environment, b.axis)));
        Ok(all)
    }

    /// The filters; cheap, unlike [`Store::stats`].
    #[must_use]
    pub fn filter_stats(&self) -> FilterStats {
        let filters = self.layer.delta.filters();
        let keys = filters.keys();
        let bytes = filters.bytes();
        let unfiltered = u64::try_from(self.layer.delta.unfiltered()).unwrap_or(u64::MAX);
        FilterStats {
            shards: u64::try_from(filters.shards().len()).unwrap_or(u64::MAX),
            damaged: filters.damaged(),
            keys,
            bytes,
            bits_per_entry: ratio(bytes.saturating_mul(8), keys),
            unfiltered,
            fill: ratio(keys, keys.saturating_add(unfiltered)),
            false_maybe: FALSE_MAYBE,
            error_probability: 0.0,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown to a person with a few digits")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn folder_bytes(folder: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(folder) else { return 0 };
    let sizes = files.flatten().filter_map(|file| file.metadata().ok());
    sizes.filter(std::fs::Metadata::is_file).map(|file| file.len()).sum()
}
