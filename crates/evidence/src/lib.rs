//! Files for a case: the packets of an incident as pcapng, and files that appear whole or not at all.
//!
//! Frames and bytes go in, files come out. Nothing here decides what belongs to a case, and no name
//! from the network ever becomes a path: see [`file_stem`]. What a limit leaves out is counted, and
//! said in the file.
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

mod atomic;
mod name;
pub mod pcapng;
mod selection;
mod visible;

pub use atomic::{AtomicFile, prepare_folder};
pub use name::file_stem;
pub use selection::Selection;
pub use visible::visible;
