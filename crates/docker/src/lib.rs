//! Gives HTTP its Docker meaning.
//!
//! In: [`tw_proto::HttpEvent`]s of every HTTP connection. Out: [`tw_model::Observation`]s: API calls,
//! builds, images made otherwise, actions on containers, and a summary of every exchange. Reads no
//! packets, joins no downloads, judges nothing. Secrets are removed where they are first read.
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

mod api;
mod bounded;
mod build;
mod buildkit;
mod call;
mod collected;
mod container;
mod content;
mod creation;
mod exchange;
mod id;
mod json;
mod lines;
mod memory;
mod outcome;
mod query;
mod recognise;
mod registry;
mod remote;
mod role;
mod route;
mod software;
mod stream;
mod summary;

pub use api::{Api, ConnFacts, Counters, Limits};
