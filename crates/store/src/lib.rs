//! The seen-before store: what each environment has talked to, and whether that makes it known.
//!
//! In go [`Fact`](tw_detect::Fact)s, judged worth remembering by the caller; out come
//! [`Answer`](tw_detect::Answer)s to the detector's questions. `SQLite` is the truth. In front of
//! it stand immutable filters and a concurrent map of what came since they were built; they answer
//! "never seen" without touching the disk, and every "maybe" is settled exactly.
//!
//! - [`Store`] owns a directory: the single writer, or a view of it for reading.
//! - [`Reader`] is a further handle on a `Store` in the same process, one for each packet thread.
//! - [`Overlay`] is a replay's throw-away layer over a store, or over nothing.
//! - [`Memory`] is what the engine needs of any of them.
//!
//! Limits: rows that wait for a commit, settled rows in memory, environments, hosts, key length,
//! days per row. What they turn away is
//! counted in [`Stats`].
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::cast_possible_truncation
    )
)]

mod cache;
mod commit;
mod days;
mod delta;
mod directory;
mod disk;
mod edit;
mod error;
mod export;
mod filter;
mod hosts;
mod import;
mod key;
mod key_text;
mod layer;
mod list;
mod lock;
mod memory;
mod merge;
mod options;
mod overlay;
mod rebuild;
mod row;
mod stats;
mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod verify;

pub use commit::CommittedThrough;
pub use edit::{Forget, Forgotten};
pub use error::StoreError;
pub use export::{Format, csv_field};
pub use import::{ImportReport, RejectedLine};
pub use key::{KeyError, SeenAxis, StoredKey};
pub use list::{Record, RecordFilter, Why};
pub use memory::Memory;
pub use merge::MergeReport;
pub use options::{Options, Rules};
pub use overlay::{Overlay, OverlayStats};
pub use row::How;
pub use stats::{AxisStats, FilterStats, Stats};
pub use store::{Reader, Store};
pub use verify::Verification;
