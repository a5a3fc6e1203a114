//! Joins observations over event time into findings, and defines the [`Seen`] trait that it asks.
//!
//! Observations go in, in any order; findings, incidents and completed builds come out. Nothing
//! here reads bytes, keeps files or knows a clock. Everything is bounded by [`Limits`], and what a
//! limit left out is in [`Counters`].
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

mod account;
pub mod audit;
mod conversations;
mod destination;
mod detector;
mod draft;
mod environment;
mod freshness;
mod host;
mod image;
mod incident;
mod learner;
mod ledger;
mod life;
mod maker;
mod names;
mod plain;
mod policy;
mod rules;
mod scene;
mod seen;
mod session;
mod severity;
mod shape;
mod sighting;
mod text;
mod transfer;
mod window;

pub use audit::{Audit, AuditLimits};
pub use detector::{Detector, Judgement, Reviewed};
pub use environment::{
    Environment, Environments, ExporterList, Network, NotANetwork, is_file, private_networks,
};
pub use learner::Learner;
pub use policy::{Counters, Limits, Policy};
pub use seen::{Answer, Fact, Key, Knowledge, Seen};
pub use shape::ShapeMeter;
