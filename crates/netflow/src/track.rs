//! What one exporter's domain tells of one direction of a conversation, added up; and which records
//! were added already.

use tw_model::{Sampling, Timestamp};

use crate::piece::{Piece, SYN, Source};

/// One direction, as one exporter's domain tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Track {
    pub(crate) source: Source,
    /// Index in [`Key::ends`](crate::piece::Key::ends) of who sent it.
    pub(crate) sender: usize,
    pub(crate) first: Timestamp,
    /// Does the earliest of its records have a SYN?
    pub(crate) begins: bool,
    /// Packets that were really seen.
    pub(crate) seen_packets: u64,
    /// Scaled by the sampling rate, as are the octets.
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// All TCP flags, where exported.
    pub(crate) flags: Option<u8>,
    /// Were packets left out?
    pub(crate) sampled: bool,
    /// Is it not known whether, or how many?
    pub(crate) rate_unknown: bool,
    pub(crate) one_in: u32,
    /// Who opened the flow, where the exporter says so: index in the key's ends.
    pub(crate) opener: Option<usize>,
}

impl Track {
    fn new(piece: &Piece) -> Self {
        Self {
            source: piece.source,
            sender: piece.sender,
            first: piece.first,
            begins: piece.has(SYN),
            seen_packets: 0,
            packets: 0,
            bytes: 0,
            flags: None,
            sampled: false,
            rate_unknown: false,
            one_in: 1,
            opener: None,
        }
    }

    /// Of records that begin at the same time one with a SYN is enough: their order is nothing.
    fn add(&mut self, piece: &Piece) {
        if piece.first < self.first {
            (self.first, self.begins) = (piece.first, piece.has(SYN));
        } else if piece.first == self.first {
            self.begins |= piece.has(SYN);
        }
        let rate = u64::from(piece.rate());
        self.seen_packets = self.seen_packets.saturating_add(piece.packets);
        self.packets = self.packets.saturating_add(piece.packets.saturating_mul(rate));
        self.bytes = self.bytes.saturating_add(piece.bytes.saturating_mul(rate));
        self.flags = match (self.flags, piece.flags) {
            (Some(a), Some(b)) => Some(a | b),
            (one, other) => one.or(other),
        };
        self.sampled |= piece.is_sampled();
        self.rate_unknown |= matches!(piece.sampling, Sampling::Untold | Sampling::UnknownRate);
        self.one_in = self.one_in.max(piece.rate());
        self.opener = self.opener.or(piece.opener);
    }
}

/// All of a conversation: of most there is one each way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracks {
    own: [Option<Track>; 2],
    more: Vec<Track>,
}

impl Tracks {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Track> {
        self.own.iter().flatten().chain(&self.more)
    }

    /// Adds a record; false where there are too many exporters to tell apart.
    pub(crate) fn add(&mut self, piece: &Piece) -> bool {
        let is_its = |track: &Track| (track.source, track.sender) == (piece.source, piece.sender);
        for place in &mut self.own {
            let track = place.get_or_insert_with(|| Track::new(piece));
            if is_its(track) {
                track.add(piece);
                return true;
            }
        }
        if let Some(track) = self.more.iter_mut().find(|track| is_its(track)) {
            track.add(piece);
            return true;
        }
        if self.more.len() >= MAX_TRACKS {
            return false;
        }
        let mut track = Track::new(piece);
        track.add(piece);
        self.more.push(track);
        true
    }

    /// Takes back one that was saved.
    pub(crate) fn restore(&mut self, track: Track) {
        match self.own.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(track),
            None if self.more.len() < MAX_TRACKS => self.more.push(track),
            None => {}
        }
    }
}

/// Fingerprints of the latest records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) ring: [u64; SEEN],
    pub(crate) next: u8,
}

impl Seen {
    /// False where it is there already. 0 stands for nothing, and is no fingerprint.
    fn contains(&self, fingerprint: u64) -> bool {
        self.ring.contains(&fingerprint)
    }

    pub(crate) fn insert(&mut self, fingerprint: u64) -> bool {
        if self.contains(fingerprint) {
            return false;
        }
        if let Some(place) = self.ring.get_mut(usize::from(self.next)) {
            *place = fingerprint;
        }
        self.next = if usize::from(self.next) + 1 < SEEN { self.next + 1 } else { 0 };
        true
    }
}

/// Records whose repetition is noticed. What is repeated comes soon: mirrored datagrams, and exporters
/// that report a flow at each interface.
pub(crate) const SEEN: usize = 16;
/// Exporters and domains of one conversation that are told apart, beside the first two tracks.
const MAX_TRACKS: usize = 30;
