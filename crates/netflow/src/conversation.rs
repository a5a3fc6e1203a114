//! A conversation put together from pieces: one-way records paired, pieces cut by the active timeout
//! stitched, what several exporters report counted once.

use std::net::IpAddr;
use std::time::Duration;

use tw_model::{
    Caveat, Connection, ConnectionState, Evidence, Exported, FlowId, NetworkTag, Protocol,
    Timestamp, Via,
};

use crate::opener::opener;
use crate::piece::{ACK, FIN, Key, Piece, RST, SYN, Source};
use crate::track::{Seen, Tracks};

/// One conversation.
#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    pub(crate) id: FlowId,
    /// Between whom.
    pub(crate) key: Key,
    /// The place of the next between the same ends.
    pub(crate) next: Option<u32>,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// When its latest record arrived.
    pub(crate) touched: Timestamp,
    /// Was it told already?
    pub(crate) told: bool,
    /// Did records come since it was told?
    pub(crate) stale: bool,
    pub(crate) tracks: Tracks,
    pub(crate) seen: Seen,
    /// Its earliest records, in order.
    pub(crate) evidence: Vec<Evidence>,
}

/// All that one end sent, as the exporter with the most of it tells.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Side {
    pub(crate) source: Option<Source>,
    pub(crate) first: Timestamp,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) flags: Option<u8>,
    pub(crate) sampled: bool,
}

impl Side {
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags.is_some_and(|flags| flags & flag != 0)
    }
}

impl Conversation {
    pub(crate) fn new(id: FlowId, key: Key, piece: Piece, arrived: Timestamp) -> Self {
        let mut conversation = Self::empty(id, key, arrived);
        conversation.add(piece, arrived);
        conversation
    }

    /// Without any record yet.
    pub(crate) fn empty(id: FlowId, key: Key, arrived: Timestamp) -> Self {
        Self {
            id,
            key,
            next: None,
            first: Timestamp::MAX,
            last: Timestamp::from_nanos(i64::MIN),
            touched: arrived,
            told: false,
            stale: false,
            tracks: Tracks::default(),
            seen: Seen::default(),
            evidence: Vec::new(),
        }
    }

    /// Is the piece part of this conversation, or of another between the same ports?
    pub(crate) fn has_room_for(&self, piece: &Piece) -> bool {
        let later = piece.first > self.last;
        let gap = if later { piece.first.since(self.last) } else { self.first.since(piece.last) };
        if gap.is_zero() {
            return true;
        }
        if self.key.protocol != Protocol::TCP || piece.flags.is_none() {
            return gap <= UNMARKED_SILENCE;
        }
        let answer = gap < ANSWER_WITHIN && self.tracks.iter().all(|t| t.sender != piece.sender);
        let begins = if later { piece.has(SYN) } else { self.begins() };
        answer || (!begins && gap <= MARKED_SILENCE)
    }

    /// Does its earliest piece have a SYN?
    fn begins(&self) -> bool {
        self.tracks.iter().any(|track| track.begins && track.first == self.first)
    }

    /// Takes a piece; false where it says nothing new.
    pub(crate) fn add(&mut self, piece: Piece, arrived: Timestamp) -> bool {
        if !self.seen.insert(piece.fingerprint()) {
            return false;
        }
        if !self.tracks.add(&piece) {
            return false;
        }
        self.first = self.first.min(piece.first);
        self.last = self.last.max(piece.last);
        self.touched = self.touched.max(arrived);
        self.note(piece.evidence);
        true
    }

    /// Keeps the earliest records, in order.
    pub(crate) fn note(&mut self, place: Evidence) {
        let order = |place: &Evidence| (place.timestamp, place.source, place.record);
        // Mostly they come in order.
        if self.evidence.last().is_none_or(|last| order(last) < order(&place)) {
            if self.evidence.len() < MAX_EVIDENCE {
                self.evidence.push(place);
            }
            return;
        }
        let index = self.evidence.partition_point(|known| order(known) < order(&place));
        if index >= MAX_EVIDENCE || self.evidence.get(index) == Some(&place) {
            return;
        }
        if self.evidence.len() >= MAX_EVIDENCE {
            self.evidence.pop();
        }
        self.evidence.insert(index, place);
    }

    /// When it was touched last, read from the end of what is kept of it.
    pub(crate) fn end(&self) -> Timestamp {
        let latest = self.seen.ring.last().is_some_and(|fingerprint| *fingerprint == 0);
        if latest { self.touched } else { self.last }
    }

    pub(crate) fn is_both_ways(&self) -> bool {
        let mut senders = self.tracks.iter().map(|track| track.sender);
        let first = senders.next();
        senders.any(|sender| Some(sender) != first)
    }

    /// What one end sent: by the exporter that saw most of it.
    fn side(&self, sender: usize) -> Side {
        let tracks = self.tracks.iter().filter(|track| track.sender == sender);
        let best = tracks.max_by_key(|track| (track.seen_packets, std::cmp::Reverse(track.source)));
        best.map_or_else(Side::default, |track| Side {
            source: Some(track.source),
            first: track.first,
            packets: track.packets,
            bytes: track.bytes,
            flags: track.flags,
            sampled: track.sampled,
        })
    }

    /// Who exported it.
    pub(crate) fn sources(&self) -> impl Iterator<Item = Source> {
        self.tracks.iter().map(|track| track.source)
    }

    /// The connection, as far as records tell it; counts are scaled by the sampling rate.
    pub(crate) fn connection(&self, ended: bool) -> Connection {
        let key = &self.key;
        let sides = [self.side(0), self.side(1)];
        let said = self.tracks.iter().find_map(|track| track.opener);
        let (from, opener_known) = opener(key, &sides, said);
        let [a, b] = sides;
        let (sent, answered) = if from == 0 { (a, b) } else { (b, a) };
        let [end_a, end_b] = key.ends;
        let (opener, responder) = if from == 0 { (end_a, end_b) } else { (end_b, end_a) };
        let payload = [payload(key, &sent), payload(key, &answered)];
        let sampled = sent.sampled || answered.sampled;
        let tcp = key.protocol == Protocol::TCP;
        Connection {
            id: self.id,
            opener,
            responder,
            opener_known,
            protocol: key.protocol,
            app: None,
            tag: NetworkTag::default(),
            macs: None,
            first: self.first,
            last: self.last,
            first_payload: payload.iter().any(|bytes| *bytes > 0).then_some(self.first),
            payload_bytes: payload,
            packets: [sent.packets, answered.packets],
            bytes: [sent.bytes, answered.bytes],
            state: state(tcp, &sent, &answered, &payload),
            midstream: tcp && !sampled && sent.flags.is_some() && !sent.has(SYN),
            gap_bytes: 0,
            truncated: false,
            via: Via::Netflow,
            names: Vec::new(),
            tunnel: None,
            exported: Some(Box::new(self.exported())),
            ended,
        }
    }

    fn exported(&self) -> Exported {
        let mut caveats = Vec::new();
        if self.tracks.iter().any(|track| track.sampled) {
            caveats.push(Caveat::Sampled);
        }
        if self.tracks.iter().any(|track| track.rate_unknown) {
            caveats.push(Caveat::SamplingUnknown);
        }
        let mut exporters: Vec<IpAddr> = Vec::with_capacity(1);
        for source in self.sources() {
            if !exporters.contains(&source.exporter) {
                exporters.push(source.exporter);
            }
        }
        exporters.sort_unstable();
        let one_in = self.tracks.iter().map(|track| track.one_in).max().unwrap_or(1);
        Exported { exporters, one_in, caveats }
    }
}

/// Least payload that these bytes can hold: what is more than headers as Linux sends them (IP
/// without options, TCP with timestamps, a SYN with eight more).
fn payload(key: &Key, side: &Side) -> u64 {
    let [end, _] = key.ends;
    let ip = if end.ip.is_ipv4() { 20 } else { 40 };
    let header = match key.protocol {
        Protocol::TCP => ip + 32,
        Protocol::UDP => ip + 8,
        _ => ip,
    };
    let syn = if side.has(SYN) { 8 } else { 0 };
    side.bytes.saturating_sub(side.packets.saturating_mul(header)).saturating_sub(syn)
}

/// RFC 9293 by the flags of each side, where they were exported.
fn state(tcp: bool, sent: &Side, answered: &Side, payload: &[u64; 2]) -> ConnectionState {
    let [_, received] = *payload;
    if answered.packets == 0 {
        let alone = !tcp || sent.flags.is_some_and(|flags| flags & (SYN | ACK) == SYN);
        return if alone { ConnectionState::Attempted } else { ConnectionState::Established };
    }
    if !tcp {
        return ConnectionState::Established;
    }
    if answered.has(RST) && !answered.has(SYN) && received == 0 && sent.has(SYN) {
        return ConnectionState::Refused;
    }
    if sent.has(RST) || answered.has(RST) {
        return ConnectionState::Reset;
    }
    if sent.has(FIN) && answered.has(FIN) {
        return ConnectionState::Closed;
    }
    ConnectionState::Established
}

/// Silence after which records without flags are another conversation.
const UNMARKED_SILENCE: Duration = Duration::from_secs(120);
/// Silence after which even a TCP record without a SYN is another conversation.
const MARKED_SILENCE: Duration = Duration::from_secs(3_600);
/// A record of the other direction that begins so soon is the answer, even if it has a SYN.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const MAX_EVIDENCE: usize = 8;
