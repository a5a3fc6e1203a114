//! Gets bytes from the world: files, folders, standard input, compressed or not; and sockets.
//!
//! [`Inputs`] makes one run in time order of all that a user names, [`Exports`] reads the sockets that
//! exporters of flow records send to. No parsing beyond framing happens here. The program's one clock
//! is [`clock`].
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

pub mod clock;
mod coding;
mod error;
mod exports;
mod inputs;
mod signals;
mod source;

pub use error::{CaptureError, Warning, WarningKind};
pub use exports::{Batch, Counters, Exports, Listening, Opened};
pub use inputs::{Inputs, Progress};
pub use signals::{Asked, Signals};
