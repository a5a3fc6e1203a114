mod decryption;

use super::hello::{ClientHello, ServerHello};
use crate::Limits;
use crate::testing::{
    DOWN, Feed, Random, UP, down, read, read_at_every_cut, read_with, reader, up,
};

fn with_len16(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&len[..], bytes].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &with_len16(data)].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &len[1..], body].concat()
}

fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[22, 3, 1][..], &with_len16(part)].concat();
    message.chunks(size).flat_map(record).collect()
}

fn client_hello() -> Vec<u8> {
    let name = b"Example.com";
    let sni = with_len16(&[&[0][..], &with_len16(name)].concat());
    let extensions = [
        extension(0x2a2a, &[]),
        extension(0, &sni),
        extension(16, &with_len16(b"\x02h2\x08http/1.1")),
        extension(13, &with_len16(&[4, 3, 8, 4])),
        extension(43, &[4, 0x03, 0x04, 0x03, 0x03]),
    ]
    .concat();
    let body = [
        &[3, 3][..],
        &[0x55; 32],
        &[0],
        &with_len16(&[0x0a, 0x0a, 0x13, 0x01, 0xc0, 0x2b]),
        &[1, 0],
        &with_len16(&extensions),
    ]
    .concat();
    message(1, &body)
}

fn server_hello(version: Option<u16>) -> Vec<u8> {
    let chosen = version.map(|version| extension(43, &version.to_be_bytes()));
    let body =
        [&[3, 3][..], &[0x66; 32], &[0, 0x13, 0x01, 0], &with_len16(&chosen.unwrap_or_default())]
            .concat();
    message(2, &body)
}

/// Part b and c by `printf '1301,c02b' | sha256sum` and `printf '000d,002b_0403,0804' | sha256sum`.
const TOLD: &str =
    "tls 192.0.2.1:40000 -> 192.0.2.2:2375 Example.com TLS 1.3 [\"h2\", \"http/1.1\"] t13d0204h2_";

#[test]
fn hellos_split_over_records_and_segments_are_joined() {
    for size in [1, 7, 64, 16_000] {
        let lines = read_at_every_cut(&[
            up(records(&client_hello(), size)),
            down(records(&server_hello(Some(0x0304)), size)),
            up("\x14\x03\x03\0\x01\x01"),
        ]);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with(TOLD), "{}", lines[0]);
    }
}

#[test]
fn a_hello_without_an_answer_has_no_version() {
    let hello = records(&client_hello(), 1000);
    for feeds in [
        vec![up(&hello)],
        vec![up(&hello), down("\x15\x03\x01\0\x02\x02\x28")],
        vec![up(&hello), down("nonsense")],
        vec![up(&hello), Feed::Gap(DOWN, 100)],
        vec![up(&hello), Feed::HalfClose(DOWN)],
        vec![Feed::HalfClose(DOWN), up(&hello)],
    ] {
        let lines = read(&feeds);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("Example.com - ["), "{}", lines[0]);
    }
}

#[test]
fn a_hello_with_a_hole_is_not_told() {
    let hello = records(&client_hello(), 1000);
    let (head, tail) = hello.split_at(60);
    assert!(read(&[up(head), Feed::Gap(UP, 3), up(&tail[3..])]).is_empty());
}

#[test]
fn only_the_first_hello_is_told() {
    let hello = records(&client_hello(), 1000);
    let answer = records(&server_hello(None), 1000);
    let lines = read(&[up(&hello), down(&answer), up(&hello), down(&answer)]);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("TLS 1.2"));
    let mut reader = reader(443, Limits::default());
    reader.data(UP, &hello, &mut |_| {});
    assert!(reader.wants_more());
    assert_eq!(reader.client_direction(), Some(UP));
    reader.data(DOWN, &answer, &mut |_| {});
    assert!(!reader.wants_more());
}

#[test]
fn tls_inside_a_connect_tunnel_is_told() {
    let lines = read_at_every_cut(&[
        up("CONNECT x:443 HTTP/1.1\r\n\r\n"),
        down("HTTP/1.1 200 OK\r\n\r\n"),
        up(records(&client_hello(), 100)),
        down(records(&server_hello(None), 100)),
    ]);
    assert_eq!(lines[5], "tunnel x:443 Connect");
    assert!(lines[6].starts_with("tls ") && lines[6].contains("TLS 1.2"), "{lines:?}");
}

#[test]
fn tls_after_starttls_is_told() {
    let lines = read(&[
        down("220 mail ESMTP\r\n"),
        up("EHLO x\r\n"),
        down("250-STARTTLS\r\n"),
        up("STARTTLS\r\n"),
        down("220 go\r\n"),
        up(records(&client_hello(), 1000)),
        down(records(&server_hello(None), 1000)),
    ]);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("Example.com TLS 1.2"));
}

#[test]
fn tls_after_starttls_is_told_in_any_order_and_in_any_pieces() {
    let (client, server) = (records(&client_hello(), 1000), records(&server_hello(None), 1000));
    let talk = [down("220 mail ESMTP\r\n"), up("STARTTLS\r\n"), down("220 go\r\n")];
    let plain = read(&[&talk[..], &[up(&client), down(&server)]].concat());
    assert!(plain[0].contains("Example.com TLS 1.2"), "{plain:?}");
    assert_eq!(read(&[&talk[..], &[down(&server), up(&client)]].concat()), plain);
    for size in 1..8 {
        let pieces = client.chunks(size).map(up).chain([down(&server)]);
        let feeds: Vec<_> = talk.iter().cloned().chain(pieces).collect();
        assert_eq!(read(&feeds), plain, "pieces of {size}");
    }
}

#[test]
fn a_hello_over_the_limit_is_malformed() {
    let limits = Limits { hello_bytes: 64, ..Limits::default() };
    let lines = read_with(reader(443, limits), &[up(records(&client_hello(), 1000))]);
    assert_eq!(lines, ["anomaly TlsMalformed"]);
}

#[test]
fn truncated_hellos_do_not_parse_or_parse_without_extensions() {
    let hello = client_hello();
    let body = &hello[4..];
    for len in 0..body.len() {
        let parsed = ClientHello::parse(&body[..len]);
        assert!(parsed.is_none_or(|hello| hello.extensions().is_empty()), "{len}");
    }
    assert!(ServerHello::parse(&[3, 3]).is_none());
}

#[test]
fn mutated_hellos_never_panic() {
    let mut random = Random(99);
    for _ in 0..4000 {
        let mut hello = records(&client_hello(), 1 + random.below(300));
        for _ in 0..=random.below(5) {
            let at = random.below(hello.len());
            hello[at] ^= 1 << random.below(8);
        }
        read(&[up(&hello), down(records(&server_hello(Some(0x7f1c)), 20))]);
    }
}
