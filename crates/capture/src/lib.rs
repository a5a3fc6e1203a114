//! Gets bytes from the world: files, folders, standard input, compressed or not.
//!
//! [`Inputs`] makes one run in time order of all that a user names. No parsing beyond framing happens
//! here.
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

mod coding;
mod error;
mod inputs;
mod source;

pub use error::{CaptureError, Warning, WarningKind};
pub use inputs::{Inputs, Progress};
