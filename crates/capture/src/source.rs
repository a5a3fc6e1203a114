//! One input: a file, or standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tw_model::{SourceId, Timestamp};
use tw_wire::file::{DamageKind, OpenError, Reader};

use crate::coding::{Coding, Input, decoded};
use crate::{CaptureError, Warning, WarningKind};

/// Bytes that are looked at to find a file's first frame.
const PEEK_BUFFER: usize = 64 << 10;

/// Where bytes come from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    StandardInput,
    /// Can be opened again.
    File(PathBuf),
    /// A pipe or a device: can be opened once.
    Stream(PathBuf),
}

/// One input.
pub(crate) struct Source {
    pub(crate) id: SourceId,
    pub(crate) name: String,
    pub(crate) origin: Origin,
    /// Bytes on disk; 0 for streams.
    pub(crate) size: u64,
}

/// An input that is being read.
pub(crate) struct Open {
    pub(crate) reader: Reader<Input>,
    pub(crate) coding: Option<Coding>,
    /// Bytes taken from the disk.
    pub(crate) taken: Arc<AtomicU64>,
}

/// What a first look at an input gave.
pub(crate) struct Peeked {
    /// Time of its first frame, if there is one.
    pub(crate) first: Option<Timestamp>,
    /// The input itself, where it cannot be opened again.
    pub(crate) open: Option<Open>,
}

impl Source {
    pub(crate) fn standard_input(id: SourceId) -> Self {
        Self { id, name: String::from("-"), origin: Origin::StandardInput, size: 0 }
    }

    /// # Errors
    /// When there is no such file.
    pub(crate) fn file(id: SourceId, path: &Path) -> Result<Self, CaptureError> {
        let name = path.display().to_string();
        let found = std::fs::metadata(path)
            .map_err(|error| CaptureError::Open { file: name.clone(), error })?;
        let (origin, size) = if found.is_file() {
            (Origin::File(path.to_path_buf()), found.len())
        } else {
            (Origin::Stream(path.to_path_buf()), 0)
        };
        Ok(Self { id, name, origin, size })
    }

    /// Opens it with a buffer of `capacity`.
    ///
    /// # Errors
    /// When it cannot be read, or is no capture.
    pub(crate) fn open(&self, capacity: usize) -> Result<Open, CaptureError> {
        let cannot_open = |error| CaptureError::Open { file: self.name.clone(), error };
        let taken = Arc::new(AtomicU64::new(0));
        let counted = |input: Input| Counted { input, taken: Arc::clone(&taken) };
        let input: Input = match &self.origin {
            Origin::StandardInput => Box::new(io::stdin()),
            Origin::File(path) | Origin::Stream(path) => {
                Box::new(File::open(path).map_err(cannot_open)?)
            }
        };
        let (coding, input) = decoded(counted(input)).map_err(cannot_open)?;
        let file = self.name.clone();
        let reader = Reader::with_capacity(input, self.id, capacity).map_err(|error| {
            match (coding, error) {
                (None, OpenError::Read(error)) => cannot_open(error),
                (None, error) => CaptureError::NotACapture { file, error },
                (Some(coding), error) => {
                    CaptureError::NotACaptureInside { file, coding: coding.name(), error }
                }
            }
        })?;
        Ok(Open { reader, coding, taken })
    }

    /// Looks at the time of the first frame.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn peek(&self, capacity: usize) -> Result<Peeked, CaptureError> {
        let Origin::File(_) = self.origin else {
            return Ok(Peeked { first: None, open: Some(self.open(capacity)?) });
        };
        let mut open = self.open(PEEK_BUFFER)?;
        let first = match open.reader.advance() {
            Ok(true) => open.reader.frame().map(|frame| frame.timestamp),
            Ok(false) | Err(_) => None,
        };
        Ok(Peeked { first, open: None })
    }
}

impl Open {
    /// Goes to the next frame and tells its time; damage becomes a warning and the end.
    pub(crate) fn advance(
        &mut self,
        source: &Source,
        warnings: &mut Vec<Warning>,
    ) -> Option<Timestamp> {
        let before = self.reader.timestamp().is_some();
        let kind = match self.reader.advance() {
            Ok(true) => return self.reader.timestamp(),
            Ok(false) if before => return None,
            Ok(false) => WarningKind::NoFrames,
            Err(damage) => match (self.coding, &damage.kind) {
                (Some(coding), DamageKind::Read(_)) => WarningKind::CompressedDamaged {
                    coding: coding.name(),
                    damage,
                    compressed_offset: self.taken.load(Ordering::Relaxed),
                },
                _ => WarningKind::Damaged(damage),
            },
        };
        warnings.push(Warning { source: Some(source.id), file: source.name.clone(), kind });
        None
    }
}

/// Counts what is read from the disk.
struct Counted {
    input: Input,
    taken: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buf)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
