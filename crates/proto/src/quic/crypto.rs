//! The handshake's bytes, put together from CRYPTO frames (RFC 9000 §19.6) that come in any order.

use crate::Limits;
use crate::limits::length;

/// Pieces with holes between them that are held. Clients that shuffle their hello on purpose cut it
/// into some tens.
const MAX_PIECES: usize = 256;

/// The beginning of a CRYPTO stream.
#[derive(Debug, Default)]
pub(super) struct Crypto {
    /// What lies at the front without a hole.
    front: Vec<u8>,
    /// What came ahead, by offset. They may overlap; the earlier bytes count.
    ahead: Vec<(u64, Vec<u8>)>,
    ahead_bytes: usize,
}

/// What came of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    More,
    /// Type and body of the first handshake message.
    Message(u8, Vec<u8>),
    /// More than is held.
    TooMuch,
}

impl Crypto {
    pub(super) fn push(&mut self, offset: u64, bytes: &[u8], limits: &Limits) -> Pushed {
        let limit = length(limits.hello_bytes);
        if bytes.is_empty() {
            return Pushed::More;
        }
        if !self.append(offset, bytes) {
            if self.is_held(offset, bytes.len()) {
                return Pushed::More;
            }
            if self.ahead.len() >= MAX_PIECES
                || self.ahead_bytes.saturating_add(bytes.len()) > limit
            {
                return Pushed::TooMuch;
            }
            self.ahead_bytes = self.ahead_bytes.saturating_add(bytes.len());
            let at = self.ahead.partition_point(|(begin, _)| *begin <= offset);
            self.ahead.insert(at, (offset, bytes.to_vec()));
            return Pushed::More;
        }
        self.join();
        self.message(limit)
    }

    /// Appends what is new of it, where that is next.
    fn append(&mut self, offset: u64, bytes: &[u8]) -> bool {
        let end = u64::try_from(self.front.len()).unwrap_or(u64::MAX);
        let Some(known) = end.checked_sub(offset) else { return false };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        self.front.extend_from_slice(bytes.get(known..).unwrap_or_default());
        true
    }

    /// Is it a repetition of one piece, or a part of it?
    fn is_held(&self, offset: u64, len: usize) -> bool {
        let end = offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        let upto = self.ahead.partition_point(|(begin, _)| *begin <= offset);
        self.ahead.iter().take(upto).any(|(begin, piece)| {
            begin.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX)) >= end
        })
    }

    /// Appends what waited for what has just come.
    fn join(&mut self) {
        let end = u64::try_from(self.front.len()).unwrap_or(u64::MAX);
        if self.ahead.first().is_none_or(|(offset, _)| *offset > end) {
            return;
        }
        let ahead = std::mem::take(&mut self.ahead);
        self.ahead_bytes = 0;
        for (offset, piece) in ahead {
            if !self.append(offset, &piece) {
                self.ahead_bytes = self.ahead_bytes.saturating_add(piece.len());
                self.ahead.push((offset, piece));
            }
        }
    }

    /// RFC 8446 §4: type, length, body.
    fn message(&mut self, limit: usize) -> Pushed {
        let [kind, high, middle, low, ref body @ ..] = *self.front else { return Pushed::More };
        let len = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if len > limit {
            return Pushed::TooMuch;
        }
        match body.get(..len) {
            Some(body) => Pushed::Message(kind, body.to_vec()),
            None => Pushed::More,
        }
    }
}
