//! What is held of one direction while bytes before it are missing.

use std::collections::BTreeMap;

use tw_model::Evidence;

use crate::step::length;

/// A segment, or the part of one that nothing held before covers.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Box<[u8]>,
    /// Bytes behind them that the snap length cut off.
    pub(crate) cut: u64,
    /// The packet that carried them.
    pub(crate) evidence: Evidence,
    /// The segment that they are of, as it came.
    whole: Span,
}

/// From the first position of a segment to behind its last byte.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    from: u64,
    until: u64,
}

impl Span {
    /// Does Linux give the bytes that two segments share to this one, which came later? It keeps those
    /// of the segment that begins first; of two that begin together, of the longer one
    /// (`tcp_data_queue_ofo`).
    const fn displaces(self, held: Self) -> bool {
        self.from < held.from || (self.from == held.from && self.until > held.until)
    }
}

/// Segments by position, not overlapping, and since when they wait.
#[derive(Debug, Default)]
pub(crate) struct Hole {
    segments: BTreeMap<u64, Held>,
    /// Bytes held, with [`OVERHEAD`].
    charged: u64,
    /// Up to here bytes were sent but cut off by the snap length: no use in waiting.
    pub(crate) cut_until: u64,
    /// When it opened or last moved.
    pub(crate) opened: u64,
    /// Packets of the flow since it opened.
    pub(crate) packets: u32,
    /// Missing bytes before this will not come any more, as it seems.
    pub(crate) mark: Option<Mark>,
}

/// When the bytes before a position were found to be missing for good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) until: u64,
    pub(crate) since: u64,
    pub(crate) packets: u32,
}

/// What holding a segment cost, and whether it agreed with what was held.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Insertion {
    pub(crate) charged: u64,
    pub(crate) repeated: u64,
    pub(crate) conflict: bool,
}

impl Hole {
    pub(crate) fn opened_at(now: u64) -> Self {
        Self { opened: now, ..Self::default() }
    }

    pub(crate) const fn charged(&self) -> u64 {
        self.charged
    }

    /// Payload bytes held.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.values().map(|held| length(&held.bytes)).sum()
    }

    pub(crate) fn first(&self) -> Option<u64> {
        self.segments.first_key_value().map(|(&position, _)| position)
    }

    /// As [`Self::first`], with the packet that carried it.
    pub(crate) fn first_with_evidence(&self) -> Option<(u64, Evidence)> {
        self.segments.first_key_value().map(|(&position, held)| (position, held.evidence))
    }

    /// Behind the last byte held.
    pub(crate) fn end(&self) -> Option<u64> {
        let (position, held) = self.segments.last_key_value()?;
        Some(position.saturating_add(length(&held.bytes)).saturating_add(held.cut))
    }

    /// Holds what is new of a segment; where it overlaps with what is held, one of them is kept, as
    /// Linux does.
    pub(crate) fn insert(
        &mut self,
        position: u64,
        bytes: &[u8],
        cut: u64,
        evidence: Evidence,
    ) -> Insertion {
        let mut done = Insertion::default();
        let end = position.saturating_add(length(bytes));
        let whole = Span { from: position, until: end };
        let mut cursor = position;
        let mut last = None;
        while cursor < end {
            if let Some((at, held)) = self.covering_mut(cursor) {
                let until = at.saturating_add(length(&held.bytes)).min(end);
                let new = slice(bytes, position, cursor, until);
                let old = slice_mut(&mut held.bytes, at, cursor, until);
                if new != old {
                    done.conflict = true;
                    if whole.displaces(held.whole) {
                        old.copy_from_slice(new);
                        held.evidence = evidence;
                    }
                }
                done.repeated += until - cursor;
                (cursor, last) = (until, Some(at));
                continue;
            }
            let until = self.next_bytes(cursor).map_or(end, |next| next.min(end));
            let piece = slice(bytes, position, cursor, until);
            done.charged += self.put(cursor, piece, evidence, whole);
            (cursor, last) = (until, Some(cursor));
        }
        if cut > 0 {
            let at = last.unwrap_or(position);
            if last.is_none() {
                done.charged += self.put(at, &[], evidence, whole);
            }
            if let Some(held) = self.segments.get_mut(&at) {
                let own_end = at.saturating_add(length(&held.bytes));
                held.cut = held.cut.max(end.saturating_add(cut).saturating_sub(own_end));
            }
        }
        self.charged += done.charged;
        done
    }

    pub(crate) fn pop_first(&mut self) -> Option<(u64, Held)> {
        let (position, held) = self.segments.pop_first()?;
        self.charged = self.charged.saturating_sub(charge(&held.bytes));
        Some((position, held))
    }

    /// Returns what was charged.
    fn put(&mut self, position: u64, bytes: &[u8], evidence: Evidence, whole: Span) -> u64 {
        if let Some(held) = self.segments.get_mut(&position) {
            if held.bytes.is_empty() {
                held.cut = held.cut.saturating_sub(length(bytes));
                held.bytes = bytes.into();
                held.evidence = evidence;
                held.whole = whole;
                return length(bytes);
            }
            return 0;
        }
        self.segments.insert(position, Held { bytes: bytes.into(), cut: 0, evidence, whole });
        charge(bytes)
    }

    /// Held segments that begin before a position.
    pub(crate) fn before(&self, until: u64) -> impl Iterator<Item = (u64, &Held)> {
        self.segments.range(..until).map(|(&position, held)| (position, held))
    }

    fn covering_mut(&mut self, position: u64) -> Option<(u64, &mut Held)> {
        let (&at, held) = self.segments.range_mut(..=position).next_back()?;
        (at.saturating_add(length(&held.bytes)) > position).then_some((at, held))
    }

    /// The next position from which bytes are held.
    fn next_bytes(&self, position: u64) -> Option<u64> {
        let mut later = self.segments.range(position..);
        later.find_map(|(&at, held)| (!held.bytes.is_empty()).then_some(at))
    }
}

/// What holding bytes is charged.
pub(crate) fn charge(bytes: &[u8]) -> u64 {
    length(bytes) + OVERHEAD
}

/// The part `[from, until)` of bytes that begin at a position.
pub(crate) fn slice(bytes: &[u8], position: u64, from: u64, until: u64) -> &[u8] {
    let index = |at: u64| usize::try_from(at.saturating_sub(position)).unwrap_or(usize::MAX);
    bytes.get(index(from)..index(until).min(bytes.len())).unwrap_or_default()
}

fn slice_mut(bytes: &mut [u8], position: u64, from: u64, until: u64) -> &mut [u8] {
    let index = |at: u64| usize::try_from(at.saturating_sub(position)).unwrap_or(usize::MAX);
    let until = index(until).min(bytes.len());
    bytes.get_mut(index(from)..until).unwrap_or_default()
}

/// What a held segment is charged besides its bytes: the map's node, the evidence, the allocation.
const OVERHEAD: u64 = 128;
