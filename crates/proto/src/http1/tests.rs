use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use crate::testing::{
    DOWN, Feed, Random, UP, down, read, read_at_every_cut, read_midstream, read_with, reader, up,
};
use crate::{Event, HttpEventKind, Limits};

mod holes;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn response(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut wire = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    wire.extend_from_slice(body);
    wire
}

fn assert_lines(found: &[String], wanted: &[&str]) {
    assert_eq!(found, wanted, "\n{}", found.join("\n"));
}

#[test]
fn pipelined_requests_pair_first_to_first() {
    let lines = read_at_every_cut(&[
        up(
            "GET /a HTTP/1.1\r\nHost: x\r\n\r\nHEAD /b HTTP/1.1\r\nhost:x:80 \r\n\r\n\r\nfrob * HTTP/1.0\n\n",
        ),
        down(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        ),
        down("HTTP/1.0 404\r\n\r\nbye"),
    ]);
    assert_lines(
        &lines,
        &[
            "0 > GET /a HTTP/1.1 host=x",
            "0 > Complete",
            "1 > HEAD /b HTTP/1.1 host=x:80",
            "1 > Complete",
            "2 > frob * HTTP/1.0 host=-",
            "2 > Complete",
            "0 < HTTP/1.1 200",
            "0 < body hi",
            "0 < Complete",
            "1 < HTTP/1.1 200",
            "1 < Complete",
            "2 < HTTP/1.0 404",
            "2 < body bye",
            "2 < Closed",
        ],
    );
}

#[test]
fn continue_is_interim_and_chunks_are_undone() {
    let lines = read_at_every_cut(&[
        up(
            "POST /build?t=x HTTP/1.1\r\nHost: \r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        ),
        down("HTTP/1.1 100 Continue\r\n\r\n"),
        up("3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
        down(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 204 x\r\n\r\n",
        ),
    ]);
    assert_lines(
        &lines,
        &[
            "0 > POST /build?t=x HTTP/1.1 host=",
            "0 > body abc0123456789",
            "0 > Complete",
            "1 > GET / HTTP/1.1 host=-",
            "1 > Complete",
            "0 < HTTP/1.1 200",
            "0 < body ok",
            "0 < Complete",
            "1 < HTTP/1.1 204",
            "1 < Complete",
        ],
    );
}

#[test]
fn an_early_answer_belongs_to_the_unfinished_request() {
    let lines = read(&[
        up("POST /a HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc"),
        down("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"),
        up("defGET /b HTTP/1.1\r\n\r\n"),
    ]);
    assert_lines(
        &lines,
        &[
            "0 > POST /a HTTP/1.1 host=-",
            "0 > body abc",
            "0 < HTTP/1.1 413",
            "0 < Complete",
            "0 > body def",
            "0 > Complete",
            "1 > GET /b HTTP/1.1 host=-",
            "1 > Complete",
        ],
    );
}

#[test]
fn a_body_refused_before_it_was_sent_may_never_come() {
    let lines = read(&[
        up("PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 6\r\n\r\n"),
        down("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"),
        up("PUT /a HTTP/1.1\r\nContent-Length: 6\r\n\r\nabcdef"),
    ]);
    assert_eq!(lines[3..6], ["0 > Cut", "1 > PUT /a HTTP/1.1 host=-", "1 > body abcdef"]);
}

#[test]
fn content_codings_are_undone_at_any_cut() {
    let text = b"a line of a Dockerfile\n".repeat(3);
    let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
    raw.write_all(&text).unwrap();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&text).unwrap();
    let two_members = [gzip(&text[..20]), gzip(&text[20..])].concat();
    let cases = [
        ("gzip", gzip(&text)),
        ("x-gzip", two_members),
        ("deflate", raw.finish().unwrap()),
        ("deflate", zlib.finish().unwrap()),
        ("zstd", zstd::encode_all(&text[..], 3).unwrap()),
        ("deflate, identity, gzip", {
            let mut inner = ZlibEncoder::new(Vec::new(), Compression::default());
            inner.write_all(&text).unwrap();
            gzip(&inner.finish().unwrap())
        }),
        ("gzip", text.clone()),
        ("snappy", text.clone()),
    ];
    let shown = format!("0 < body {}", String::from_utf8_lossy(&text));
    for (coding, body) in cases {
        let lines =
            read_at_every_cut(&[up("GET / HTTP/1.1\r\n\r\n"), down(response(coding, &body))]);
        assert_eq!(lines[3..], [shown.as_str(), "0 < Complete"], "{coding}");
    }
}

#[test]
fn brotli_is_undone() {
    let wire = [
        0x1b, 0x44, 0x00, 0xf8, 0x9d, 0x09, 0x36, 0x4e, 0xa8, 0x17, 0x87, 0xf1, 0x65, 0x18, 0xd1,
        0x5b, 0x81, 0x8c, 0xa5, 0x02, 0x9b, 0x5c, 0x97, 0x99, 0xa5, 0xad, 0xa9, 0x4a, 0x8c, 0x2a,
        0x13, 0x60, 0x42, 0x21, 0xf6, 0xfa, 0x6c, 0x01,
    ];
    let lines = read_at_every_cut(&[up("GET / HTTP/1.1\r\n\r\n"), down(response("br", &wire))]);
    let text = "a line of a Dockerfile\n".repeat(3);
    assert_eq!(lines[3..], [format!("0 < body {text}"), "0 < Complete".to_owned()]);
    // RFC 7932: window 16, one uncompressed meta-block of 5 bytes, then the last, empty one.
    let body = [0x40, 0x00, 0x10, b'h', b'e', b'l', b'l', b'o', 0x03];
    let lines = read_at_every_cut(&[up("GET / HTTP/1.1\r\n\r\n"), down(response("br", &body))]);
    assert_eq!(lines[3..], ["0 < body hello", "0 < Complete"]);
}

#[test]
fn transfer_coding_gzip_inside_chunks_is_undone() {
    let body = gzip(b"hello");
    let mut wire = format!(
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        body.len()
    )
    .into_bytes();
    wire.extend_from_slice(&body);
    wire.extend_from_slice(b"\r\n0\r\n\r\n");
    let lines = read_at_every_cut(&[up(wire)]);
    assert_eq!(lines[1..], ["0 > body hello", "0 > Complete"]);
}

#[test]
fn a_bomb_stops_at_the_limit_and_framing_goes_on() {
    let limits = Limits { decoded_bytes: 4096, decoded_ratio: 4, ..Limits::default() };
    for (coding, bomb) in [
        ("gzip", gzip(&vec![0; 1 << 22])),
        ("zstd", zstd::encode_all(&vec![0; 1 << 22][..], 3).unwrap()),
        ("gzip, gzip", gzip(&gzip(&vec![0; 1 << 22]))),
    ] {
        let mut wire = response(coding, &bomb);
        wire.extend_from_slice(b"HTTP/1.1 204 x\r\n\r\n");
        let lines = read_with(
            reader(80, limits),
            &[up("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"), down(wire)],
        );
        let rest: Vec<_> = lines.iter().filter(|line| !line.contains("body")).collect();
        assert_eq!(
            rest[5..],
            ["anomaly DecompressionLimit", "0 < Cut", "1 < HTTP/1.1 204", "1 < Complete"],
            "{coding}"
        );
    }
}

#[test]
fn corrupt_coding_cuts_the_body_only() {
    let mut body = gzip(&b"0123456789".repeat(10));
    let middle = body.len() / 2;
    body[middle] ^= 0xff;
    body[middle + 1] ^= 0xff;
    let mut wire = response("gzip", &body);
    wire.extend_from_slice(b"HTTP/1.1 204 x\r\n\r\n");
    let lines = read(&[up("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"), down(wire)]);
    assert!(lines.contains(&"0 < Cut".to_owned()), "{lines:?}");
    assert_eq!(lines.last().unwrap(), "1 < Complete");
}

#[test]
fn framings_that_no_server_takes_end_the_direction() {
    for fields in [
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: +1",
        "Transfer-Encoding: chunked, x",
    ] {
        let lines = read_at_every_cut(&[
            up(format!("POST / HTTP/1.1\r\n{fields}\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")),
            down("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"),
        ]);
        assert_lines(
            &lines,
            &[
                "0 > POST / HTTP/1.1 host=-",
                "0 > Cut",
                "anomaly HttpMalformed",
                "0 < HTTP/1.1 400",
                "0 < Complete",
            ],
        );
    }
    let lines = read_at_every_cut(&[up(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabX\r\n",
    )]);
    assert_eq!(lines[1..], ["0 > body ab", "0 > Cut", "anomaly HttpMalformed"]);
}

#[test]
fn a_response_captured_first_is_its_request_s() {
    let lines =
        read(&[down("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), up("GET / HTTP/1.1\r\n\r\n")]);
    assert!(lines[0].starts_with("0 <") && lines[2].starts_with("0 > GET"), "{lines:?}");
    let lines = read_midstream(&[
        down("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        up("GET / HTTP/1.1\r\n\r\n"),
    ]);
    assert!(lines[2].starts_with("1 > GET"), "{lines:?}");
}

#[test]
fn docker_s_hijacked_streams_go_upstream() {
    for (answer, becomes) in [
        ("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", "Tcp"),
        ("HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n", "Tcp"),
        ("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", "Websocket"),
        ("HTTP/1.1 101 x\r\nUpgrade: irc/6\r\n\r\n", "Other"),
    ] {
        let lines = read_at_every_cut(&[
            up("POST /exec/1/start HTTP/1.1\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}early"),
            down(answer),
            down("\x01\0\0\0\0\0\0\x02hi"),
            up(" late"),
        ]);
        assert_eq!(lines[4], "0 < Complete");
        assert_eq!(lines[5], format!("0 upgraded {becomes}"));
        assert_eq!(lines[6], "0 up early");
        assert_eq!(lines[8], "0 up  late");
    }
}

#[test]
fn a_refused_upgrade_leaves_the_connection_http() {
    let lines = read_at_every_cut(&[
        up("GET /0 HTTP/1.1\r\nUpgrade: h2c\r\n\r\nGET /1 HTTP/1.1\r\n\r\n"),
        down("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ]);
    assert_eq!(
        lines[2..],
        ["0 < HTTP/1.1 200", "0 < Complete", "1 > GET /1 HTTP/1.1 host=-", "1 > Complete"]
    );
}

#[test]
fn a_tunnel_is_read_afresh() {
    let lines = read_at_every_cut(&[
        up("CONNECT h.example:80 HTTP/1.1\r\nHost: p\r\n\r\n"),
        down("HTTP/1.1 200 Connection established\r\n\r\n"),
        up("GET /in HTTP/1.1\r\nHost: h.example\r\n\r\n"),
        down("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ]);
    assert_lines(
        &lines,
        &[
            "0 > CONNECT h.example:80 HTTP/1.1 host=p",
            "0 > Complete",
            "0 < HTTP/1.1 200",
            "0 < Complete",
            "0 upgraded Tunnel",
            "tunnel h.example:80 Connect",
            "1 via h.example:80 > GET /in HTTP/1.1 host=h.example",
            "1 via h.example:80 > Complete",
            "1 via h.example:80 < HTTP/1.1 200",
            "1 via h.example:80 < body ok",
            "1 via h.example:80 < Complete",
        ],
    );
}

#[test]
fn without_the_proxy_s_answer_the_tunnel_s_bytes_tell() {
    let lines = read(&[
        up("CONNECT h:80 HTTP/1.1\r\n\r\n"),
        up("GET /in HTTP/1.1\r\n\r\n"),
        Feed::HalfClose(UP),
    ]);
    assert_eq!(lines[3], "tunnel h:80 Connect");
    assert_eq!(lines[4], "1 via h:80 > GET /in HTTP/1.1 host=-");
}

#[test]
fn tunnels_nest_up_to_the_limit() {
    let mut feeds = Vec::new();
    for depth in 0..8 {
        feeds.push(up(format!("CONNECT h{depth}:1 HTTP/1.1\r\n\r\n")));
        feeds.push(down("HTTP/1.1 200 x\r\n\r\n"));
    }
    let lines = read(&feeds);
    assert_eq!(lines.iter().filter(|line| line.starts_with("tunnel")).count(), 4);
    assert_eq!(lines.last().unwrap(), "anomaly NestingLimit");
}

#[test]
fn fields_beyond_the_limit_are_dropped_but_not_those_that_frame() {
    let mut wire = b"POST / HTTP/1.1\r\n".to_vec();
    for number in 0..5000 {
        wire.extend_from_slice(format!("X-{number}: {}\r\n", "y".repeat(40)).as_bytes());
    }
    wire.extend_from_slice(b"Content-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\n\r\n");
    let mut headers = 0;
    let mut reader = reader(80, Limits::default());
    let mut told = Vec::new();
    reader.data(UP, &wire, &mut |event| {
        if let Event::Http(http) = &event
            && let HttpEventKind::RequestHead(head) = http.kind
        {
            headers = headers.max(head.headers.len());
        }
        told.push(format!("{event:?}").chars().take(30).collect::<String>());
    });
    assert!((900..=1001).contains(&headers), "{headers}");
    assert_eq!(told.iter().filter(|event| event.contains("HttpLimit")).count(), 1);
    assert_eq!(told.len(), 6);
}

#[test]
fn a_request_line_beyond_the_limit_ends_the_direction() {
    let limits = Limits { request_line_bytes: 100, ..Limits::default() };
    let line = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(200));
    for cut in [1, 50, 150] {
        let (head, tail) = line.split_at(cut);
        let lines =
            read_with(reader(80, limits), &[up("GET / HTTP/1.1\r\n\r\n"), up(head), up(tail)]);
        assert_eq!(lines[2..], ["anomaly HttpLimit"], "cut at {cut}");
    }
}

/// Docker's server takes a megabyte.
#[test]
fn a_long_request_line_is_read_however_it_comes() {
    let line = format!("POST /build?x={} HTTP/1.1\r\n\r\n", "x".repeat(1_000_000));
    for segment in [1448, 65_536, line.len()] {
        let mut targets = 0;
        let mut reader = reader(2375, Limits::default());
        for part in line.as_bytes().chunks(segment) {
            reader.data(UP, part, &mut |event| {
                if let Event::Http(http) = event
                    && let HttpEventKind::RequestHead(head) = http.kind
                {
                    assert_eq!(head.target.len(), 1_000_009);
                    targets += 1;
                }
            });
        }
        assert_eq!(targets, 1, "in segments of {segment}");
    }
}

#[test]
fn folded_fields_and_odd_spacing() {
    let mut host = None;
    let mut seen = None;
    let wire =
        b"GET http://u:p@a.example:8080/x?y HTTP/1.1\r\nnocolon\r\nX-Long : a\r\n\tb\r\n c\r\n\r\n";
    reader(80, Limits::default()).data(UP, wire, &mut |event| {
        if let Event::Http(http) = event
            && let HttpEventKind::RequestHead(head) = http.kind
        {
            host = head.authority.clone();
            seen = head.header("x-long").map(str::to_owned);
        }
    });
    assert_eq!(host.as_deref(), Some("a.example:8080"));
    assert_eq!(seen.as_deref(), Some("a b c"));
}

#[test]
fn mutated_traffic_never_panics() {
    let body = gzip(&b"0123456789".repeat(20));
    let mut coded = response("gzip", &body);
    coded.extend_from_slice(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    let feeds = [
        up(
            "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nCONNECT h:1 HTTP/1.1\r\n\r\n",
        ),
        down(coded),
        down("HTTP/1.1 101 x\r\nUpgrade: tcp\r\n\r\nxx"),
        up("GET /in HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc"),
    ];
    let mut random = Random(0x7469_6465);
    for _ in 0..4000 {
        let mut mutated = feeds.to_vec();
        for _ in 0..=random.below(4) {
            let index = random.below(mutated.len());
            if let Feed::Data(_, bytes) = &mut mutated[index] {
                let at = random.below(bytes.len());
                match random.below(4) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, b"\r\n\0:0"[random.below(5)]),
                    2 => drop(bytes.drain(..at)),
                    _ if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
                    _ => {}
                }
            }
            if random.below(6) == 0 {
                let len = random.next() >> random.below(64);
                mutated
                    .insert(index, Feed::Gap(if len.is_multiple_of(2) { UP } else { DOWN }, len));
            }
        }
        read(&mutated);
        read_midstream(&mutated);
    }
}

/// Feeds everything in pieces of `size` bytes, but only counts pieces that lie in a plain body.
fn read_unread(feeds: &[Feed], size: usize) -> (Vec<String>, u64) {
    let mut reader = reader(2375, Limits::default());
    let mut lines = Vec::new();
    let mut spared = 0;
    for feed in feeds {
        let Feed::Data(direction, bytes) = feed else { continue };
        for piece in bytes.chunks(size) {
            let len = u64::try_from(piece.len()).unwrap();
            let plain = reader.plain_body(*direction).is_some_and(|(_, left)| left >= len);
            let mut each = |event: Event<'_>| {
                if let Event::Http(http) = event {
                    match http.kind {
                        HttpEventKind::RequestUnread(len) | HttpEventKind::ResponseUnread(len) => {
                            spared += len;
                        }
                        HttpEventKind::RequestBody(_) | HttpEventKind::ResponseBody(_) => {}
                        kind => lines.push(format!("{} {kind:?}", http.exchange)),
                    }
                }
            };
            if plain {
                reader.unread(*direction, len, &mut each);
            } else {
                reader.data(*direction, piece, &mut each);
            }
        }
    }
    (lines, spared)
}

#[test]
fn bodies_that_are_only_counted_end_where_they_would_have() {
    let body = "x".repeat(300);
    let feeds = [
        up(format!("POST /a HTTP/1.1\r\nContent-Length: 300\r\n\r\n{body}")),
        down(format!("HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n{body}")),
        up("GET /b HTTP/1.1\r\n\r\n"),
        down(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n12c\r\n{body}\r\n12c\r\n{body}\r\n0\r\n\r\n"
        )),
        up("GET /c HTTP/1.1\r\n\r\n"),
        down(format!("HTTP/1.1 200 OK\r\n\r\n{body}")),
    ];
    let (all, none) = read_unread(&feeds, usize::MAX);
    assert_eq!(none, 0);
    for size in [1, 7, 64, 100] {
        let (lines, spared) = read_unread(&feeds, size);
        assert_eq!(lines, all, "pieces of {size}");
        assert!(spared > 600, "pieces of {size} spared {spared}");
    }
}

#[test]
fn coded_bodies_are_not_plain() {
    let mut reader = reader(2375, Limits::default());
    let wire = response("gzip", &gzip(&[b'x'; 40_000]));
    let (head, _) = wire.split_at(wire.len() - 10);
    reader.data(DOWN, head, &mut |_| {});
    assert_eq!(reader.plain_body(DOWN), None);
}

#[test]
fn a_cut_session_becomes_http2() {
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    let lines = read(&[
        up("POST /session HTTP/1.1\r\nHost: h"),
        Feed::Gap(UP, 300),
        down("HTTP/1.1 101 Switching Proto"),
        Feed::Gap(DOWN, 6),
        down("Connection"),
        down(": Upgrade\r\n\r\n"),
        down([crate::probe::PREFACE, settings].concat()),
        down(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01h"),
    ]);
    assert!(lines.contains(&"0 upgraded H2c".to_owned()), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("1 > GET / HTTP/2")), "{lines:?}");
}
