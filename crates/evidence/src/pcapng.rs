//! Writes pcapng: <https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/>.
//!
//! One section, little-endian, nanoseconds. An interface is described when its first frame comes, which
//! §4.2 allows. Frames keep their link type, interface and both lengths; comments are made harmless
//! ([`visible`]) and cut to a limit. Beyond [`Limits`] frames are counted and left out, which the last
//! block of the file says.

mod block;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use tw_model::SourceId;
use tw_wire::{Frame, LinkType};

use crate::visible::visible;
use block::Block;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// §3.5: options that every block may have.
const OPT_COMMENT: u16 = 1;
/// §4.1: the application that wrote the section.
const SHB_USERAPPL: u16 = 4;
/// §4.2: name, description, resolution of time (as a power of ten).
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;
const NANOSECONDS: u8 = 9;

/// Longest frame that is written, as that which readers of captures believe.
const MAX_FRAME: usize = 1 << 20;
/// Characters of one comment.
const MAX_COMMENT: usize = 2_000;
/// Comments of one frame.
const MAX_COMMENTS: usize = 16;

/// How large a file may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file, but for the block that says what was left out.
    pub bytes: u64,
    /// Interfaces: sources times interfaces times link types.
    pub interfaces: usize,
}

/// 1 GiB, 1,024 interfaces.
impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 30, interfaces: 1_024 }
    }
}

/// What a file holds, and what it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames in the file.
    pub frames: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Frames that a limit left out.
    pub left_out: u64,
    /// Frames that no capture can hold: messages of IPFIX files.
    pub not_frames: u64,
    /// Frames from before 1970, whose time became its begin.
    pub clamped_times: u64,
}

/// Writes one file. Order of calls: [`new`](Self::new), any number of [`frame`](Self::frame), and
/// [`finish`](Self::finish).
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    limits: Limits,
    /// Source, interface there and link type of each interface of the file, by its number.
    interfaces: Vec<(SourceId, u32, LinkType)>,
    counters: Counters,
    block: Block,
    full: bool,
}

impl<W: Write> Writer<W> {
    /// Begins a section; `comment` is for its reader, `application` names the program.
    ///
    /// # Errors
    /// When `out` does not take it.
    pub fn new(out: W, limits: Limits, application: &str, comment: &str) -> io::Result<Self> {
        let mut writer = Self {
            out,
            limits,
            interfaces: Vec::new(),
            counters: Counters::default(),
            block: Block::default(),
            full: false,
        };
        writer.section(application, comment)?;
        Ok(writer)
    }

    /// Appends a frame. `source` is the name of its input, for the description of its interface;
    /// `comments` are for who opens the frame. Is it in the file? Not, where a limit left it out.
    ///
    /// # Errors
    /// When `out` does not take it.
    pub fn frame<S: AsRef<str>>(
        &mut self,
        frame: &Frame<'_>,
        source: &str,
        comments: &[S],
    ) -> io::Result<bool> {
        if frame.link == LinkType::IPFIX_MESSAGE {
            self.counters.not_frames += 1;
            return Ok(false);
        }
        // What follows something that was left out is left out too: a capture that ends is one that a
        // reader knows how to take.
        if self.full || frame.bytes.len() > MAX_FRAME {
            self.counters.left_out += 1;
            return Ok(false);
        }
        let Some(interface) = self.interface(frame, source)? else {
            self.counters.left_out += 1;
            return Ok(false);
        };
        self.packet(interface, frame, comments);
        if self.counters.bytes.saturating_add(self.block.len() as u64) > self.limits.bytes {
            self.full = true;
            self.counters.left_out += 1;
            return Ok(false);
        }
        self.write()?;
        self.counters.frames += 1;
        if frame.timestamp.as_nanos() < 0 {
            self.counters.clamped_times += 1;
        }
        Ok(true)
    }

    /// What is in the file so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Ends the section, and gives back what was written to.
    ///
    /// # Errors
    /// When `out` does not take it.
    pub fn finish(mut self) -> io::Result<(W, Counters)> {
        if self.counters.left_out > 0 && !self.interfaces.is_empty() {
            self.statistics()?;
        }
        self.out.flush()?;
        Ok((self.out, self.counters))
    }

    /// §4.1. The section's length stays open, as it is written in one go.
    fn section(&mut self, application: &str, comment: &str) -> io::Result<()> {
        self.block.begin(SECTION_HEADER);
        self.block.u32(0x1a2b_3c4d);
        self.block.u16(1);
        self.block.u16(0);
        self.block.bytes(&u64::MAX.to_le_bytes());
        if !comment.is_empty() {
            self.block.option(OPT_COMMENT, harmless(comment).as_bytes());
        }
        self.block.option(SHB_USERAPPL, harmless(application).as_bytes());
        self.block.end_of_options();
        self.write()
    }

    /// §4.2. The number of a frame's interface, described where it is new; none where there is no room.
    fn interface(&mut self, frame: &Frame<'_>, source: &str) -> io::Result<Option<u32>> {
        let key = (frame.source, frame.interface, frame.link);
        // Few, and a run of frames is mostly of the one that came last.
        let known = self.interfaces.iter().rposition(|interface| *interface == key);
        if let Some(number) = known {
            return Ok(u32::try_from(number).ok());
        }
        if self.interfaces.len() >= self.limits.interfaces {
            return Ok(None);
        }
        let Ok(number) = u32::try_from(self.interfaces.len()) else { return Ok(None) };
        self.block.begin(INTERFACE_DESCRIPTION);
        self.block.u16(frame.link.0);
        self.block.u16(0);
        // No limit: frames are as long as they were captured.
        self.block.u32(0);
        self.block.option(IF_NAME, format!("interface {}", frame.interface).as_bytes());
        self.block.option(IF_DESCRIPTION, harmless(source).as_bytes());
        self.block.option(IF_TSRESOL, &[NANOSECONDS]);
        self.block.end_of_options();
        if self.counters.bytes.saturating_add(self.block.len() as u64) > self.limits.bytes {
            return Ok(None);
        }
        self.write()?;
        self.interfaces.push(key);
        Ok(Some(number))
    }

    /// §4.3.
    fn packet<S: AsRef<str>>(&mut self, interface: u32, frame: &Frame<'_>, comments: &[S]) {
        let nanos = u64::try_from(frame.timestamp.as_nanos()).unwrap_or(0);
        let captured = u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX);
        self.block.begin(ENHANCED_PACKET);
        self.block.u32(interface);
        self.block.u32(u32::try_from(nanos >> 32).unwrap_or(u32::MAX));
        self.block.u32(u32::try_from(nanos & u64::from(u32::MAX)).unwrap_or(u32::MAX));
        self.block.u32(captured);
        self.block.u32(frame.original_len.max(captured));
        self.block.bytes(frame.bytes);
        self.block.pad();
        for comment in comments.iter().take(MAX_COMMENTS) {
            self.block.option(OPT_COMMENT, harmless(comment.as_ref()).as_bytes());
        }
        if !comments.is_empty() {
            self.block.end_of_options();
        }
    }

    /// §4.6, as a place for the comment that says what is missing.
    fn statistics(&mut self) -> io::Result<()> {
        let missing =
            format!("{} frames are missing here: the file is full", self.counters.left_out);
        self.block.begin(INTERFACE_STATISTICS);
        self.block.u32(0);
        self.block.u32(0);
        self.block.u32(0);
        self.block.option(OPT_COMMENT, missing.as_bytes());
        self.block.end_of_options();
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        let bytes = self.block.finished();
        self.out.write_all(bytes)?;
        self.counters.bytes = self.counters.bytes.saturating_add(bytes.len() as u64);
        Ok(())
    }
}

/// At most as many characters as a comment may have, none of which steers anything.
fn harmless(text: &str) -> String {
    let mut shown = visible(text);
    if let Some((end, _)) = shown.char_indices().nth(MAX_COMMENT) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}
