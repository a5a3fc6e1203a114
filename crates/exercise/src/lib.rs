//! What the fuzz targets do with their input, and how a capture becomes such input.
//!
//! `tests/mutations.rs` runs the same functions on mutated recordings, so that they cannot rot. Besides not panicking, each core is held to what its
//! documentation promises: order of events, offsets, and limits.
#![forbid(unsafe_code)]

mod input;
mod layers;
mod random;
mod seeds;

pub use layers::{
    capture_file, datagrams, docker_api, engine, exports, frames, packets, protocols,
};
pub use random::Random;

/// A function that takes fuzz input.
pub type Target = fn(&[u8]);
/// A function that makes inputs from a capture file.
pub type Seeds = fn(&[u8]) -> Vec<Vec<u8>>;

/// Name, function and seeds of every target.
pub const TARGETS: [(&str, Target, Seeds); 8] = [
    ("capture_file", capture_file, seeds::whole),
    ("frames", frames, seeds::frames),
    ("packets", packets, seeds::packets),
    ("protocols", protocols, seeds::conversations),
    ("datagrams", datagrams, seeds::datagrams),
    ("docker_api", docker_api, seeds::conversations),
    ("exports", exports, seeds::exports),
    ("engine", engine, seeds::whole),
];
