//! A tar reader that is pushed, follows Go's `archive/tar`, and keeps no content.

use super::header::{BLOCK_BYTES, Header, Pax, is_zero, text};

/// Largest pax header or long name; Go's reader refuses more too.
const MAX_META_BYTES: i64 = 1 << 20;

/// Where the reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TarState {
    /// More may come.
    Reading,
    /// The end mark was seen.
    Ended,
    /// A header was wrong: the daemon stops here as well.
    Malformed,
    /// Bytes were missing where a header was needed.
    Lost,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    HardLink,
    SymbolicLink,
    Other,
}

/// One entry, with its names as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) mode: i64,
    pub(super) is_sparse: bool,
}

/// What the reader hands on: an entry, then its content.
#[derive(Debug)]
pub(super) enum TarEvent<'a> {
    Entry(Entry),
    Data(&'a [u8]),
    /// Missing content.
    Gap,
    /// The content ended.
    End,
}

/// Push bytes in order; a sink gets the events.
pub(super) struct TarReader {
    part: Part,
    block: Vec<u8>,
    /// A pax header and a long name wait for the entry that they belong to.
    pax: Option<Pax>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    state: TarState,
}

enum Part {
    Header {
        after_zeros: bool,
    },
    /// Further blocks of an old GNU sparse header; then this much content.
    Sparse {
        size: u64,
    },
    Meta {
        type_flag: u8,
        left: u64,
        content: Vec<u8>,
    },
    Content {
        left: u64,
        size: u64,
    },
    Padding {
        left: u64,
    },
}

const HEADER: Part = Part::Header { after_zeros: false };

impl Default for TarReader {
    fn default() -> Self {
        Self {
            part: HEADER,
            block: Vec::with_capacity(BLOCK_BYTES),
            pax: None,
            long_name: None,
            long_link: None,
            state: TarState::Reading,
        }
    }
}

impl TarReader {
    pub(super) fn state(&self) -> TarState {
        self.state
    }

    pub(super) fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(TarEvent<'_>)) {
        while self.state == TarState::Reading && !bytes.is_empty() {
            let taken = match &mut self.part {
                Part::Header { .. } | Part::Sparse { .. } => {
                    let missing = BLOCK_BYTES.saturating_sub(self.block.len()).min(bytes.len());
                    self.block.extend_from_slice(bytes.get(..missing).unwrap_or(&[]));
                    missing
                }
                Part::Meta { left, content, .. } => {
                    let now = at_most(*left, bytes.len());
                    content.extend_from_slice(bytes.get(..now).unwrap_or(&[]));
                    *left -= wide(now);
                    now
                }
                Part::Content { left, .. } => {
                    let now = at_most(*left, bytes.len());
                    sink(TarEvent::Data(bytes.get(..now).unwrap_or(&[])));
                    *left -= wide(now);
                    now
                }
                Part::Padding { left } => {
                    let now = at_most(*left, bytes.len());
                    *left -= wide(now);
                    now
                }
            };
            bytes = bytes.get(taken..).unwrap_or(&[]);
            self.turn(sink);
        }
    }

    /// Missing bytes: harmless in content and padding, the end of knowledge in headers.
    pub(super) fn gap(&mut self, mut len: u64, sink: &mut impl FnMut(TarEvent<'_>)) {
        while self.state == TarState::Reading && len > 0 {
            match &mut self.part {
                Part::Content { left, .. } => {
                    sink(TarEvent::Gap);
                    let now = len.min(*left);
                    *left -= now;
                    len -= now;
                }
                Part::Padding { left } => {
                    let now = len.min(*left);
                    *left -= now;
                    len -= now;
                }
                _ => self.lose(sink),
            }
            self.turn(sink);
        }
    }

    /// Nothing more can be read.
    pub(super) fn lose(&mut self, sink: &mut impl FnMut(TarEvent<'_>)) {
        if self.state == TarState::Reading {
            if matches!(self.part, Part::Content { .. }) {
                sink(TarEvent::Gap);
            }
            self.state = TarState::Lost;
        }
    }

    /// Goes on to the next part where the current one is complete.
    fn turn(&mut self, sink: &mut impl FnMut(TarEvent<'_>)) {
        if self.state != TarState::Reading {
            return;
        }
        let next = match &mut self.part {
            Part::Header { .. } | Part::Sparse { .. } if self.block.len() < BLOCK_BYTES => return,
            Part::Header { after_zeros } => {
                let after_zeros = *after_zeros;
                let next = self.header(after_zeros, sink);
                self.block.clear();
                next
            }
            Part::Sparse { size } => {
                let more = self.block.get(504).is_some_and(|byte| *byte != 0);
                let size = *size;
                self.block.clear();
                Some(if more { Part::Sparse { size } } else { content(size, sink) })
            }
            Part::Meta { left: 0, type_flag, content } => {
                let padding = padding(wide(content.len()));
                let (type_flag, content) = (*type_flag, std::mem::take(content));
                self.meta(type_flag, content).then_some(padding)
            }
            Part::Content { left: 0, size } => {
                sink(TarEvent::End);
                Some(padding(*size))
            }
            Part::Padding { left: 0 } => Some(HEADER),
            _ => return,
        };
        match next {
            Some(next) => self.part = next,
            None if self.state == TarState::Reading => self.state = TarState::Malformed,
            None => {}
        }
    }

    /// The next part, or `None` where the archive ends here, well or badly.
    fn header(&mut self, after_zeros: bool, sink: &mut impl FnMut(TarEvent<'_>)) -> Option<Part> {
        if is_zero(&self.block) {
            if after_zeros {
                self.state = TarState::Ended;
                return None;
            }
            return Some(Part::Header { after_zeros: true });
        }
        if after_zeros {
            return None;
        }
        let header = Header::read(&self.block)?;
        if matches!(header.type_flag, b'x' | b'g' | b'L' | b'K') {
            let left = u64::try_from(header.size).ok().filter(|_| header.size <= MAX_META_BYTES)?;
            return Some(Part::Meta { type_flag: header.type_flag, left, content: Vec::new() });
        }
        self.entry(header, sink)
    }

    fn entry(&mut self, mut header: Header, sink: &mut impl FnMut(TarEvent<'_>)) -> Option<Part> {
        let pax = self.pax.take().unwrap_or_default();
        header.size = pax.size.unwrap_or(header.size);
        header.name = pax.path.unwrap_or(header.name);
        header.link = pax.link.unwrap_or(header.link);
        header.name = self.long_name.take().unwrap_or(header.name);
        header.link = self.long_link.take().unwrap_or(header.link);
        if let Some(name) = pax.sparse_name.filter(|_| pax.is_sparse) {
            header.name = name;
        }
        let kind = match header.type_flag {
            0 if header.name.ends_with(b"/") => Kind::Directory,
            0 | b'0' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::SymbolicLink,
            b'5' => Kind::Directory,
            _ => Kind::Other,
        };
        let has_content = !matches!(header.type_flag, b'1'..=b'6') && kind != Kind::Directory;
        let size = if has_content { u64::try_from(header.size).ok()? } else { 0 };
        sink(TarEvent::Entry(Entry {
            name: header.name,
            link: header.link,
            kind,
            size,
            mode: header.mode,
            is_sparse: pax.is_sparse,
        }));
        if header.type_flag == b'S' && header.is_gnu && header.is_extended {
            return Some(Part::Sparse { size });
        }
        Some(content(size, sink))
    }

    /// `false` where it is malformed. A global pax header stands for itself, and takes with it what
    /// waited for an entry.
    fn meta(&mut self, type_flag: u8, content: Vec<u8>) -> bool {
        match type_flag {
            b'x' => {
                self.pax = Pax::read(&content);
                self.pax.is_some()
            }
            b'L' => {
                self.long_name = Some(text(&content).to_vec()).filter(|name| !name.is_empty());
                true
            }
            b'K' => {
                self.long_link = Some(text(&content).to_vec()).filter(|name| !name.is_empty());
                true
            }
            _ => {
                self.pax = None;
                self.long_name = None;
                self.long_link = None;
                Pax::read(&content).is_some()
            }
        }
    }
}

fn content(size: u64, sink: &mut impl FnMut(TarEvent<'_>)) -> Part {
    if size == 0 {
        sink(TarEvent::End);
        return HEADER;
    }
    Part::Content { left: size, size }
}

fn padding(size: u64) -> Part {
    match size % wide(BLOCK_BYTES) {
        0 => HEADER,
        over => Part::Padding { left: wide(BLOCK_BYTES) - over },
    }
}

fn at_most(left: u64, available: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(available)
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
