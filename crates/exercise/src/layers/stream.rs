//! The connection table.

use tw_model::{Direction, Evidence, NetworkTag};
use tw_stream::{Flow, Limits, StreamEvent, Table};
use tw_wire::{Packet, TcpFlags, TcpSegment, Transport, UdpDatagram};

use crate::input::{Input, endpoint, evidence};

/// What was told of a flow.
#[derive(Default)]
struct Followed {
    opened: bool,
    closed: bool,
    next: [u64; 2],
    ended: [bool; 2],
}

/// Packets of a few connections: who (bit 0 the direction, bits 1 to 4 the connection, bit 5 UDP,
/// bit 6 payload cut off), TCP flags, sequence and acknowledgement number, milliseconds, payload.
///
/// Events of a flow begin with `Open`, end with `Close`, and hand on every byte once and in order.
pub fn packets(input: &[u8]) {
    let limits = Limits {
        flows: 8,
        attempted_flows: 4,
        held_bytes_per_direction: 4096,
        held_bytes: 8192,
        kept_bytes: 32_768,
        ..Limits::default()
    };
    let mut table: Table<Followed> = Table::new(limits.clone());
    let mut input = Input::new(input);
    let (mut number, mut millis) = (0, 0);
    let mut left_out = 0;
    let mut follow = |flow: &mut Flow<Followed>, at: Evidence, event: StreamEvent<'_>| {
        left_out += follow(flow, at, event);
    };
    while !input.is_empty() {
        let record = Record::read(&mut input);
        number += 1;
        millis += u64::from(record.millis);
        table.push(&record.packet(evidence(number, millis)), &mut follow);
        let counters = table.counters();
        assert!(counters.flows_now <= limits.flows as u64, "{} flows", counters.flows_now);
        assert!(counters.held_bytes_now <= limits.held_bytes, "{} held", counters.held_bytes_now);
    }
    table.finish(&mut follow);
    let counters = table.counters();
    assert_eq!((counters.flows_now, counters.held_bytes_now), (0, 0), "left behind");
    assert!(left_out <= counters.urgent_bytes, "{left_out} bytes left out");
}

/// Its checksum is wrong, and its urgent pointer is to the fourth byte.
const FULL_HEADER: [u8; 20] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0, 0, 0, 0, 0, 0, 4];

struct Record<'a> {
    who: u8,
    flags: u8,
    seq: u32,
    ack: u32,
    millis: u16,
    payload: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(input: &mut Input<'a>) -> Self {
        Self {
            who: input.u8(),
            flags: input.u8(),
            seq: input.u32(),
            ack: input.u32(),
            millis: input.u16(),
            payload: input.block(),
        }
    }

    fn packet(&self, evidence: Evidence) -> Packet<'a> {
        let ends = [endpoint(1, 40_000 + u16::from(self.who >> 1 & 15)), endpoint(2, 2375)];
        let [src, dst] = if self.who & 1 == 0 { ends } else { [ends[1], ends[0]] };
        let payload_len = self.payload.len() as u32;
        let kept = if self.who & 64 == 0 { self.payload.len() } else { self.payload.len() / 2 };
        let payload = &self.payload[..kept];
        let (src_port, dst_port) = (src.port, dst.port);
        let transport = if self.who & 32 == 0 {
            let (seq, ack, flags) = (self.seq, self.ack, TcpFlags(self.flags));
            let header: &[u8] = if self.who & 128 == 0 { &[] } else { &FULL_HEADER };
            Transport::Tcp(TcpSegment {
                src_port,
                dst_port,
                seq,
                ack,
                flags,
                header,
                payload,
                payload_len,
            })
        } else {
            Transport::Udp(UdpDatagram { src_port, dst_port, payload, payload_len })
        };
        Packet {
            evidence,
            src: src.ip,
            dst: dst.ip,
            tag: NetworkTag::default(),
            macs: None,
            ip_len: payload_len + 40,
            ip_id: self.seq as u16,
            hop_limit: 64,
            overlapped: false,
            transport,
        }
    }
}

/// Gives how many bytes were left out before this.
fn follow(flow: &mut Flow<Followed>, _: Evidence, event: StreamEvent<'_>) -> u64 {
    let told = &mut flow.user;
    assert!(!told.closed, "after Close: {event:?}");
    assert_eq!(told.opened, event != StreamEvent::Open, "first Open, and once: {event:?}");
    match event {
        StreamEvent::Open => told.opened = true,
        StreamEvent::Data { direction, offset, bytes } => {
            return told.hand_on(direction, offset, bytes.len() as u64);
        }
        StreamEvent::Unread { direction, len } => {
            return told.hand_on(direction, told.next[direction.index()], len);
        }
        StreamEvent::Gap { direction, offset, len } => {
            return told.hand_on(direction, offset, len);
        }
        StreamEvent::HalfClose { direction } => told.ended[direction.index()] = true,
        StreamEvent::Close(_) => told.closed = true,
        StreamEvent::Datagram { .. } | StreamEvent::Anomaly(_) => {}
    }
    0
}

impl Followed {
    /// Gives the bytes before these that were left out: an urgent one, if any.
    fn hand_on(&mut self, direction: Direction, offset: u64, len: u64) -> u64 {
        let way = direction.index();
        assert!(!self.ended[way], "after HalfClose");
        let left_out = offset.checked_sub(self.next[way]).expect("no repetition");
        assert!(len > 0, "nothing");
        self.next[way] = offset + len;
        left_out
    }
}
