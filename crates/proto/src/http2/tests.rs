use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::looks_like_frames;
use crate::Limits;
use crate::probe::PREFACE;
use crate::testing::{
    DOWN, Feed, Random, UP, down, read, read_at_every_cut, read_midstream, read_with, reader, up,
};

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn settings() -> Vec<u8> {
    frame(4, 0, 0, b"\0\x03\0\0\0\x64")
}

/// `POST`, `http`, a literal path with incremental indexing, a literal authority likewise.
fn request_block(path: &str) -> Vec<u8> {
    let len = u8::try_from(path.len()).unwrap();
    [&[0x83, 0x86, 0x44, len][..], path.as_bytes(), b"\x41\x01h"].concat()
}

fn request(stream: u32, flags: u8, path: &str) -> Vec<u8> {
    frame(1, END_HEADERS | flags, stream, &request_block(path))
}

fn response(stream: u32, flags: u8) -> Vec<u8> {
    frame(1, END_HEADERS | flags, stream, &[0x88])
}

fn client_start() -> Vec<u8> {
    [PREFACE, &settings()].concat()
}

fn assert_lines(found: &[String], wanted: &[&str]) {
    assert_eq!(found, wanted, "\n{}", found.join("\n"));
}

#[test]
fn streams_interleave_and_are_exchanges() {
    let trailers = frame(1, END_HEADERS | END_STREAM, 1, b"\x40\x0bgrpc-status\x010");
    let padded = frame(0, 0x8 | END_STREAM, 1, b"\x03def\0\0\0");
    let lines = read_at_every_cut(&[
        up([client_start(), request(1, 0, "/a"), request(3, END_STREAM, "/b")].concat()),
        down([settings(), frame(4, 1, 0, b""), frame(8, 0, 0, b"\0\0\xff\xff")].concat()),
        up([frame(0, 0, 1, b"abc"), padded].concat()),
        down([frame(1, END_HEADERS, 3, b"\x48\x03103"), response(3, 0)].concat()),
        down([frame(0, 0, 3, b"B"), response(1, 0), frame(0, 0, 1, b"A")].concat()),
        down([frame(0, END_STREAM, 3, b"B"), trailers, frame(7, 0, 0, &[0; 8])].concat()),
    ]);
    assert_lines(
        &lines,
        &[
            "0 > POST /a HTTP/2 host=h",
            "1 > POST /b HTTP/2 host=h",
            "1 > Complete",
            "0 > body abcdef",
            "0 > Complete",
            "1 < HTTP/2 200",
            "1 < body B",
            "0 < HTTP/2 200",
            "0 < body A",
            "1 < body B",
            "1 < Complete",
            "0 < trailers grpc-status=0",
            "0 < Complete",
        ],
    );
}

#[test]
fn continuations_are_joined() {
    let block = request_block("/long/path");
    let lines = read_at_every_cut(&[up([
        client_start(),
        frame(1, 0x20 | 0x8 | END_STREAM, 1, &[b"\x02\0\0\0\0\x10", &block[..3], b"\0\0"].concat()),
        frame(9, 0, 1, &block[3..9]),
        frame(9, 0, 1, b""),
        frame(9, END_HEADERS, 1, &block[9..]),
    ]
    .concat())]);
    assert_eq!(lines, ["0 > POST /long/path HTTP/2 host=h", "0 > Complete"]);
}

#[test]
fn after_an_upgrade_the_preface_says_who_asks() {
    let asked = "POST /session HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let answered = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let lines = read_at_every_cut(&[
        up(asked),
        down([&answered[..], &client_start()].concat()),
        up(settings()),
        down(request(1, END_STREAM, "/moby.filesync.v1.FileSync/DiffCopy")),
        up([response(1, 0), frame(0, END_STREAM, 1, b"x")].concat()),
    ]);
    assert_lines(
        &lines[2..],
        &[
            "0 < HTTP/1.1 101",
            "0 < Complete",
            "0 upgraded H2c",
            "1 > POST /moby.filesync.v1.FileSync/DiffCopy HTTP/2 host=h",
            "1 > Complete",
            "1 < HTTP/2 200",
            "1 < body x",
            "1 < Complete",
        ],
    );
}

#[test]
fn content_coding_is_undone() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"hello").unwrap();
    let body = encoder.finish().unwrap();
    let block = [&request_block("/")[..], b"\x5a\x04gzip"].concat();
    let lines = read_at_every_cut(&[up([
        client_start(),
        frame(1, END_HEADERS, 1, &block),
        frame(0, 0, 1, &body[..5]),
        frame(0, END_STREAM, 1, &body[5..]),
    ]
    .concat())]);
    assert_eq!(lines[1..], ["0 > body hello", "0 > Complete"]);
}

#[test]
fn a_hole_in_data_is_skipped_exactly() {
    let data = frame(0, END_STREAM, 1, b"0123456789");
    let lines = read(&[
        up([&client_start()[..], &request(1, 0, "/a"), &data[..12]].concat()),
        Feed::Gap(UP, 4),
        up([&data[16..], &request(3, END_STREAM, "/b")[..]].concat()),
    ]);
    assert_lines(
        &lines,
        &[
            "0 > POST /a HTTP/2 host=h",
            "0 > body 012",
            "0 > gap 4",
            "0 > body 789",
            "0 > Complete",
            "1 > POST /b HTTP/2 host=h",
            "1 > Complete",
        ],
    );
}

#[test]
fn after_a_hole_in_a_head_only_what_is_known_is_told() {
    let lines = read(&[
        up([client_start(), request(1, END_STREAM, "/a")].concat()),
        Feed::Gap(UP, 50),
        // By then 62 may be another entry.
        up(frame(1, END_HEADERS | END_STREAM, 5, &[0x83, 0x86, 0xbe])),
        up(request(7, END_STREAM, "/c")),
    ]);
    assert_lines(
        &lines,
        &["0 > POST /a HTTP/2 host=h", "0 > Complete", "1 > POST /c HTTP/2 host=h", "1 > Complete"],
    );
}

#[test]
fn joined_in_mid_stream_roles_come_from_the_fields() {
    let lines = read_midstream(&[
        down("the middle of a data frame"),
        up([frame(8, 0, 0, b"\0\0\xff\xff"), frame(6, 0, 0, &[0; 8])].concat()),
        down(response(9, END_STREAM)),
        up(request(11, END_STREAM, "/late")),
        down(response(11, END_STREAM)),
    ]);
    assert_lines(
        &lines,
        &[
            "0 < HTTP/2 200",
            "0 < Complete",
            "1 > POST /late HTTP/2 host=h",
            "1 > Complete",
            "1 < HTTP/2 200",
            "1 < Complete",
        ],
    );
}

#[test]
fn answers_alone_are_exchanges() {
    let upgraded =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let trailers = frame(1, END_HEADERS | END_STREAM, 3, b"\x40\x0bgrpc-status\x010");
    let lines = read_at_every_cut(&[
        down(
            [upgraded.as_bytes(), &settings(), &response(5, END_STREAM), &response(3, 0)].concat(),
        ),
        down([frame(0, 0, 3, b"abc"), trailers].concat()),
    ]);
    assert_lines(
        &lines,
        &[
            "0 < HTTP/1.1 101",
            "0 < Complete",
            "0 upgraded H2c",
            "1 < HTTP/2 200",
            "1 < Complete",
            "2 < HTTP/2 200",
            "2 < body abc",
            "2 < trailers grpc-status=0",
            "2 < Complete",
        ],
    );
}

#[test]
fn answers_under_way_are_read_where_the_capture_begins() {
    let lines = read_midstream(&[
        down([response(9, END_STREAM), frame(0, 0, 3, b"abc")].concat()),
        up([frame(6, 0, 0, &[0; 8]), request(11, END_STREAM, "/a")].concat()),
        down(frame(0, 0, 13, b"no")),
        down(frame(0, END_STREAM, 3, b"d")),
    ]);
    let wanted = [
        "0 < HTTP/2 200",
        "0 < Complete",
        "1 < body abc",
        "2 > POST /a HTTP/2 host=h",
        "2 > Complete",
        "1 < body d",
        "1 < Complete",
    ];
    assert_lines(&lines, &wanted);
}

#[test]
fn requests_alone_are_exchanges() {
    let upgrade = "POST /grpc HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let lines = read(&[up(upgrade), up(client_start()), up(request(1, END_STREAM, "/a"))]);
    assert_lines(
        &lines,
        &[
            "0 > POST /grpc HTTP/1.1 host=-",
            "0 > Complete",
            "0 upgraded H2c",
            "1 > POST /a HTTP/2 host=h",
            "1 > Complete",
        ],
    );
    let served = [settings(), response(1, 0), frame(0, END_STREAM, 1, b"abc")].concat();
    let lines = read(&[up(upgrade), up(served)]);
    assert_eq!(lines[3..], ["1 < HTTP/2 200", "1 < body abc", "1 < Complete"]);
}

#[test]
fn pushed_streams_and_resets() {
    let promise = [&2_u32.to_be_bytes()[..], &request_block("/pushed")].concat();
    let lines = read_at_every_cut(&[
        up([client_start(), request(1, 0, "/a")].concat()),
        down([settings(), frame(5, END_HEADERS, 1, &promise), response(2, END_STREAM)].concat()),
        up(frame(3, 0, 1, &[0, 0, 0, 8])),
        up(frame(0, END_STREAM, 1, b"late")),
        down(response(1, END_STREAM)),
    ]);
    assert_eq!(
        lines,
        ["0 > POST /a HTTP/2 host=h", "0 > Cut", "0 > reset", "0 < HTTP/2 200", "0 < Complete"]
    );
}

#[test]
fn what_no_peer_takes_ends_the_direction() {
    let block = request_block("/");
    for bad in [
        frame(1, END_HEADERS, 0, &block),
        frame(9, END_HEADERS, 1, &block),
        [frame(1, 0, 1, &block), frame(9, END_HEADERS, 3, b"")].concat(),
        [frame(1, 0, 1, &block), frame(1, END_HEADERS, 3, &block)].concat(),
        frame(1, END_HEADERS | 0x8, 1, b"\xff\x82"),
        frame(0, 0x8, 1, b"\x05abc"),
        frame(1, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"),
    ] {
        let lines = read_at_every_cut(&[up([client_start(), bad, request(5, 0, "/no")].concat())]);
        assert_eq!(lines, ["anomaly Http2Malformed"]);
    }
}

#[test]
fn floods_reach_limits() {
    let limits = Limits { header_block_bytes: 4096, streams: 10, resets: 5, ..Limits::default() };
    let mut continuations = [client_start(), frame(1, 0, 1, &request_block("/"))].concat();
    let mut rapid = client_start();
    let mut open = client_start();
    for number in 0..50 {
        continuations.extend(frame(9, 0, 1, &[0; 100]));
        rapid.extend(request(number * 2 + 1, END_STREAM, "/"));
        rapid.extend(frame(3, 0, number * 2 + 1, &[0; 4]));
        open.extend(request(number * 2 + 1, 0, "/"));
    }
    for (flood, events) in [(continuations, 1), (rapid, 151), (open, 101)] {
        let lines = read_with(reader(80, limits), &[up(flood)]);
        let told = lines.iter().filter(|line| *line == "anomaly Http2Limit").count();
        assert_eq!((told, lines.len()), (1, events));
    }
}

#[test]
fn frames_are_told_from_other_bytes() {
    assert!(looks_like_frames(&settings()));
    assert!(looks_like_frames(&request(1, 0, "/")));
    assert!(!looks_like_frames(b"GET / HTTP/1.1\r\n\r\n"));
    assert!(!looks_like_frames(&[0; 64]));
    assert!(!looks_like_frames(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"));
}

#[test]
fn mutated_connections_never_panic() {
    let feeds = [
        up([client_start(), request(1, 0, "/a"), frame(0, 8, 1, b"\x02abc\0\0")].concat()),
        down([settings(), response(1, 0), frame(0, END_STREAM, 1, b"abc")].concat()),
        up([request(3, END_STREAM, "/b"), frame(3, 0, 1, &[0; 4])].concat()),
    ];
    let mut random = Random(9113);
    for _ in 0..5000 {
        let mut mutated = feeds.to_vec();
        for _ in 0..=random.below(5) {
            let index = random.below(mutated.len());
            if let Feed::Data(_, bytes) = &mut mutated[index] {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            if random.below(5) == 0 {
                let way = if random.below(2) == 0 { UP } else { DOWN };
                mutated.insert(index, Feed::Gap(way, random.next() >> random.below(64)));
            }
        }
        read(&mutated);
        read_midstream(&mutated);
    }
}
