use tw_model::{AppProtocol, FlowId, Protocol};

use super::Reader;
use crate::Limits;
use crate::testing::{DOWN, Random, UP, down, endpoint, read, read_midstream, reader, up};

fn tcp() -> Reader {
    reader(2375, Limits::default())
}

#[test]
fn an_idle_reader_is_small() {
    assert!(size_of::<Reader>() <= 320, "{}", size_of::<Reader>());
}

#[test]
fn unknown_protocols_are_given_up_after_the_probe() {
    let mut reader = tcp();
    for direction in [UP, DOWN] {
        assert!(reader.wants_more());
        reader.data(direction, &[0x80; 5000], &mut |_| panic!("nothing to tell"));
    }
    assert!(!reader.wants_more());
    let mut joined = tcp();
    joined.joined_midstream();
    for direction in [UP, DOWN] {
        joined.data(direction, &[0x80; 5000], &mut |_| panic!("nothing to tell"));
    }
    assert!(joined.wants_more());
}

#[test]
fn protocols_are_named() {
    for (first, app, more) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], AppProtocol::Http, true),
        (b"SSH-2.0-OpenSSH_9\r\n", AppProtocol::Ssh, false),
        (b"\x05\x01\0", AppProtocol::Socks, true),
    ] {
        let mut reader = tcp();
        reader.data(DOWN, first, &mut |_| {});
        assert_eq!((reader.app(), reader.wants_more()), (Some(app), more));
    }
}

#[test]
fn the_client_is_who_sends_requests() {
    let mut reader = tcp();
    reader.data(UP, b"HTTP/1.1 200 OK\r\n", &mut |_| {});
    assert_eq!(reader.client_direction(), Some(DOWN));
}

#[test]
fn other_protocols_with_similar_lines_are_none_of_ours() {
    let lines = read(&[
        up("OPTIONS rtsp://x RTSP/1.0\r\nCSeq: 1\r\n\r\n"),
        down("RTSP/1.0 200 OK\r\n\r\n"),
        up("REGISTER sip:x SIP/2.0\r\n\r\n"),
        up("REQMOD icap://x/y ICAP/1.0\r\n\r\n"),
    ]);
    assert!(lines.is_empty(), "{lines:?}");
}

#[test]
fn on_udp_http_is_none() {
    let of = |port| {
        Reader::new(
            FlowId(1),
            endpoint(1, 5000),
            endpoint(2, port),
            Protocol::UDP,
            Limits::default(),
        )
    };
    assert!(of(53).wants_more());
    let mut ssdp = of(1900);
    ssdp.datagram(UP, b"M-SEARCH * HTTP/1.1\r\n\r\n", 0, &mut |_| panic!("not HTTP"));
}

#[test]
fn noise_never_panics_and_tells_nothing_whole() {
    let mut random = Random(0xfeed);
    let words: [&[u8]; 14] = [
        b"GET / HTTP/1.1\r\n",
        b"\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"\x16\x03\x01\x00\x20\x01\0\0\x1c",
        b"\x05\x01\0",
        b"\x05\0",
        b"Transfer-Encoding: chunked\r\n",
        b"5\r\n",
        b"SSH-",
        b"\n",
        b"Content-Encoding: br\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        b"\x04\x01\0\x50\x01\x02\x03\x04\0",
        b"Upgrade: h2c\r\n",
    ];
    for _ in 0..3000 {
        let feeds: Vec<_> = (0..random.below(12))
            .map(|_| {
                let bytes: Vec<u8> = (0..1 + random.below(5))
                    .flat_map(|_| words[random.below(14)].to_vec())
                    .collect();
                if random.below(2) == 0 { up(bytes) } else { down(bytes) }
            })
            .collect();
        read(&feeds);
        read_midstream(&feeds);
    }
}

#[test]
fn what_only_began_like_socks_is_not_taken_for_it_again() {
    let input: &[u8] = b"\x04\x02\0\x02\0\0\0\0\0\0\0\0";
    for size in 1..=input.len() {
        for joined in [false, true] {
            let mut reader = tcp();
            if joined {
                reader.joined_midstream();
            }
            for direction in [UP, DOWN, UP] {
                for piece in input.chunks(size) {
                    reader.data(direction, piece, &mut |_| {});
                }
            }
            reader.close(&mut |_| {});
        }
    }
}
