//! What hosts of an office do all day: TLS, HTTP, DNS, UDP, and a scanner among them.
//!
//! Of 100 connections and conversations some 30 are TLS, 14 HTTP, 30 DNS, 6 other UDP, and 20 a
//! scanner's. Who talks to whom: 65,536 hosts, and 50,000 sites on 16,384 servers, of which some are
//! visited far more often than most.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tw_model::Timestamp;
use tw_testkit::{Conversation, Packet, dns_exchange, udp_packet};

use crate::hello::{client_hello, server_flight};
use crate::mix::{Event, Packets};
use crate::random::Random;

const RESOLVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 10, 4, 53), 53);
const SITES: u64 = 50_000;
const KNOCKS: u64 = 16;

/// Payload of a full segment, and of one of [`Packets::Short`].
const FULL_SEGMENT: usize = 1448;
const SHORT_SEGMENT: usize = 12;

/// Something of a random kind, beginning at `at`.
pub(crate) fn event(random: &mut Random, at: Timestamp, packets: Packets) -> Event {
    let one = |packets| Event { packets, flows: 1 };
    match random.below(1_000) {
        0..370 => one(tls(random, at, packets)),
        370..542 => one(http(random, at, packets)),
        542..911 => one(dns(random, at)),
        911..985 => one(udp(random, at, packets)),
        _ => Event { packets: scan(random, at), flows: KNOCKS },
    }
}

/// An office host; docker hosts live elsewhere.
fn client(random: &mut Random) -> SocketAddrV4 {
    let port = u16::try_from(32_768 + random.below(28_000)).expect("below 61,000");
    SocketAddrV4::new(Ipv4Addr::new(10, 20, random.byte(), random.byte()), port)
}

/// A site: the first are the most popular.
struct Site(u64);

impl Site {
    fn draw(random: &mut Random) -> Self {
        let draw = random.below(SITES);
        Self(draw * draw / SITES * draw / SITES)
    }

    fn name(&self) -> String {
        format!("site-{}.example", self.0)
    }

    fn address(&self) -> Ipv4Addr {
        let [.., high, low] = (self.0 % 16_384).to_be_bytes();
        Ipv4Addr::new(198, 19, 192 + high, low)
    }

    fn at(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.address(), port)
    }
}

/// Bytes of an answer, and the length of its segments.
fn body(random: &mut Random, packets: Packets) -> (Vec<u8>, usize) {
    let least = 1 << (9 + random.below(7));
    let len = usize::try_from(least + random.below(least)).expect("below 64 KiB");
    match packets {
        Packets::Full => (random.bytes(len), FULL_SEGMENT),
        Packets::Short => (random.bytes(len * SHORT_SEGMENT / FULL_SEGMENT), SHORT_SEGMENT),
    }
}

fn thinks(random: &mut Random) -> Duration {
    Duration::from_millis(1 + random.below(30))
}

fn tls(random: &mut Random, at: Timestamp, packets: Packets) -> Vec<Packet> {
    let site = Site::draw(random);
    let (client, server) = (client(random), site.at(443));
    let flight = server_flight(random, packets);
    let (body, segment) = body(random, packets);
    let request = 60 + usize::try_from(random.below(400)).expect("few");
    let finished = [vec![0x14, 3, 3, 0, 1, 1], records(&random.bytes(53))].concat();
    let request = [finished, records(&random.bytes(request))].concat();
    let request = if packets == Packets::Short { &request[..128] } else { &request[..] };
    Conversation::open(client, server, at)
        .client_sends(&client_hello(random, &site.name(), packets))
        .wait(thinks(random))
        .server_streams(&flight, FULL_SEGMENT)
        .client_sends(request)
        .wait(thinks(random))
        .server_streams(&records(&body), segment)
        .close()
}

/// RFC 8446 §5.1: application data records of at most 2^14 bytes.
pub(crate) fn records(body: &[u8]) -> Vec<u8> {
    let mut records = Vec::with_capacity(body.len() + 64);
    for part in body.chunks(1 << 14) {
        records.extend_from_slice(&[0x17, 3, 3]);
        records.extend_from_slice(&u16::try_from(part.len()).expect("a record").to_be_bytes());
        records.extend_from_slice(part);
    }
    records
}

fn http(random: &mut Random, at: Timestamp, packets: Packets) -> Vec<Packet> {
    let site = Site::draw(random);
    let (client, server) = (client(random), site.at(80));
    let mut conversation = Conversation::open(client, server, at);
    for _ in 0..=random.below(2) {
        let (body, segment) = body(random, packets);
        let body = &body[..body.len() * 2 / 3];
        let head = match packets {
            Packets::Short => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()),
            Packets::Full => answer_head(random, body.len()),
        };
        conversation = conversation
            .client_sends(&request(random, &site, packets))
            .wait(thinks(random))
            .server_streams(&[head.as_bytes(), body].concat(), segment.max(head.len() / 4));
    }
    conversation.close()
}

/// As a web server answers.
fn answer_head(random: &mut Random, body_bytes: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nDate: Wed, 25 Nov 2026 08:00:00 GMT\r\nServer: nginx\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {body_bytes}\r\n\
         Connection: keep-alive\r\nETag: \"{:x}\"\r\nAccept-Ranges: bytes\r\n\r\n",
        random.next()
    )
}

/// As a browser asks, or something small.
fn request(random: &mut Random, site: &Site, packets: Packets) -> Vec<u8> {
    if packets == Packets::Short {
        return format!("GET /{:x} HTTP/1.1\r\nHost: {}\r\n\r\n", random.next(), site.name())
            .into_bytes();
    }
    format!(
        "GET /assets/{:x}.js?v={} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; \
         rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: */*\r\nAccept-Language: en-US,en;q=0.5\r\n\
         Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nReferer: http://{}/\r\n\r\n",
        random.next(),
        random.below(1_000),
        site.name(),
        site.name()
    )
    .into_bytes()
}

fn dns(random: &mut Random, at: Timestamp) -> Vec<Packet> {
    let site = Site::draw(random);
    dns_exchange(client(random), RESOLVER, at, &site.name(), site.address().octets())
}

fn udp(random: &mut Random, at: Timestamp, packets: Packets) -> Vec<Packet> {
    let (client, server) = (client(random), Site::draw(random).at(443));
    let (asked, answered) = if packets == Packets::Short { (24, 40) } else { (80, 1200) };
    let mut conversation = Vec::new();
    for turn in 0..=random.below(20) {
        let sent = at.plus(Duration::from_millis(turn * 7));
        let (question, answer) = (random.bytes(asked), random.bytes(answered));
        conversation.push(Packet { at: sent, frame: udp_packet(client, server, &question) });
        let back = sent.plus(Duration::from_millis(3));
        conversation.push(Packet { at: back, frame: udp_packet(server, client, &answer) });
    }
    conversation
}

/// Somebody knocks at sixteen ports of a host.
fn scan(random: &mut Random, at: Timestamp) -> Vec<Packet> {
    let scanner = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, random.byte()), 54_321);
    let target = Ipv4Addr::new(10, 20, random.byte(), random.byte());
    let mut packets = Vec::new();
    for knock in 0..KNOCKS {
        let port = u16::try_from(1 + random.below(10_000)).expect("below 10,001");
        let sent = at.plus(Duration::from_micros(knock * 200));
        packets.extend(Conversation::refused(scanner, SocketAddrV4::new(target, port), sent));
    }
    packets
}
