//! Sessions inside `Control/Session`, with the inner connection as bytes.

use tw_model::{Direction, Outcome, Transport};
use tw_proto::{BodyEnd, HttpEventKind};

use super::buildkit::{
    COPY, DOWN, GET_SECRET, SOLVE, UP, base, data, end_of_file, field, framed, number, solve, stat,
};
use super::{Conn, Driver};

const SESSION: &str = "/moby.buildkit.v1.Control/Session";
const DOCKERFILE: &str = "FROM alpine:3.18\nRUN wget http://203.0.113.9/k\n";

/// RFC 9113 §4.1.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// RFC 7541 §6.2.2: literals without indexing.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// What daemon and client say inside a session: files, and a secret.
fn inside() -> Vec<(Direction, Vec<u8>)> {
    let ask = |stream, path, extra: &[(&str, &str)]| {
        let grpc = [(":method", "POST"), (":path", path), ("content-type", "application/grpc")];
        frame(1, 4, stream, &block(&[&grpc[..], extra].concat()))
    };
    let packets = [
        stat("Dockerfile", 0x24),
        vec![],
        data(0, DOCKERFILE.as_bytes()),
        end_of_file(0),
        number(1, 3),
    ];
    let files: Vec<u8> = packets.iter().flat_map(|packet| framed(packet)).collect();
    let head = block(&[(":status", "200"), ("content-type", "application/grpc")]);
    let trailers = block(&[("grpc-status", "0")]);
    vec![
        (DOWN, [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[])].concat()),
        (UP, frame(4, 0, 0, &[])),
        (DOWN, ask(1, COPY, &[("dir-name", "dockerfile")])),
        (UP, frame(1, 4, 1, &head)),
        (UP, frame(0, 0, 1, &files)),
        (UP, frame(1, 5, 1, &trailers)),
        (DOWN, ask(3, GET_SECRET, &[])),
        (UP, frame(1, 4, 3, &head)),
        (UP, frame(0, 1, 3, &framed(&field(1, "s3cr3t-value-1")))),
    ]
}

impl Driver {
    fn tunnel(&mut self, conn: Conn, exchange: u64, id: &str) {
        let fields = [("x-docker-expose-session-uuid", id)];
        self.rpc_head(conn, exchange, UP, SESSION, &fields);
        self.rpc_answer_head(conn, exchange, UP);
    }

    fn tunnelled(&mut self, conn: Conn, exchange: u64, way: Direction, bytes: &[u8]) {
        let kind = if way == UP { HttpEventKind::RequestBody } else { HttpEventKind::ResponseBody };
        self.h2(conn, exchange, UP, kind(&framed(&field(1, bytes))));
    }

    fn tunnel_ends(&mut self, conn: Conn, exchange: u64) {
        self.h2(conn, exchange, UP, HttpEventKind::RequestEnd(BodyEnd::Complete));
        self.rpc_end(conn, exchange, UP, "0");
    }
}

fn buildkitd() -> Conn {
    Conn::new(1, "198.51.100.23:40001", "10.10.1.5:1234")
}

#[test]
fn files_come_through_a_session_inside_a_call() {
    for (session_first, piece) in [(false, 10_000), (true, 10_000), (true, 1), (false, 7)] {
        let (mut d, conn) = (Driver::new(), buildkitd());
        let ask = |d: &mut Driver| d.ask(conn, 2, SOLVE, &solve("r", "s1", "t:1", &[]), &[]);
        if !session_first {
            ask(&mut d);
        }
        d.tunnel(conn, if session_first { 1 } else { 3 }, "s1");
        if session_first {
            ask(&mut d);
        }
        for (way, bytes) in inside() {
            for bytes in bytes.chunks(piece) {
                d.tunnelled(conn, if session_first { 1 } else { 3 }, way, bytes);
            }
        }
        d.reply(conn, 2, &[vec![]], "0");
        d.tunnel_ends(conn, if session_first { 1 } else { 3 });
        d.close(conn);
        let build = d.build();
        assert_eq!(build.dockerfile.as_deref(), Some(DOCKERFILE));
        assert_eq!((base(&build), &*build.tags), (vec!["alpine:3.18"], &["t:1".to_owned()][..]));
        assert_eq!(build.urls, ["http://203.0.113.9/k"]);
        assert_eq!((build.transport, build.outcome), (Transport::Grpc, Outcome::Succeeded));
        assert_eq!((build.daemon.port, build.client.to_string()), (1234, "198.51.100.23".into()));
        d.assert_unseen("s3cr3t-value-1");
    }
}

#[test]
fn a_session_alone_tells_of_a_build() {
    let (mut d, conn) = (Driver::new(), buildkitd());
    d.tunnel(conn, 1, "s1");
    for (way, bytes) in inside() {
        d.tunnelled(conn, 1, way, &bytes);
    }
    assert_eq!(d.build().dockerfile.as_deref(), Some(DOCKERFILE));
    d.close(conn);
    assert!(d.build().end_seen || !d.build().caveats.is_empty());
}

#[test]
fn a_hole_costs_what_was_in_it() {
    let (mut d, conn) = (Driver::new(), buildkitd());
    d.ask(conn, 2, SOLVE, &solve("r", "s1", "t:1", &[]), &[]);
    d.tunnel(conn, 3, "s1");
    for (at, (way, bytes)) in inside().into_iter().enumerate() {
        if at == 4 {
            // The end of the message with the files is missing.
            let message = framed(&field(1, &bytes));
            let (seen, lost) = message.split_at(message.len() - 5);
            d.h2(conn, 3, UP, HttpEventKind::RequestBody(seen));
            d.h2(conn, 3, UP, HttpEventKind::RequestGap(lost.len() as u64));
            continue;
        }
        d.tunnelled(conn, 3, way, &bytes);
    }
    d.close(conn);
    assert_eq!(d.build().dockerfile.as_deref(), Some(DOCKERFILE));
    d.assert_unseen("s3cr3t-value-1");
}

#[test]
fn sessions_inside_sessions_are_not_followed_and_all_are_bounded() {
    let (mut d, conn) = (Driver::new(), buildkitd());
    d.tunnel(conn, 1, "s1");
    let fields = [(":method", "POST"), (":path", SESSION), ("content-type", "application/grpc")];
    let nested = frame(1, 4, 1, &block(&fields));
    for (way, bytes) in inside().into_iter().take(2).chain([(DOWN, nested)]) {
        d.tunnelled(conn, 1, way, &bytes);
    }
    for exchange in 2..1000 {
        d.tunnel(conn, exchange, &format!("s{exchange}"));
    }
    assert!(d.api.counters().buildkit_evicted >= 870, "{:?}", d.api.counters());
}

#[test]
fn mutated_sessions_never_panic() {
    for seed in 1..400_u64 {
        let (mut d, conn, mut random) = (Driver::new(), buildkitd(), seed);
        let mut next = |end: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % end).unwrap()
        };
        d.tunnel(conn, 1, "s1");
        for (way, mut bytes) in inside() {
            let at = next(bytes.len() as u64);
            match next(5) {
                0 => bytes[at] ^= 1 << next(8),
                1 => bytes.truncate(at),
                2 => d.h2(conn, 1, UP, HttpEventKind::RequestGap(at as u64)),
                3 => d.h2(conn, 1, UP, HttpEventKind::ResponseGap(1 + at as u64)),
                _ => {}
            }
            d.tunnelled(conn, 1, way, &bytes);
        }
        d.tunnel_ends(conn, 1);
        d.close(conn);
        d.assert_unseen("s3cr3t-value-1");
    }
}
