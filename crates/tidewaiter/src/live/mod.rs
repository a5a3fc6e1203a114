//! The collector while it runs: batches of export datagrams go in, findings come out as they settle,
//! and what a restart must not lose is saved at intervals and at the end.
//!
//! It is the pipeline that `replay` runs, with three things more: time that passes where no records
//! do, a table of what was told already, and a file beside the store. A finding is told once the
//! windows that it stands in are over by its exporters' clocks and `lateness` has passed, for until
//! then a record may come that belongs to it, or shows that there was no build.

mod gist;
mod saved;
mod service;
mod stats;
mod told;

pub(crate) use service::{Output, Service};
