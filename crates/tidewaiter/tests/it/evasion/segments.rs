//! The same request in other segments, fragments and messages.

use tw_testkit::{
    Conversation, Packet, SYN, ethernet, http_request, tar, tcp_packet, with_checksums,
};

use super::stage::{
    Case, DAEMON, DOCKERFILE, STRANGER, address, at, attack, build, built, call, fetched,
    json_answer, merged, seconds,
};
use crate::support::check_all;

const TARGET: &str = "/v1.41/build?t=evil:1&q=1";

fn clear() -> Vec<u8> {
    build(TARGET, DOCKERFILE)
}

#[test]
fn segments_hide_no_build() {
    let call = || call(DAEMON, &clear(), &built());
    let reversed = || {
        let (mut uploads, others): (Vec<Packet>, Vec<Packet>) =
            call().into_iter().partition(is_upload);
        let times: Vec<_> = uploads.iter().map(|packet| packet.at).collect();
        uploads.reverse();
        for (packet, at) in uploads.iter_mut().zip(times) {
            packet.at = at;
        }
        merged([uploads, others, fetched()])
    };
    let outgoing = |packet: &Packet| packet.frame[34..36] != 2375_u16.to_be_bytes();
    let (there, back): (Vec<_>, Vec<_>) =
        merged([call(), fetched()]).into_iter().partition(outgoing);
    let cases = [
        Case::attack("the last first", reversed()),
        Case::attack("each direction in a file", there).and_file(back),
        Case::attack("an urgent byte", urgent()),
        Case::attack("data in the SYN", with_early_data()),
        Case::attack("overlaps that Linux reads so", overlapping()),
    ];
    check_all(&cases, Case::complaints);
}

#[test]
fn fragments_hide_no_build() {
    let cut = |order: fn(Vec<Packet>) -> Vec<Packet>| {
        let mut packets = Vec::new();
        for packet in call(DAEMON, &clear(), &built()) {
            if is_upload(&packet) {
                packets.extend(order(fragments(&packet, 7, 64)));
            } else {
                packets.push(packet);
            }
        }
        merged([packets, fetched()])
    };
    let reversed = |mut parts: Vec<Packet>| {
        parts.reverse();
        parts
    };
    let cases = [
        Case::attack("in fragments", cut(|parts| parts)),
        Case::attack("the last first", cut(reversed)),
        Case::attack("a decoy in fragments that overlap", with_fragmented_decoys()),
    ];
    check_all(&cases, Case::complaints);
}

#[test]
fn messages_hide_no_build() {
    let context = tar(&[("Dockerfile", DOCKERFILE.as_bytes())]);
    let chunks = chunked(&context);
    let posted = |fields: &str, body: &[u8]| {
        let head = format!("POST {TARGET} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        attack(&[head.as_bytes(), body].concat())
    };
    let behind = |prefix: &str| attack(&build(&format!("{prefix}{TARGET}"), DOCKERFILE));
    let cases = [
        Case::attack(
            "both lengths",
            posted("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", &chunks),
        ),
        Case::attack("a folded field", posted("Transfer-Encoding:\r\n chunked\r\n", &chunks)),
        Case::attack("in capitals", posted("TRANSFER-ENCODING: CHUNKED\r\n", &chunks)),
        Case::attack(
            "two equal lengths",
            posted(
                &format!("Content-Length: {0}\r\nContent-Length: {0}\r\n", context.len()),
                &context,
            ),
        ),
        Case::attack(
            "a length with zeros",
            posted(&format!("Content-Length: 000000{}\r\n", context.len()), &context),
        ),
        Case::attack(
            "chunks ended by line feeds",
            posted("Transfer-Encoding: chunked\r\n", &bare(&chunks)),
        ),
        Case::attack("behind a prefix", behind("/docker")),
        Case::attack("behind two", behind("/api/endpoints/1/docker")),
        Case::attack("dots", attack(&build("/./v1.41/./build?t=evil:1&q=1", DOCKERFILE))),
        Case::attack(
            "upgrade",
            posted(
                &format!(
                    "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: {}\r\n",
                    context.len()
                ),
                &context,
            ),
        ),
        Case::attack("a body that looks like a request", behind_a_lookalike()),
    ];
    check_all(&cases, Case::complaints);
}

/// The request after one whose body begins like a request.
fn behind_a_lookalike() -> Vec<Packet> {
    let body = &clear()[..200];
    let api = Conversation::open(address(&format!("{STRANGER}:40000")), address(DAEMON), at(0.0))
        .client_sends(&http_request("POST", "/v1.41/volumes/create", &[], body))
        .server_sends(&json_answer("400 Bad Request", "{}"))
        .client_sends(&clear())
        .wait(seconds(2))
        .server_sends(&built())
        .close();
    merged([api, fetched()])
}

fn is_upload(packet: &Packet) -> bool {
    packet.frame.len() > 60 && packet.frame[36..38] == 2375_u16.to_be_bytes()
}

/// `POXST /v1.41/build`, of which X is urgent.
fn urgent() -> Vec<Packet> {
    let request = [b"POX", &clear()[2..]].concat();
    let mut packets = call(DAEMON, &request, &built());
    let first = packets.iter().position(is_upload).expect("an upload");
    packets[first].frame[47] |= 0x20;
    packets[first].frame[52..54].copy_from_slice(&3_u16.to_be_bytes());
    with_checksums(&mut packets[first].frame);
    merged([packets, fetched()])
}

/// RFC 7413: the request begins in the SYN.
fn with_early_data() -> Vec<Packet> {
    let request = clear();
    let mut packets = call(DAEMON, &request, &built());
    let ends = (address(&format!("{STRANGER}:40000")), address(DAEMON));
    packets[0].frame = tcp_packet(ends, (1000, 0), SYN, &request[..40]);
    let first = packets.iter().position(is_upload).expect("an upload");
    let rest = packets[first].frame[54 + 40..].to_vec();
    packets[first].frame = tcp_packet(ends, (1041, 5001), 0x18, &rest);
    merged([packets, fetched()])
}

/// The second piece of the upload waits for the first, of which a longer copy then comes.
fn overlapping() -> Vec<Packet> {
    let request = clear();
    let ends = (address(&format!("{STRANGER}:40000")), address(DAEMON));
    let mut packets = call(DAEMON, &request, &built());
    let first = packets.iter().position(is_upload).expect("an upload");
    let piece = |from: usize, until: usize, bytes: Option<u8>| {
        let seq = 1001 + u32::try_from(from).expect("short");
        let data = bytes.map_or_else(|| request[from..until].to_vec(), |b| vec![b; until - from]);
        Packet { at: packets[first].at, frame: tcp_packet(ends, (seq, 5001), 0x18, &data) }
    };
    let early = [
        piece(600, 700, Some(b'A')),
        piece(500, 650, None),
        piece(650, 700, None),
        piece(600, 800, None),
        piece(300, 500, Some(b'B')),
        piece(300, 510, None),
        piece(0, 400, None),
    ];
    packets.splice(first..first, early);
    merged([packets, fetched()])
}

/// Parts of so many bytes (RFC 791 §3.2), all at the packet's time.
fn fragments(packet: &Packet, id: u16, size: usize) -> Vec<Packet> {
    let payload = &packet.frame[34..];
    let parts = payload.chunks(size).enumerate().map(|(n, part)| {
        let more = (n + 1) * size < payload.len();
        Packet { at: packet.at, frame: fragment(packet, id, n * size, more, part) }
    });
    parts.collect()
}

fn fragment(packet: &Packet, id: u16, offset: usize, more: bool, part: &[u8]) -> Vec<u8> {
    let mut ip = packet.frame[14..34].to_vec();
    let total = u16::try_from(20 + part.len()).expect("short");
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    ip[4..6].copy_from_slice(&id.to_be_bytes());
    let place = u16::try_from(offset / 8).expect("short") | if more { 0x2000 } else { 0 };
    ip[6..8].copy_from_slice(&place.to_be_bytes());
    ip.extend_from_slice(part);
    let octets = |at: usize| [ip[at], ip[at + 1], ip[at + 2], ip[at + 3]];
    ethernet(octets(12), octets(16), &ip)
}

/// Ahead of each piece of the upload one with other bytes, in fragments that overlap: Linux drops it.
fn with_fragmented_decoys() -> Vec<Packet> {
    let mut packets = Vec::new();
    for (n, packet) in (1..).zip(call(DAEMON, &clear(), &built())) {
        if is_upload(&packet) {
            let mut decoy = packet.clone();
            decoy.frame[54..].fill(b'A');
            with_checksums(&mut decoy.frame);
            let end = decoy.frame.len() - 34;
            let half = end / 2 / 8 * 8;
            let payload = decoy.frame[34..].to_vec();
            let parts = [(0, half, true), (half - 8, half, true), (half - 16, end, false)];
            for (from, until, more) in parts {
                let frame = fragment(&decoy, n, from, more, &payload[from..until]);
                packets.push(Packet { at: packet.at, frame });
            }
        }
        packets.push(packet);
    }
    merged([packets, fetched()])
}

/// RFC 9112 §7.1.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(700) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// The same with line feeds alone, as Go's reader takes them.
fn bare(chunks: &[u8]) -> Vec<u8> {
    let mut out = chunks.to_vec();
    let mut at = 0;
    while at + 1 < out.len() {
        if out[at..at + 2] == *b"\r\n" {
            out.remove(at);
        }
        at += 1;
    }
    out
}

#[test]
fn a_pause_hides_no_build() {
    let request = clear();
    let api =
        Conversation::open(address(&format!("{STRANGER}:40000")), address(DAEMON), at(-7_000.0))
            .wait(seconds(7_000))
            .client_sends(&request)
            .wait(seconds(2))
            .server_sends(&built())
            .close();
    check_all(
        &[Case::attack("opened two hours before", merged([api, fetched()]))],
        Case::complaints,
    );
}
