//! What stops a run, and what only takes something away from it.

use std::fmt;
use std::io;

use tw_model::SourceId;
use tw_wire::file::{Damage, DamageKind, OpenError};

/// What stops a run.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// No input was named.
    #[error("no capture files were given")]
    NoInputs,
    /// Standard input was named twice.
    #[error("standard input can be read only once")]
    StandardInputTwice,
    /// It is not there, or may not be read.
    #[error("cannot open {file}: {error}")]
    Open {
        /// As the user named it.
        file: String,
        /// What the operating system says.
        error: io::Error,
    },
    /// It is no capture file.
    #[error("{file}: {error}")]
    NotACapture {
        /// As the user named it.
        file: String,
        /// Why.
        error: OpenError,
    },
    /// What is compressed in it is no capture file.
    #[error("{file}: in {coding}-compressed data: {error}")]
    NotACaptureInside {
        /// As the user named it.
        file: String,
        /// The compression.
        coding: &'static str,
        /// Why.
        error: OpenError,
    },
    /// A socket cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the operating system says.
        error: io::Error,
    },
    /// No thread could be started.
    #[error("cannot start a thread: {error}")]
    Thread {
        /// What the operating system says.
        error: io::Error,
    },
    /// A folder holds no capture file.
    #[error("{folder}: no capture files in this folder")]
    EmptyFolder {
        /// As the user named it.
        folder: String,
    },
}

/// Something that takes away from a run, but does not stop it.
#[derive(Debug)]
pub struct Warning {
    /// The input, where it has a number.
    pub source: Option<SourceId>,
    /// File or folder.
    pub file: String,
    /// What.
    pub kind: WarningKind,
}

/// What takes away from a run.
#[derive(Debug)]
pub enum WarningKind {
    /// The capture is cut off or broken; what stood before was read.
    Damaged(Damage),
    /// What is compressed is cut off or broken; what stood before was read.
    CompressedDamaged {
        /// The compression.
        coding: &'static str,
        /// Where, in the uncompressed capture.
        damage: Damage,
        /// Bytes that had been read of the compressed file.
        compressed_offset: u64,
    },
    /// Entries of a folder that are no captures.
    Skipped {
        /// How many.
        count: usize,
        /// The first by name.
        first: String,
    },
    /// There is no frame in it.
    NoFrames,
}

impl Warning {
    /// Offset of the damage in the uncompressed capture.
    #[must_use]
    pub const fn offset(&self) -> Option<u64> {
        match &self.kind {
            WarningKind::Damaged(damage) | WarningKind::CompressedDamaged { damage, .. } => {
                Some(damage.offset)
            }
            WarningKind::Skipped { .. } | WarningKind::NoFrames => None,
        }
    }
}

/// One lower-case line.
impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.file;
        match &self.kind {
            WarningKind::Damaged(damage) => {
                write!(f, "{file}: {damage}; everything before that was read")
            }
            WarningKind::CompressedDamaged { coding, damage, compressed_offset } => {
                write!(f, "{file}: {coding}-compressed data ")?;
                match &damage.kind {
                    DamageKind::Read(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                        write!(f, "broken ({error}) before byte {compressed_offset}")?;
                    }
                    _ => write!(f, "cut off at byte {compressed_offset}")?,
                }
                let offset = damage.offset;
                write!(f, ", uncompressed byte {offset}; everything before that was read")
            }
            WarningKind::Skipped { count: 1, first } => {
                write!(f, "{file}: skipped {first}, which is no capture file")
            }
            WarningKind::Skipped { count, first } => {
                write!(f, "{file}: skipped {count} entries that are no capture files ({first}, …)")
            }
            WarningKind::NoFrames => write!(f, "{file}: no frames in this capture"),
        }
    }
}
