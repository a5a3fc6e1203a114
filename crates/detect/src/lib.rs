//! Joins observations over event time into findings, and defines the [`Seen`] trait that it asks.
#![forbid(unsafe_code)]

mod seen;

pub use seen::{Answer, Fact, Key, Knowledge, Seen};
