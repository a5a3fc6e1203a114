//! A conversation put together from pieces: one-way records paired, pieces cut by the active timeout
//! stitched, what several exporters report counted once.

use std::net::IpAddr;
use std::time::Duration;

use tw_model::{
    Caveat, Connection, ConnectionState, Evidence, Exported, FlowId, NetworkTag, Protocol,
    Sampling, Timestamp, Via,
};

use crate::opener::opener;
use crate::piece::{ACK, FIN, Key, Piece, RST, SYN, Source};

/// One conversation.
#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    pub(crate) id: FlowId,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// When its latest record arrived.
    pub(crate) touched: Timestamp,
    /// Was it told already?
    pub(crate) told: bool,
    /// Did records come since it was told?
    pub(crate) stale: bool,
    pub(crate) pieces: Vec<Piece>,
}

/// All that one end sent, as the exporter with the most of it tells.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Side {
    pub(crate) source: Option<Source>,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) flags: Option<u8>,
    pub(crate) sampled: bool,
    /// Of a sampled direction: packets that were really seen.
    pub(crate) seen_packets: u64,
}

impl Side {
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags.is_some_and(|flags| flags & flag != 0)
    }
}

impl Conversation {
    pub(crate) fn new(id: FlowId, piece: Piece, arrived: Timestamp) -> Self {
        Self {
            id,
            first: piece.first,
            last: piece.last,
            touched: arrived,
            told: false,
            stale: false,
            pieces: vec![piece],
        }
    }

    /// Is the piece part of this conversation, or of another between the same ports?
    pub(crate) fn has_room_for(&self, key: &Key, piece: &Piece) -> bool {
        let later = piece.first > self.last;
        let gap = if later { piece.first.since(self.last) } else { self.first.since(piece.last) };
        if gap.is_zero() {
            return true;
        }
        if key.protocol != Protocol::TCP || piece.flags.is_none() {
            return gap <= UNMARKED_SILENCE;
        }
        let answer = gap < ANSWER_WITHIN && self.pieces.iter().all(|p| p.sender != piece.sender);
        let begins = if later { piece.has(SYN) } else { self.begins() };
        answer || (!begins && gap <= MARKED_SILENCE)
    }

    /// Does its earliest piece have a SYN?
    fn begins(&self) -> bool {
        let earliest = self.pieces.iter().min_by_key(|piece| piece.first);
        earliest.is_some_and(|piece| piece.has(SYN))
    }

    /// Takes a piece; false where it says nothing new. Beyond the limit, pieces of one exporter and
    /// direction are merged.
    pub(crate) fn add(&mut self, piece: Piece, arrived: Timestamp, limit: usize) -> bool {
        if self.pieces.iter().any(|known| known.repeats(&piece)) {
            return false;
        }
        self.first = self.first.min(piece.first);
        self.last = self.last.max(piece.last);
        self.touched = self.touched.max(arrived);
        if self.pieces.len() < limit {
            self.pieces.push(piece);
            return true;
        }
        let same =
            |known: &&mut Piece| (known.source, known.sender) == (piece.source, piece.sender);
        if let Some(known) = self.pieces.iter_mut().rev().find(same) {
            known.first = known.first.min(piece.first);
            known.last = known.last.max(piece.last);
            known.packets = known.packets.saturating_add(piece.packets);
            known.bytes = known.bytes.saturating_add(piece.bytes);
            known.flags = join(known.flags, piece.flags);
        }
        true
    }

    pub(crate) fn is_both_ways(&self) -> bool {
        let mut senders = self.pieces.iter().map(|piece| piece.sender);
        let first = senders.next();
        senders.any(|sender| Some(sender) != first)
    }

    /// What one end sent: by the exporter that saw most of it.
    fn side(&self, sender: usize) -> Side {
        let of = |source: Source| {
            self.pieces.iter().filter(move |p| p.sender == sender && p.source == source)
        };
        let sources = self.pieces.iter().filter(|p| p.sender == sender).map(|p| p.source);
        let weight = |source: Source| of(source).map(|p| p.packets).fold(0, u64::saturating_add);
        let best = sources.max_by_key(|source| (weight(*source), std::cmp::Reverse(*source)));
        let Some(source) = best else { return Side::default() };
        let mut side = Side {
            source: Some(source),
            first: Timestamp::MAX,
            last: Timestamp::from_nanos(i64::MIN),
            ..Side::default()
        };
        for piece in of(source) {
            let rate = u64::from(piece.rate());
            side.first = side.first.min(piece.first);
            side.last = side.last.max(piece.last);
            side.seen_packets = side.seen_packets.saturating_add(piece.packets);
            side.packets = side.packets.saturating_add(piece.packets.saturating_mul(rate));
            side.bytes = side.bytes.saturating_add(piece.bytes.saturating_mul(rate));
            side.flags = join(side.flags, piece.flags);
            side.sampled |= piece.is_sampled();
        }
        side
    }

    /// Who exported it.
    pub(crate) fn sources(&self) -> impl Iterator<Item = Source> {
        self.pieces.iter().map(|piece| piece.source)
    }

    /// Its records, the earliest flows first.
    pub(crate) fn evidence(&self) -> Vec<Evidence> {
        let mut evidence: Vec<Evidence> = self.pieces.iter().map(|piece| piece.evidence).collect();
        evidence.sort_unstable_by_key(|place| (place.timestamp, place.source, place.record));
        evidence.dedup();
        evidence.truncate(MAX_EVIDENCE);
        evidence
    }

    /// The connection, as far as records tell it; counts are scaled by the sampling rate.
    pub(crate) fn connection(&self, key: &Key, ended: bool) -> Connection {
        let sides = [self.side(0), self.side(1)];
        let said = self.pieces.iter().find_map(|piece| piece.opener);
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
        let any = |is: fn(&Sampling) -> bool| self.pieces.iter().any(|p| is(&p.sampling));
        let mut caveats = Vec::new();
        if any(|s| matches!(s, Sampling::UnknownRate | Sampling::OneIn(2..))) {
            caveats.push(Caveat::Sampled);
        }
        if any(|s| matches!(s, Sampling::Untold | Sampling::UnknownRate)) {
            caveats.push(Caveat::SamplingUnknown);
        }
        let mut exporters: Vec<IpAddr> = self.sources().map(|source| source.exporter).collect();
        exporters.sort_unstable();
        exporters.dedup();
        Exported {
            exporters,
            one_in: self.pieces.iter().map(Piece::rate).max().unwrap_or(1),
            caveats,
        }
    }
}

fn join(a: Option<u8>, b: Option<u8>) -> Option<u8> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a | b),
        (one, other) => one.or(other),
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
