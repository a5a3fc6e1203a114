//! Packets by hand, and a sink that keeps what it was told.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses a part")]

use std::net::{IpAddr, Ipv4Addr};

use tw_model::{AnomalyKind, Direction, Evidence, MacAddress, NetworkTag, SourceId, Timestamp};
use tw_stream::{CloseReason, Flow, Interest, Limits, StreamEvent, Table};
use tw_wire::{Checksum, Packet, TcpFlags, TcpSegment, Transport, UdpDatagram};

pub const SYN: u8 = TcpFlags::SYN;
pub const ACK: u8 = TcpFlags::ACK;
pub const FIN: u8 = TcpFlags::FIN;
pub const RST: u8 = TcpFlags::RST;
pub const URG: u8 = TcpFlags::URG;

pub const TO_RESPONDER: Direction = Direction::ToResponder;
pub const TO_OPENER: Direction = Direction::ToOpener;

/// A packet that owns its payload. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct Raw {
    pub src: (IpAddr, u16),
    pub dst: (IpAddr, u16),
    pub at_ms: i64,
    pub protocol: u8,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub payload: Vec<u8>,
    /// Empty: nothing is known of the checksum.
    pub header: Vec<u8>,
    pub cut: u32,
    pub ip_id: u16,
    pub hop_limit: u8,
    pub overlapped: bool,
    pub vlan: Option<u16>,
    pub vni: Option<u32>,
}

pub fn client() -> (IpAddr, u16) {
    (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 40_000)
}

pub fn server() -> (IpAddr, u16) {
    (IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2)), 2375)
}

/// From the client.
pub fn up(at_ms: i64, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Raw {
    Raw {
        src: client(),
        dst: server(),
        at_ms,
        protocol: 6,
        seq,
        ack,
        flags,
        payload: payload.to_vec(),
        header: Vec::new(),
        cut: 0,
        ip_id: 0,
        hop_limit: 64,
        overlapped: false,
        vlan: None,
        vni: None,
    }
}

/// From the server.
pub fn down(at_ms: i64, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Raw {
    Raw { src: server(), dst: client(), ..up(at_ms, flags, seq, ack, payload) }
}

impl Raw {
    /// With a header that has this checksum, or another (RFC 9293 §3.1).
    pub fn summed(self, right: bool) -> Self {
        let mut header = Vec::new();
        header.extend_from_slice(&self.src.1.to_be_bytes());
        header.extend_from_slice(&self.dst.1.to_be_bytes());
        header.extend_from_slice(&self.seq.to_be_bytes());
        header.extend_from_slice(&self.ack.to_be_bytes());
        header.extend_from_slice(&[0x50, self.flags, 1, 0, 0, 0, 0, 0]);
        let mut raw = Self { header, ..self };
        for sum in 0..=u16::MAX {
            raw.header[16..18].copy_from_slice(&sum.to_be_bytes());
            let fits = packet(&raw, 1).tcp_checksum() == Checksum::Right;
            if fits {
                raw.header[16] ^= u8::from(!right);
                return raw;
            }
        }
        panic!("no checksum fits");
    }

    /// With so many hops left.
    pub fn hops(self, hop_limit: u8) -> Self {
        Self { hop_limit, ..self }
    }
}

/// A datagram from the client.
pub fn udp(at_ms: i64, payload: &[u8]) -> Raw {
    Raw { protocol: 17, ..up(at_ms, 0, 0, 0, payload) }
}

/// Client's ISN 100, server's ISN 500: first payload bytes are 101 and 501.
pub fn handshake() -> Vec<Raw> {
    vec![up(0, SYN, 100, 0, b""), down(1, SYN | ACK, 500, 101, b""), up(2, ACK, 101, 501, b"")]
}

/// An event, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Open,
    Data(Direction, u64, Vec<u8>),
    Gap(Direction, u64, u64),
    Unread(Direction, u64),
    HalfClose(Direction),
    Datagram(Direction, Vec<u8>, u32),
    Anomaly(AnomalyKind),
    Close(CloseReason),
}

impl From<StreamEvent<'_>> for Told {
    fn from(event: StreamEvent<'_>) -> Self {
        match event {
            StreamEvent::Open => Self::Open,
            StreamEvent::Data { direction, offset, bytes } => {
                Self::Data(direction, offset, bytes.to_vec())
            }
            StreamEvent::Unread { direction, len } => Self::Unread(direction, len),
            StreamEvent::Gap { direction, offset, len } => Self::Gap(direction, offset, len),
            StreamEvent::HalfClose { direction } => Self::HalfClose(direction),
            StreamEvent::Datagram { direction, bytes, missing } => {
                Self::Datagram(direction, bytes.to_vec(), missing)
            }
            StreamEvent::Anomaly(kind) => Self::Anomaly(kind),
            StreamEvent::Close(reason) => Self::Close(reason),
        }
    }
}

pub type Log = Vec<(u64, Told, Evidence)>;

/// A table, what it told, and the flows as they were at their latest event.
pub struct Run {
    pub table: Table<()>,
    pub log: Log,
    pub flows: Vec<Flow<()>>,
    /// Given to each flow when it opens.
    pub interest: Interest,
    frame: u64,
}

impl Run {
    pub fn new() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        Self {
            table: Table::new(limits),
            log: Vec::new(),
            flows: Vec::new(),
            interest: Interest::Payload,
            frame: 0,
        }
    }

    pub fn of(packets: &[Raw]) -> Self {
        let mut run = Self::new();
        run.push(packets);
        run
    }

    pub fn push(&mut self, packets: &[Raw]) {
        for raw in packets {
            self.frame += 1;
            let packet = packet(raw, self.frame);
            let (log, flows, interest) = (&mut self.log, &mut self.flows, self.interest);
            self.table.push(&packet, &mut |flow: &mut Flow<()>, at, event: StreamEvent<'_>| {
                record(log, flows, interest, flow, at, event);
            });
        }
    }

    pub fn advance(&mut self, at_ms: i64) {
        let (log, flows, interest) = (&mut self.log, &mut self.flows, self.interest);
        self.table.advance(time(at_ms), &mut |flow: &mut Flow<()>, at, event: StreamEvent<'_>| {
            record(log, flows, interest, flow, at, event);
        });
    }

    pub fn finish(&mut self) {
        let (log, flows, interest) = (&mut self.log, &mut self.flows, self.interest);
        self.table.finish(&mut |flow: &mut Flow<()>, at, event: StreamEvent<'_>| {
            record(log, flows, interest, flow, at, event);
        });
    }

    pub fn told(&self) -> Vec<Told> {
        self.log.iter().map(|(_, told, _)| told.clone()).collect()
    }

    pub fn bytes(&self, direction: Direction) -> Vec<u8> {
        let mut all = Vec::new();
        for (_, told, _) in &self.log {
            if let Told::Data(of, _, bytes) = told
                && *of == direction
            {
                all.extend_from_slice(bytes);
            }
        }
        all
    }

    /// The payload of both directions in the order in which it was told.
    pub fn pieces(&self) -> Vec<Vec<u8>> {
        let piece = |told: Told| match told {
            Told::Data(_, _, bytes) => Some(bytes),
            _ => None,
        };
        self.told().into_iter().filter_map(piece).collect()
    }

    pub fn gaps(&self) -> Vec<Told> {
        self.told().into_iter().filter(|told| matches!(told, Told::Gap(..))).collect()
    }

    pub fn has(&self, told: &Told) -> bool {
        self.log.iter().any(|(_, other, _)| other == told)
    }

    pub fn count(&self, told: &Told) -> usize {
        self.log.iter().filter(|(_, other, _)| other == told).count()
    }

    /// The flow that opened last, as of its latest event.
    pub fn flow(&self) -> &Flow<()> {
        self.flows.last().expect("a flow")
    }
}

fn record(
    log: &mut Log,
    flows: &mut Vec<Flow<()>>,
    interest: Interest,
    flow: &mut Flow<()>,
    at: Evidence,
    event: StreamEvent<'_>,
) {
    if event == StreamEvent::Open {
        flow.interest = interest;
    }
    log.push((flow.id.0, event.into(), at));
    let id = usize::try_from(flow.id.0).unwrap();
    if id == flows.len() {
        flows.push(copy(flow));
    } else {
        flows[id] = copy(flow);
    }
}

fn copy(flow: &Flow<()>) -> Flow<()> {
    Flow { user: (), ..*flow }
}

pub fn time(at_ms: i64) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_000_000_000 + at_ms * 1_000_000)
}

pub fn packet(raw: &Raw, frame: u64) -> Packet<'_> {
    let payload_len = u32::try_from(raw.payload.len()).unwrap() + raw.cut;
    let transport = match raw.protocol {
        6 => Transport::Tcp(TcpSegment {
            src_port: raw.src.1,
            dst_port: raw.dst.1,
            seq: raw.seq,
            ack: raw.ack,
            flags: TcpFlags(raw.flags),
            header: &raw.header,
            payload: &raw.payload,
            payload_len,
        }),
        17 => Transport::Udp(UdpDatagram {
            src_port: raw.src.1,
            dst_port: raw.dst.1,
            payload: &raw.payload,
            payload_len,
        }),
        protocol => Transport::Other { protocol, payload: &raw.payload },
    };
    Packet {
        evidence: Evidence::frame(SourceId(0), frame, time(raw.at_ms)),
        src: raw.src.0,
        dst: raw.dst.0,
        tag: NetworkTag { vlan: raw.vlan, vni: raw.vni, interface: 0 },
        macs: Some((MacAddress([raw.hop_limit; 6]), MacAddress([2; 6]))),
        ip_len: payload_len + 40,
        ip_id: raw.ip_id,
        hop_limit: raw.hop_limit,
        overlapped: raw.overlapped,
        transport,
    }
}

/// Numbers that look random and are the same every time (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % bound.max(1) as u64).unwrap()
    }

    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }
}
