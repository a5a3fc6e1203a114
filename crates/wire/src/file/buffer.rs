//! The bytes of the input that were read and not yet consumed.

use std::io::{self, ErrorKind, Read};

/// A window on the input.
#[derive(Debug)]
pub(super) struct Buffer<R> {
    input: R,
    data: Vec<u8>,
    start: usize,
    end: usize,
    bytes_read: u64,
    deferred: Option<io::Error>,
}

impl<R: Read> Buffer<R> {
    pub(super) fn new(input: R, capacity: usize) -> Self {
        Self {
            input,
            data: vec![0; capacity.max(512)],
            start: 0,
            end: 0,
            bytes_read: 0,
            deferred: None,
        }
    }

    /// Reads until `need` bytes are there. Are they? They are not at the end of the input.
    #[inline]
    pub(super) fn fill(&mut self, need: usize) -> io::Result<bool> {
        if self.end - self.start >= need { Ok(true) } else { self.read_more(need) }
    }

    /// As [`Self::fill`], where less will do: what follows a read error after some bytes is reported
    /// once they are consumed.
    pub(super) fn fill_some(&mut self, wanted: usize) -> io::Result<()> {
        match self.fill(wanted) {
            Err(error) if self.end > self.start => self.deferred = Some(error),
            other => return other.map(drop),
        }
        Ok(())
    }

    fn read_more(&mut self, need: usize) -> io::Result<bool> {
        if let Some(error) = self.deferred.take() {
            return Err(error);
        }
        while self.end - self.start < need {
            if self.start + need > self.data.len() {
                self.data.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            if self.end == self.data.len() {
                let doubled = self.data.len().saturating_mul(2);
                self.data.resize(doubled.min(need), 0);
            }
            let Some(space) = self.data.get_mut(self.end..) else { return Ok(false) };
            match self.input.read(space) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.end = (self.end + count).min(self.data.len());
                    self.bytes_read += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// What is there.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.data.get(self.start..self.end).unwrap_or_default()
    }

    /// The first `N` bytes of what is there.
    #[inline]
    pub(super) fn head<const N: usize>(&self) -> Option<&[u8; N]> {
        self.bytes().first_chunk::<N>()
    }

    /// Drops `count` bytes that are there.
    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Drops `count` bytes, reading as needed. Were there so many?
    pub(super) fn skip(&mut self, mut count: u64) -> io::Result<bool> {
        loop {
            let here = usize::try_from(count).unwrap_or(usize::MAX).min(self.end - self.start);
            self.consume(here);
            count -= here as u64;
            if count == 0 {
                return Ok(true);
            }
            if !self.fill(1)? {
                return Ok(false);
            }
        }
    }

    /// Offset of [`Self::bytes`] in the input.
    pub(super) const fn offset(&self) -> u64 {
        self.bytes_read - (self.end - self.start) as u64
    }

    pub(super) const fn bytes_read(&self) -> u64 {
        self.bytes_read
    }
}
