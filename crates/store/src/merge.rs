//! Taking in another store.

use crate::error::StoreError;
use crate::key::SeenAxis;
use crate::list::{Record, RecordFilter};
use crate::store::Store;

/// What a merge brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeReport {
    /// Rows read from the other store.
    pub rows: u64,
    /// Environments it had.
    pub environments: u64,
}

impl Store {
    /// Takes in all that another store has committed, and commits. Environments of the same name
    /// are the same. Merging stores in any order, and any number of times, gives the same; nothing
    /// is lost and nothing counted twice.
    ///
    /// # Errors
    /// When this store is no writer, the other cannot be read, or the disk does not take it. What
    /// was taken in by then stays, and merging again completes it.
    pub fn merge(&mut self, other: &Self) -> Result<MergeReport, StoreError> {
        self.writable()?;
        let mut report = MergeReport::default();
        {
            let theirs = other.layer.delta.directory();
            let mut ours = self.layer.delta.directory_mut();
            for environment in theirs.environments() {
                let Some(id) = ours.add_environment(&environment.name) else { continue };
                for axis in SeenAxis::ALL {
                    ours.merge_watch(id, axis, &environment.watch(axis));
                }
                report.environments = report.environments.saturating_add(1);
            }
        }
        other.try_list(&RecordFilter::default(), &mut |record: Record| {
            report.rows = report.rows.saturating_add(1);
            self.take_in(&record.environment, record.host, &record.key, &record.row)
        })?;
        self.commit(&[])?;
        Ok(report)
    }
}
