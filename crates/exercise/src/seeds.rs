//! From a capture to inputs of each target.

use std::net::IpAddr;

use tw_model::{Direction, Protocol, SourceId};
use tw_stream::{Flow, Limits, StreamEvent, Table};
use tw_wire::file::Reader;
use tw_wire::{Decoded, Decoder, Frame, Packet, Transport};

use crate::input::push_block;

/// Longest input that is made: larger ones only make the fuzzer slow.
const LONGEST: usize = 1 << 16;

/// The file itself, where it is not too long.
pub(crate) fn whole(capture: &[u8]) -> Vec<Vec<u8>> {
    vec![capture[..capture.len().min(4 * LONGEST)].to_vec()]
}

/// See [`crate::frames`].
pub(crate) fn frames(capture: &[u8]) -> Vec<Vec<u8>> {
    let mut input = Vec::new();
    each_frame(capture, |frame| {
        if input.len() < LONGEST {
            input.extend(frame.link.0.to_le_bytes());
            input.extend(1_u16.to_le_bytes());
            push_block(&mut input, frame.bytes);
        }
    });
    vec![input]
}

/// See [`crate::packets`].
pub(crate) fn packets(capture: &[u8]) -> Vec<Vec<u8>> {
    let mut input = Vec::new();
    each_packet(capture, |packet| {
        if input.len() < LONGEST {
            push_packet(&mut input, packet);
        }
    });
    vec![input]
}

/// UDP payloads; see [`crate::exports`].
pub(crate) fn exports(capture: &[u8]) -> Vec<Vec<u8>> {
    let mut input = Vec::new();
    each_packet(capture, |packet| {
        if let Transport::Udp(udp) = packet.transport
            && input.len() < LONGEST
        {
            input.extend([last(packet.src) as u8, 1]);
            push_block(&mut input, udp.payload);
        }
    });
    if input.is_empty() { Vec::new() } else { vec![input] }
}

/// UDP payloads of each conversation; see [`crate::datagrams`].
pub(crate) fn datagrams(capture: &[u8]) -> Vec<Vec<u8>> {
    let mut table: Table<Vec<u8>> = Table::new(Limits::default());
    let mut inputs = Vec::new();
    let mut take = |flow: &mut Flow<Vec<u8>>, event: StreamEvent<'_>| match event {
        StreamEvent::Open => flow.user.extend(flow.responder.port.to_le_bytes()),
        StreamEvent::Datagram { direction, bytes, .. } if flow.user.len() < LONGEST => {
            flow.user.push(u8::from(direction == Direction::ToOpener));
            push_block(&mut flow.user, bytes);
        }
        StreamEvent::Close(_) if flow.user.len() > 8 && flow.protocol == Protocol::UDP => {
            inputs.push(std::mem::take(&mut flow.user));
        }
        _ => {}
    };
    each_packet(capture, |packet| table.push(packet, &mut |flow, _, event| take(flow, event)));
    table.finish(&mut |flow, _, event| take(flow, event));
    inputs
}

fn push_packet(input: &mut Vec<u8>, packet: &Packet<'_>) {
    let (ports, flags, seq, ack, payload, udp) = match packet.transport {
        Transport::Tcp(tcp) => {
            ([tcp.src_port, tcp.dst_port], tcp.flags.0, tcp.seq, tcp.ack, tcp.payload, 0)
        }
        Transport::Udp(udp) => ([udp.src_port, udp.dst_port], 0, 0, 0, udp.payload, 32),
        Transport::Other { .. } => return,
    };
    let backwards = u8::from((packet.src, ports[0]) > (packet.dst, ports[1]));
    let connection = ((ports[0] ^ ports[1] ^ last(packet.src) ^ last(packet.dst)) & 15) as u8;
    input.extend([backwards | connection << 1 | udp, flags]);
    input.extend(seq.to_le_bytes());
    input.extend(ack.to_le_bytes());
    input.extend(1_u16.to_le_bytes());
    push_block(input, payload);
}

fn last(ip: IpAddr) -> u16 {
    match ip {
        IpAddr::V4(ip) => u16::from(ip.octets()[3]),
        IpAddr::V6(ip) => ip.segments()[7],
    }
}

/// Each TCP connection with payload; see [`crate::protocols`].
pub(crate) fn conversations(capture: &[u8]) -> Vec<Vec<u8>> {
    let mut table: Table<Vec<u8>> = Table::new(Limits::default());
    let mut inputs = Vec::new();
    let mut take = |flow: &mut Flow<Vec<u8>>, event: StreamEvent<'_>| {
        let bit = |direction: Direction| u8::from(direction == Direction::ToOpener);
        match event {
            StreamEvent::Open => flow.user.extend(flow.responder.port.to_le_bytes()),
            StreamEvent::Data { direction, bytes, .. } if flow.user.len() < LONGEST => {
                flow.user.push(4 | bit(direction));
                push_block(&mut flow.user, bytes);
            }
            StreamEvent::HalfClose { direction } => flow.user.push(2 | bit(direction)),
            StreamEvent::Close(_) if flow.user.len() > 8 => {
                inputs.push(std::mem::take(&mut flow.user));
            }
            _ => {}
        }
    };
    each_packet(capture, |packet| table.push(packet, &mut |flow, _, event| take(flow, event)));
    table.finish(&mut |flow, _, event| take(flow, event));
    inputs
}

fn each_frame(capture: &[u8], mut each: impl FnMut(&Frame<'_>)) {
    let Ok(mut reader) = Reader::open(capture, SourceId(0)) else { return };
    while let Ok(Some(frame)) = reader.next_frame() {
        each(&frame);
    }
}

fn each_packet(capture: &[u8], mut each: impl FnMut(&Packet<'_>)) {
    let mut decoder = Decoder::new(tw_wire::Limits::default());
    each_frame(capture, |frame| {
        decoder.push(frame, &mut |decoded| {
            if let Decoded::Packet(packet) = decoded {
                each(&packet);
            }
        });
    });
}
