//! What hosts of an office do all day: TLS, HTTP, DNS, UDP, and a scanner among them.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tw_model::Timestamp;
use tw_testkit::{Conversation, Packet, dns_exchange, http_request, udp_packet};

use crate::random::Random;

const RESOLVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 10, 4, 53), 53);

/// One flow of a random kind, beginning at `at`.
pub(crate) fn flow(random: &mut Random, at: Timestamp) -> Vec<Packet> {
    match random.below(100) {
        0..40 => tls(random, at),
        40..60 => http(random, at),
        60..80 => dns(random, at),
        80..90 => udp(random, at),
        _ => scan(random, at),
    }
}

/// An office host; docker hosts live elsewhere.
fn client(random: &mut Random) -> SocketAddrV4 {
    let port = u16::try_from(32_768 + random.below(28_000)).expect("below 61,000");
    SocketAddrV4::new(Ipv4Addr::new(10, 20, random.byte(), random.byte()), port)
}

fn server(random: &mut Random, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, random.byte()), port)
}

fn site(random: &mut Random) -> String {
    format!("site-{}.example", random.below(50_000))
}

fn body(random: &mut Random) -> Vec<u8> {
    let least = 1 << (9 + random.below(7));
    let len = least + random.below(least);
    random.bytes(usize::try_from(len).expect("below 64 KiB"))
}

fn tls(random: &mut Random, at: Timestamp) -> Vec<Packet> {
    let hello = client_hello(random);
    let body = body(random);
    let (client, server) = (client(random), server(random, 443));
    Conversation::open(client, server, at)
        .client_sends(&hello)
        .wait(Duration::from_millis(1 + random.below(30)))
        .server_sends(&records(&body))
        .close()
}

/// RFC 8446 §5.1: application data records of at most 2^14 bytes.
fn records(body: &[u8]) -> Vec<u8> {
    let mut records = Vec::with_capacity(body.len() + 64);
    for part in body.chunks(1 << 14) {
        records.extend_from_slice(&[0x17, 3, 3]);
        records.extend_from_slice(&len16(part.len()));
        records.extend_from_slice(part);
    }
    records
}

/// RFC 8446 §4.1.2, RFC 6066 §3: a `ClientHello` with a server name.
fn client_hello(random: &mut Random) -> Vec<u8> {
    let name = site(random);
    let mut server_name = vec![0, 0];
    server_name.extend_from_slice(&len16(name.len() + 5));
    server_name.extend_from_slice(&len16(name.len() + 3));
    server_name.push(0);
    server_name.extend_from_slice(&len16(name.len()));
    server_name.extend_from_slice(name.as_bytes());

    let mut hello = vec![3, 3];
    hello.extend_from_slice(&random.bytes(32));
    hello.extend_from_slice(&[0, 0, 4, 0x13, 0x01, 0x13, 0x02, 1, 0]);
    hello.extend_from_slice(&len16(server_name.len()));
    hello.extend_from_slice(&server_name);

    let mut record = vec![0x16, 3, 1];
    record.extend_from_slice(&len16(hello.len() + 4));
    record.extend_from_slice(&[1, 0]);
    record.extend_from_slice(&len16(hello.len()));
    record.extend_from_slice(&hello);
    record
}

fn len16(len: usize) -> [u8; 2] {
    u16::try_from(len).expect("below 64 KiB").to_be_bytes()
}

fn http(random: &mut Random, at: Timestamp) -> Vec<Packet> {
    let host = site(random);
    let request = http_request("GET", &format!("/{:x}", random.next()), &[("Host", &host)], b"");
    let body = body(random);
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    let (client, server) = (client(random), server(random, 80));
    Conversation::open(client, server, at)
        .client_sends(&request)
        .wait(Duration::from_millis(1 + random.below(30)))
        .server_sends(&answer)
        .close()
}

fn dns(random: &mut Random, at: Timestamp) -> Vec<Packet> {
    let name = site(random);
    dns_exchange(client(random), RESOLVER, at, &name, [192, 0, 2, random.byte()])
}

fn udp(random: &mut Random, at: Timestamp) -> Vec<Packet> {
    let (client, server) = (client(random), server(random, 443));
    let mut packets = Vec::new();
    for turn in 0..=random.below(20) {
        let sent = at.plus(Duration::from_millis(turn * 7));
        let (question, answer) = (random.bytes(80), random.bytes(1200));
        packets.push(Packet { at: sent, frame: udp_packet(client, server, &question) });
        let back = sent.plus(Duration::from_millis(3));
        packets.push(Packet { at: back, frame: udp_packet(server, client, &answer) });
    }
    packets
}

/// Somebody knocks at sixteen ports of a host.
fn scan(random: &mut Random, at: Timestamp) -> Vec<Packet> {
    let scanner = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, random.byte()), 54_321);
    let target = Ipv4Addr::new(10, 20, random.byte(), random.byte());
    let mut packets = Vec::new();
    for knock in 0..16 {
        let port = u16::try_from(1 + random.below(10_000)).expect("below 10,001");
        let sent = at.plus(Duration::from_micros(knock * 200));
        packets.extend(Conversation::refused(scanner, SocketAddrV4::new(target, port), sent));
    }
    packets
}
