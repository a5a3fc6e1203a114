//! What a packet allocates on the paths that most packets take: nothing.

use std::net::{Ipv4Addr, SocketAddrV4};

use tidewaiter::engine::{Engine, Limits};
use tw_model::{Secrets, SourceId, Timestamp};
use tw_testkit::{Conversation, Packet, udp_packet};
use tw_wire::{Frame, LinkType};

const AT: Timestamp = Timestamp::from_secs_nanos(1_795_593_600, 0);
const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 20, 1, 1), 40_000);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 9);

fn push(engine: &mut Engine, packets: &[Packet]) {
    for (number, packet) in (1..).zip(packets) {
        let frame = Frame {
            timestamp: packet.at,
            link: LinkType(1),
            bytes: &packet.frame,
            original_len: u32::try_from(packet.frame.len()).unwrap(),
            source: SourceId(0),
            number,
            interface: 0,
        };
        engine.push(&frame, &mut |_| {});
    }
}

/// Allocations of the packets from `first` on, the last ones left out, after the others.
fn allocations_of(packets: &[Packet], first: usize, last: usize) -> u64 {
    let mut engine = Engine::new(Limits::default(), Secrets::Redact);
    push(&mut engine, &packets[..first]);
    let middle = &packets[first..packets.len() - last];
    assert!(middle.len() >= 100, "{}", middle.len());
    allocation_counter::measure(|| push(&mut engine, middle)).count_total
}

fn server(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(SERVER, port)
}

#[test]
fn application_data_of_tls_allocates_nothing() {
    let (hello, reply) = tw_bench::tls_handshake("site.example");
    let mut record = vec![0x17, 3, 3, 0x40, 0];
    record.resize(5 + (1 << 14), 0xa5);
    let packets = Conversation::open(CLIENT, server(443), AT)
        .client_sends(&hello)
        .server_streams(&reply, 1448)
        .server_streams(&record.repeat(12), 1448)
        .close();
    assert_eq!(allocations_of(&packets, 10, 4), 0);
}

#[test]
fn a_body_that_nobody_looks_at_allocates_nothing() {
    let body = vec![0xa5; 200_000];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let packets = Conversation::open(CLIENT, server(80), AT)
        .client_sends(b"GET /x HTTP/1.1\r\nHost: site.example\r\n\r\n")
        .server_streams(&[head.as_bytes(), &body].concat(), 1448)
        .close();
    assert_eq!(allocations_of(&packets, 10, 8), 0);
}

#[test]
fn acknowledgments_and_datagrams_of_no_known_protocol_allocate_nothing() {
    let datagram = |number: u8| Packet {
        at: AT.plus(std::time::Duration::from_millis(u64::from(number))),
        frame: udp_packet(CLIENT, server(40_000), &[number; 900]),
    };
    let packets: Vec<Packet> = (0..250).map(datagram).collect();
    assert_eq!(allocations_of(&packets, 20, 0), 0);
}

/// A connection that is refused leaves nothing on the heap that it did not take from the pool.
#[test]
fn a_scan_allocates_for_its_observations_only() {
    let knock = |port: u16| Conversation::refused(CLIENT, server(port), AT);
    let warm: Vec<Packet> = (1..200).flat_map(knock).collect();
    let more: Vec<Packet> = (200..400).flat_map(knock).collect();
    let mut engine = Engine::new(Limits::default(), Secrets::Redact);
    push(&mut engine, &warm);
    let count = allocation_counter::measure(|| push(&mut engine, &more)).count_total;
    assert!(count <= 2 * 200 + 8, "{count}");
}
