//! Several inputs as one run in time order.

mod folder;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use tw_model::Timestamp;
use tw_wire::Frame;

use crate::source::{Open, Source};
use crate::{CaptureError, Warning};

/// Bytes of buffer for all inputs, should they be open together: 256 KiB where there are few, so that
/// what the kernel copies there is still in the processor's cache when it is looked at, and never less
/// than 64 KiB each.
const BUFFERS: usize = 32 << 20;

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read, as they are on disk.
    pub done_bytes: u64,
    /// Bytes of all files, as they are on disk. Of standard input, pipes and files that grew, what was
    /// read is in it: never less than `done_bytes`.
    pub total_bytes: u64,
}

/// Frames of all inputs that a user names, in time order: of frames of one time, those of the input
/// named first come first. The frames of one input keep their order.
///
/// Each file is opened for a moment to see the time of its first frame, and opened again when the run
/// gets there, so that a thousand rotated files never are open together. One input alone is passed
/// through as it is.
pub struct Inputs {
    names: Vec<String>,
    slots: Vec<Slot>,
    /// Not yet begun, by the time of the first frame.
    waiting: VecDeque<(Timestamp, usize)>,
    /// The next frame of each input that is being read.
    next: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// The input whose frame was given last.
    current: Option<usize>,
    warnings: Vec<Warning>,
    secrets: Vec<Vec<u8>>,
    may_carry_secrets: bool,
    progress: Progress,
    buffer: usize,
}

/// A source, with its reader while it is read.
struct Slot {
    source: Source,
    open: Option<Open>,
}

impl Inputs {
    /// Looks at all `paths`: files, folders (their capture files, one level deep), pipes, or `-` for
    /// standard input.
    ///
    /// # Errors
    /// When one cannot be read or is no capture file, and when a folder holds none.
    pub fn open(paths: &[PathBuf]) -> Result<Self, CaptureError> {
        let mut warnings = Vec::new();
        let found = folder::sources(paths, &mut warnings)?;
        let buffer = (BUFFERS / found.len().max(1)).clamp(64 << 10, 256 << 10);
        let total_bytes = found.iter().map(|source| source.size).sum();
        let alone = found.len() == 1;
        let mut inputs = Self {
            names: found.iter().map(|source| source.name.clone()).collect(),
            slots: Vec::with_capacity(found.len()),
            waiting: VecDeque::new(),
            next: BinaryHeap::new(),
            current: None,
            warnings,
            secrets: Vec::new(),
            may_carry_secrets: false,
            progress: Progress { done_bytes: 0, total_bytes },
            buffer,
        };
        let mut order = Vec::new();
        for (index, source) in found.into_iter().enumerate() {
            let (first, open) = if alone {
                (None, Some(source.open(buffer)?))
            } else {
                let peeked = source.peek(buffer)?;
                (peeked.first, peeked.open)
            };
            order.push((first.unwrap_or(Timestamp::from_nanos(i64::MIN)), index));
            inputs.slots.push(Slot { source, open });
        }
        order.sort_unstable();
        inputs.waiting = order.into();
        Ok(inputs)
    }

    /// The next frame, `None` at the end. What is cut off or broken in an input ends that input, and
    /// is told by [`Self::take_warnings`].
    ///
    /// # Errors
    /// When a file that was there at the start cannot be opened any more.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        Ok(if self.advance()? { self.frame() } else { None })
    }

    /// Goes to the next frame. Is there one? For callers who look at something else before they look at
    /// [`Self::frame`].
    ///
    /// # Errors
    /// As [`Self::next_frame`].
    pub fn advance(&mut self) -> Result<bool, CaptureError> {
        if let Some(index) = self.current.take() {
            let next = self.step(index);
            // The only one that is left is not put in order.
            if self.next.is_empty() && self.waiting.is_empty() {
                self.current = next.map(|_| index);
                return Ok(next.is_some());
            }
            self.next.extend(next.map(|timestamp| Reverse((timestamp, index))));
        }
        while let Some(&(first, index)) = self.waiting.front()
            && self.next.peek().is_none_or(|&Reverse(next)| (first, index) < next)
        {
            self.waiting.pop_front();
            self.begin(index)?;
        }
        self.current = self.next.pop().map(|Reverse((_, index))| index);
        Ok(self.current.is_some())
    }

    /// The frame that [`Self::advance`] went to.
    #[must_use]
    pub fn frame(&self) -> Option<Frame<'_>> {
        let slot = self.slots.get(self.current?)?;
        slot.open.as_ref()?.reader.frame()
    }

    /// Names of the inputs as they were given (with the folder's, for its files); the index is the
    /// [`SourceId`](tw_model::SourceId).
    #[must_use]
    pub fn sources(&self) -> &[String] {
        &self.names
    }

    /// What took away from the run since the last call.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    /// Was one of the inputs so far of a format that can carry TLS key logs?
    #[must_use]
    pub const fn may_carry_secrets(&self) -> bool {
        self.may_carry_secrets
    }

    /// TLS key logs that captures carried, since the last call. They ought to come no later than the
    /// first frame that they are for, but not all writers keep to that.
    pub fn take_secrets(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.secrets)
    }

    /// How far the run is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let taken =
            |slot: &Slot| slot.open.as_ref().map_or(0, |open| open.taken.load(Ordering::Relaxed));
        let open: u64 = self.slots.iter().map(taken).sum();
        Progress { done_bytes: self.progress.done_bytes + open, ..self.progress }
    }

    fn begin(&mut self, index: usize) -> Result<(), CaptureError> {
        let Some(slot) = self.slots.get_mut(index) else { return Ok(()) };
        if slot.open.is_none() {
            slot.open = Some(slot.source.open(self.buffer)?);
        }
        let next = self.step(index);
        self.next.extend(next.map(|timestamp| Reverse((timestamp, index))));
        Ok(())
    }

    /// Goes to the next frame of an input, tells its time, and closes the input where there is none.
    fn step(&mut self, index: usize) -> Option<Timestamp> {
        let Slot { source, open: slot } = self.slots.get_mut(index)?;
        let open = slot.as_mut()?;
        let next = open.advance(source, &mut self.warnings);
        if open.reader.may_carry_secrets() {
            self.secrets.append(&mut open.reader.take_secrets());
            self.may_carry_secrets = true;
        }
        if next.is_some() {
            return next;
        }
        let taken = open.taken.load(Ordering::Relaxed);
        self.progress.done_bytes += source.size.max(taken);
        self.progress.total_bytes += taken.saturating_sub(source.size);
        *slot = None;
        None
    }
}
