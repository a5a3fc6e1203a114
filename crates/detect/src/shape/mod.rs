//! Builds inside TLS that nobody can read: what the lengths of records tell of a conversation, and
//! whether that is a build. What each sign is, and why, is in `docs/inference.md`.

mod inference;
mod lines;
mod meter;
mod records;

pub(crate) use inference::inferred;
pub use meter::ShapeMeter;
pub(crate) use records::builds as builds_in_records;
