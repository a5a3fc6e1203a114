//! Frames of pcap and pcapng files, and messages of IPFIX files, from anything that can be read.
//!
//! A [`Reader`] holds one buffer, of which the frames are slices: nothing is allocated for a frame, and
//! a length in the file never sizes an allocation before as many bytes have been read. What comes
//! before the place where a file is cut off or broken is read; the place itself is a [`Damage`].

mod buffer;
mod error;
mod ipfix;
mod pcap;
mod pcapng;
#[cfg(test)]
mod tests;

use std::io::Read;

use tw_model::{SourceId, Timestamp};

pub use error::{Damage, DamageKind, OpenError};

use crate::{Frame, LinkType};
use buffer::Buffer;
use error::looks_like;
use pcap::Pcap;
use pcapng::Pcapng;

/// Longest frame that is believed. Segmentation offload makes 64 KiB, "BIG TCP" 512 KiB.
const MAX_FRAME: usize = 1 << 20;

/// Most of the secrets that are kept between two calls of [`Reader::take_secrets`].
const MAX_SECRETS: usize = 16 << 20;

/// A record that stands in the buffer.
#[derive(Clone, Copy, Debug)]
struct Record {
    timestamp: Timestamp,
    link: LinkType,
    interface: u32,
    original_len: u32,
    /// Where in the buffered bytes the frame begins.
    start: usize,
    captured: usize,
    /// Length of the record with its headers.
    record_len: usize,
}

/// What a look at the next record or block gave.
enum Step {
    Frame(Record),
    /// Something else, already dealt with.
    Other,
    End,
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
    Ipfix,
}

/// Reads the frames of one capture file.
#[derive(Debug)]
pub struct Reader<R> {
    buffer: Buffer<R>,
    format: Format,
    source: SourceId,
    number: u64,
    current: Option<Record>,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the file header, with a buffer of 1 MiB.
    ///
    /// # Errors
    /// When this is no capture file, or one of a kind that is not supported.
    pub fn open(input: R, source: SourceId) -> Result<Self, OpenError> {
        Self::with_capacity(input, source, 1 << 20)
    }

    /// As [`Self::open`], with a buffer of `capacity` bytes. It grows where a record needs it, to
    /// little more than 16 MiB.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn with_capacity(input: R, source: SourceId, capacity: usize) -> Result<Self, OpenError> {
        let mut buffer = Buffer::new(input, capacity);
        let format = recognise(&mut buffer)?;
        Ok(Self { buffer, format, source, number: 0, current: None, ended: false })
    }

    /// The next frame, `None` at the end and after a [`Damage`].
    ///
    /// # Errors
    /// Once, when the file is cut off or broken.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Damage> {
        Ok(if self.advance()? { self.frame() } else { None })
    }

    /// Goes to the next frame. Is there one? For callers who look at [`Self::frame`] more than once.
    ///
    /// # Errors
    /// As [`Self::next_frame`].
    pub fn advance(&mut self) -> Result<bool, Damage> {
        if let Some(record) = self.current.take() {
            self.buffer.consume(record.record_len);
        }
        while !self.ended {
            let step = match &mut self.format {
                Format::Pcap(pcap) => pcap.step(&mut self.buffer),
                Format::Pcapng(pcapng) => pcapng.step(&mut self.buffer, &mut self.number),
                Format::Ipfix => ipfix::step(&mut self.buffer),
            };
            match step {
                Ok(Step::Frame(record)) => {
                    self.number += 1;
                    self.current = Some(record);
                    return Ok(true);
                }
                Ok(Step::Other) => {}
                Ok(Step::End) => self.ended = true,
                Err(damage) => {
                    self.ended = true;
                    return Err(damage);
                }
            }
        }
        Ok(false)
    }

    /// The frame that [`Self::advance`] went to.
    #[must_use]
    pub fn frame(&self) -> Option<Frame<'_>> {
        let record = self.current?;
        let end = record.start.checked_add(record.captured)?;
        Some(Frame {
            timestamp: record.timestamp,
            link: record.link,
            bytes: self.buffer.bytes().get(record.start..end)?,
            original_len: record.original_len,
            source: self.source,
            number: self.number,
            interface: record.interface,
        })
    }

    /// When the frame was captured that [`Self::advance`] went to.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.current.map(|record| record.timestamp)
    }

    /// Bytes that were read from the input so far.
    #[must_use]
    pub const fn bytes_read(&self) -> u64 {
        self.buffer.bytes_read()
    }

    /// Is the file of a format that can carry TLS key logs?
    pub const fn may_carry_secrets(&self) -> bool {
        matches!(self.format, Format::Pcapng(_))
    }

    /// TLS key logs from Decryption Secrets Blocks since the last call. They stand before the frames
    /// that they are for.
    pub fn take_secrets(&mut self) -> Vec<Vec<u8>> {
        match &mut self.format {
            Format::Pcap(_) | Format::Ipfix => Vec::new(),
            Format::Pcapng(pcapng) => pcapng.take_secrets(),
        }
    }
}

fn recognise<R: Read>(buffer: &mut Buffer<R>) -> Result<Format, OpenError> {
    buffer.fill_some(512)?;
    if let Some(pcap) = Pcap::recognise(buffer)? {
        return Ok(Format::Pcap(pcap));
    }
    if Pcapng::recognise(buffer.bytes())? {
        return Ok(Format::Pcapng(Pcapng::default()));
    }
    if ipfix::recognise(buffer.bytes()) {
        return Ok(Format::Ipfix);
    }
    Err(OpenError::NotACapture { looks_like: looks_like(buffer.bytes()) })
}
