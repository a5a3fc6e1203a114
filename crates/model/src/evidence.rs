//! Where in the input a fact stands, so that a person can open the capture there.

use crate::Timestamp;

/// Index of an input (file, interface, exporter) in the run's table of sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u32);

/// Which frame or flow record of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordNumber {
    /// 1-based frame number, as Wireshark counts.
    Frame(u64),
    /// 1-based flow record number.
    Record(u64),
}

/// One place in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Evidence {
    /// When the frame was captured or the record's flow began.
    pub timestamp: Timestamp,
    /// The input.
    pub source: SourceId,
    /// The frame or record in it.
    pub record: RecordNumber,
}

impl Evidence {
    /// Evidence that is a frame of a capture.
    #[must_use]
    pub const fn frame(source: SourceId, number: u64, timestamp: Timestamp) -> Self {
        Self { timestamp, source, record: RecordNumber::Frame(number) }
    }
}
