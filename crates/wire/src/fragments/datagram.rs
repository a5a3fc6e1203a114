//! One IP datagram under reassembly.

use tw_model::Timestamp;

use super::{Fragment, Whole};
use crate::cut::saturating_u32;
use crate::walk::IpHeader;

/// Pieces of one datagram. A datagram of 65,535 bytes over a link of 576 bytes has 119.
const MAX_PIECES: usize = 512;

/// Allowance for what a datagram or a piece takes besides its bytes.
const OVERHEAD: usize = 128;

/// Longest payload of an IP packet without options (RFC 791 §3.1).
const MAX_END: u32 = 65_515;

/// What became of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Add {
    Kept,
    /// Kept, but its bytes or its end differ from those that are there: told once a datagram.
    Conflict,
    TooManyPieces,
}

/// One IP datagram under reassembly.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) first_seen: Timestamp,
    /// When it was handed on; from then on it holds no bytes.
    pub(super) completed: Option<Timestamp>,
    /// Sorted, not overlapping.
    pieces: Vec<Piece>,
    piece_bytes: usize,
    /// Length of the payload, known from the last fragment.
    end: Option<u32>,
    /// Header, next protocol and length of the headers of the first fragment.
    first: Option<(IpHeader, u8, u32)>,
    conflict: bool,
    /// Fragments overlap in part, or contradict each other about the end.
    overlaps: bool,
}

/// Bytes from `start` to `end`, of which `bytes` were captured.
#[derive(Debug)]
struct Piece {
    start: u32,
    end: u32,
    bytes: Vec<u8>,
}

/// Could a host have sent this fragment? RFC 791 §3.2: no datagram is longer than 65,535 bytes.
pub(super) fn is_possible(fragment: &Fragment<'_>) -> bool {
    let length = wire_length(fragment);
    length > 0 && fragment.part.offset + length <= MAX_END
}

/// Only the last fragment may have a length that is no multiple of 8; others lose the rest, as hosts
/// do it.
fn wire_length(fragment: &Fragment<'_>) -> u32 {
    if fragment.part.more { fragment.data.wire & !7 } else { fragment.data.wire }
}

impl Datagram {
    pub(super) const fn new(first_seen: Timestamp) -> Self {
        Self {
            first_seen,
            completed: None,
            pieces: Vec::new(),
            piece_bytes: 0,
            end: None,
            first: None,
            conflict: false,
            overlaps: false,
        }
    }

    /// Memory that it takes, roughly and never less than its payload.
    pub(super) const fn held_bytes(&self) -> usize {
        OVERHEAD * (1 + self.pieces.len()) + self.piece_bytes
    }

    /// Adds the bytes of `fragment` that are not there yet.
    pub(super) fn add(&mut self, fragment: &Fragment<'_>) -> Add {
        let mut end = fragment.part.offset + wire_length(fragment);
        let mut conflict = false;
        let highest = self.pieces.last().map_or(0, |piece| piece.end);
        match self.end {
            Some(known) if end > known => {
                conflict = true;
                end = known;
            }
            Some(known) => conflict = !fragment.part.more && end != known,
            None if !fragment.part.more && end < highest => conflict = true,
            None if !fragment.part.more => self.end = Some(end),
            None => {}
        }
        if fragment.part.offset == 0 && self.first.is_none() {
            let header_len = fragment.header.len.saturating_sub(fragment.data.wire);
            self.first = Some((fragment.header, fragment.part.protocol, header_len));
        }
        if self.pieces.len() >= MAX_PIECES {
            return Add::TooManyPieces;
        }
        self.overlaps |= conflict;
        conflict |= self.fill(fragment.part.offset, end, fragment.data.bytes);
        let is_news = conflict && !self.conflict;
        self.conflict |= conflict;
        if is_news { Add::Conflict } else { Add::Kept }
    }

    /// Fills the holes between `start` and `end`. Do the bytes differ from those that are there?
    fn fill(&mut self, start: u32, end: u32, bytes: &[u8]) -> bool {
        let mut conflict = false;
        let (mut meets, mut fills) = (false, false);
        let mut at = start;
        let mut index = self.pieces.partition_point(|piece| piece.end <= start);
        while at < end {
            let (hole_end, next) = match self.pieces.get(index) {
                Some(piece) if piece.start <= at => {
                    meets = true;
                    conflict |= piece.differs(start, bytes, at, end);
                    (at, piece.end)
                }
                Some(piece) if piece.start < end => (piece.start, piece.start),
                _ => (end, end),
            };
            if at < hole_end {
                fills = true;
                let piece = Piece::cut_from(start, bytes, at, hole_end);
                self.piece_bytes += piece.bytes.len();
                self.pieces.insert(index, piece);
            }
            index += 1;
            at = next;
        }
        self.overlaps |= meets && fills;
        conflict
    }

    /// The datagram, where it has no holes.
    pub(super) fn take_whole(&mut self, now: Timestamp) -> Option<Whole> {
        let (mut header, protocol, header_len) = self.first?;
        let end = self.end?;
        let mut at = 0;
        for piece in &self.pieces {
            if piece.start != at {
                return None;
            }
            at = piece.end;
        }
        if at != end || self.completed.is_some() {
            return None;
        }
        let mut bytes = Vec::with_capacity(self.piece_bytes);
        for piece in std::mem::take(&mut self.pieces) {
            bytes.extend_from_slice(&piece.bytes);
            if piece.is_cut() {
                break;
            }
        }
        self.piece_bytes = 0;
        self.completed = Some(now);
        header.len = header_len + end;
        header.overlapped = self.overlaps;
        Some(Whole { header, protocol, bytes, wire: end })
    }
}

impl Piece {
    /// The part from `from` to `to` of `bytes`, which begin at `start`.
    fn cut_from(start: u32, bytes: &[u8], from: u32, to: u32) -> Self {
        Self { start: from, end: to, bytes: part(start, bytes, from, to).to_vec() }
    }

    /// Do captured bytes between `from` and `to` differ from `bytes`, which begin at `start`?
    fn differs(&self, start: u32, bytes: &[u8], from: u32, to: u32) -> bool {
        let ours = part(self.start, &self.bytes, from, to.min(self.end));
        let theirs = part(start, bytes, from, to.min(self.end));
        ours.iter().zip(theirs).any(|(ours, theirs)| ours != theirs)
    }

    fn is_cut(&self) -> bool {
        saturating_u32(self.bytes.len()) < self.end - self.start
    }
}

/// The part from `from` to `to` of `bytes`, which begin at `start` and may be cut short.
fn part(start: u32, bytes: &[u8], from: u32, to: u32) -> &[u8] {
    let index = |at: u32| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
    let to = index(to).min(bytes.len());
    bytes.get(index(from)..to).unwrap_or_default()
}
