//! Builds over gRPC, by hand-encoded messages.

use tw_model::{Build, Caveat, Direction, Frontend, Outcome, Transport};
use tw_proto::{BodyEnd, Extent, HttpEvent, HttpEventKind, HttpVersion, RequestHead, ResponseHead};

use super::{Conn, DAEMON, Driver, headers};
use crate::Limits;

pub(super) const SOLVE: &str = "/moby.buildkit.v1.Control/Solve";
const STATUS: &str = "/moby.buildkit.v1.Control/Status";
const BRIDGE: &str = "/moby.buildkit.v1.frontend.LLBBridge/Solve";
const RETURN: &str = "/moby.buildkit.v1.frontend.LLBBridge/Return";
pub(super) const COPY: &str = "/moby.filesync.v1.FileSync/DiffCopy";
pub(super) const GET_SECRET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
const CREDENTIALS: &str = "/moby.filesync.v1.Auth/Credentials";
const IMAGE: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Protocol Buffers: a `LEN` field.
pub(super) fn field(number: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let mut out = vec![number << 3 | 2];
    let mut len = value.len();
    while len >= 0x80 {
        out.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
        len >>= 7;
    }
    out.push(u8::try_from(len).unwrap());
    out.extend_from_slice(value);
    out
}

/// A small `VARINT` field.
pub(super) fn number(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

fn entry(key: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    [field(1, key), field(2, value)].concat()
}

pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &len[..], message].concat()
}

pub(super) fn solve(
    reference: &str,
    session: &str,
    name: &str,
    attributes: &[(&str, &str)],
) -> Vec<u8> {
    let mut message = [field(1, reference), field(3, "moby")].concat();
    message.extend(field(4, entry("name", name)));
    message.extend(field(5, session));
    for (key, value) in attributes {
        message.extend(field(7, entry(key, value)));
    }
    message.extend(field(13, [field(1, "moby"), field(2, entry("name", name))].concat()));
    message
}

fn probe(reference: &str, session: &str) -> Vec<u8> {
    [field(1, reference), field(5, session), field(8, ""), number(11, 1)].concat()
}

/// `StatusResponse` with vertices of these names.
fn vertices(names: &[&str]) -> Vec<u8> {
    names.iter().flat_map(|name| field(1, [field(1, IMAGE), field(3, name)].concat())).collect()
}

fn statuses(ids: &[&str]) -> Vec<u8> {
    ids.iter().flat_map(|id| field(2, [field(1, id), field(2, IMAGE)].concat())).collect()
}

pub(super) fn stat(path: &str, mode: u8) -> Vec<u8> {
    field(2, [field(1, path), number(2, mode)].concat())
}

pub(super) fn data(id: u8, bytes: &[u8]) -> Vec<u8> {
    [number(1, 2), number(3, id), field(4, bytes)].concat()
}

pub(super) fn end_of_file(id: u8) -> Vec<u8> {
    [number(1, 2), number(3, id)].concat()
}

impl Driver {
    pub(super) fn h2(
        &mut self,
        conn: Conn,
        exchange: u64,
        way: Direction,
        kind: HttpEventKind<'_>,
    ) {
        let at = self.at();
        let event =
            HttpEvent { exchange, request_direction: way, via: None, decrypted: false, kind };
        let seen = &mut self.seen;
        self.api.http(&conn.0, &event, at, &mut |observation| seen.push(observation));
    }

    pub(super) fn rpc_head(
        &mut self,
        conn: Conn,
        exchange: u64,
        way: Direction,
        path: &str,
        extra: &[(&str, &str)],
    ) {
        let mut fields = headers(&[("content-type", "application/grpc")]);
        fields.extend(headers(extra));
        let head = RequestHead {
            method: "POST".into(),
            target: path.into(),
            version: HttpVersion::Http2,
            authority: Some("localhost".into()),
            headers: fields,
            extent: Extent::Whole,
        };
        self.h2(conn, exchange, way, HttpEventKind::RequestHead(&head));
    }

    pub(super) fn rpc_answer_head(&mut self, conn: Conn, exchange: u64, way: Direction) {
        let fields = headers(&[("content-type", "application/grpc")]);
        let head = ResponseHead {
            status: 200,
            version: HttpVersion::Http2,
            headers: fields,
            extent: Extent::Whole,
        };
        self.h2(conn, exchange, way, HttpEventKind::ResponseHead(&head));
    }

    fn rpc_message(&mut self, conn: Conn, exchange: u64, way: Direction, message: &[u8]) {
        self.h2(conn, exchange, way, HttpEventKind::ResponseBody(&framed(message)));
    }

    pub(super) fn rpc_end(&mut self, conn: Conn, exchange: u64, way: Direction, status: &str) {
        let trailers = headers(&[("grpc-status", status)]);
        self.h2(conn, exchange, way, HttpEventKind::ResponseTrailers(&trailers));
        self.h2(conn, exchange, way, HttpEventKind::ResponseEnd(BodyEnd::Complete));
    }

    /// A call to the daemon, up to the end of its request.
    pub(super) fn ask(
        &mut self,
        conn: Conn,
        exchange: u64,
        path: &str,
        message: &[u8],
        extra: &[(&str, &str)],
    ) {
        self.rpc_head(conn, exchange, UP, path, extra);
        self.h2(conn, exchange, UP, HttpEventKind::RequestBody(&framed(message)));
        self.h2(conn, exchange, UP, HttpEventKind::RequestEnd(BodyEnd::Complete));
    }

    pub(super) fn reply(&mut self, conn: Conn, exchange: u64, messages: &[Vec<u8>], status: &str) {
        self.rpc_answer_head(conn, exchange, UP);
        for message in messages {
            self.rpc_message(conn, exchange, UP, message);
        }
        self.rpc_end(conn, exchange, UP, status);
    }

    fn upgrade(&mut self, conn: Conn, path: &str, extra: &[(&str, &str)]) {
        let mut fields = vec![("user-agent", "moby-client/v0.5.0 linux/amd64"), ("upgrade", "h2c")];
        fields.extend(extra);
        self.request(conn, 0, &format!("POST {path}"), &fields, b"");
        self.answer(conn, 0, 101, &[("upgrade", "h2c")], "");
    }

    fn session(&mut self, conn: Conn, id: &str) {
        let fields = [
            ("x-docker-expose-session-uuid", id),
            ("x-docker-expose-session-grpc-method", COPY),
            ("x-docker-expose-session-grpc-method", GET_SECRET),
        ];
        self.upgrade(conn, "/session", &fields);
    }

    /// The daemon copies a folder through a session.
    fn copy(&mut self, conn: Conn, exchange: u64, folder: &str, packets: &[Vec<u8>]) {
        self.rpc_head(conn, exchange, DOWN, COPY, &[("dir-name", folder)]);
        self.rpc_answer_head(conn, exchange, DOWN);
        for packet in packets {
            self.rpc_message(conn, exchange, DOWN, packet);
        }
        self.rpc_message(conn, exchange, DOWN, &number(1, 3));
        self.rpc_end(conn, exchange, DOWN, "0");
    }

    pub(super) fn assert_unseen(&self, secret: &str) {
        let leak = self.seen.iter().find(|seen| format!("{seen:?}").contains(secret));
        assert!(leak.is_none(), "{leak:?}");
    }

    fn dockerfile(&mut self, conn: Conn, exchange: u64, text: &str) {
        let (start, rest) = text.as_bytes().split_at(text.len() / 2);
        let packets =
            [stat("Dockerfile", 0x24), vec![], data(0, start), data(0, rest), end_of_file(0)];
        self.copy(conn, exchange, "dockerfile", &packets);
    }
}

pub(super) const UP: Direction = Direction::ToResponder;
pub(super) const DOWN: Direction = Direction::ToOpener;

pub(super) fn base(build: &Build) -> Vec<&str> {
    build.base_images.iter().map(String::as_str).collect()
}

#[test]
fn a_build_of_several_connections_is_one() {
    let (mut d, grpc, session) = (Driver::new(), Conn::docker(1), Conn::docker(2));
    d.upgrade(grpc, "/grpc", &[]);
    d.ask(grpc, 1, STATUS, &field(1, "probe"), &[]);
    d.ask(grpc, 2, SOLVE, &probe("probe", "s0"), &[]);
    d.ask(grpc, 3, RETURN, &field(1, field(3, "")), &[("buildkit-controlapi-buildid", "probe")]);
    d.reply(grpc, 3, &[vec![]], "0");
    d.reply(grpc, 2, &[vec![]], "0");
    assert!(d.builds().is_empty(), "a capability probe is no build");

    let attributes = [
        ("filename", "Dockerfile"),
        ("platform", "linux/amd64"),
        ("force-network-mode", "host"),
        ("build-arg:SRC", "http://203.0.113.7/x"),
        ("build-arg:API_TOKEN", "hunter2hunter2"),
    ];
    d.ask(grpc, 4, STATUS, &field(1, "r1"), &[]);
    d.ask(grpc, 5, SOLVE, &solve("r1", "s1", "a:1,b/c:2", &attributes), &[]);
    let early = d.build();
    assert_eq!(early.tags, ["a:1", "b/c:2"], "told before anything is answered");
    d.session(session, "s1");
    d.dockerfile(session, 1, "FROM alpine:3.18\nARG SRC\nRUN wget $SRC\n");
    let context = [stat("app/run.sh", 0x6d), stat("x.elf", 0x24), vec![]];
    let context = [&context[..], &[data(1, b"\x7fELF1234"), end_of_file(1)]].concat();
    d.copy(session, 2, "context", &context);
    d.rpc_answer_head(grpc, 4, UP);
    d.rpc_message(grpc, 4, UP, &vertices(&["[internal] load .dockerignore"]));
    let names = [
        "[1/2] FROM docker.io/library/alpine:3.18@sha256:1",
        "[2/2] RUN wget http://203.0.113.7/x",
    ];
    d.rpc_message(grpc, 4, UP, &vertices(&names));
    let done = [format!("writing image {IMAGE}"), "naming to docker.io/library/a:1".into()];
    d.rpc_message(grpc, 4, UP, &statuses(&[&done[0], &done[1]]));
    d.reply(grpc, 5, &[field(1, entry("containerimage.digest", IMAGE))], "0");
    d.rpc_end(grpc, 4, UP, "0");
    d.close(session);
    d.close(grpc);

    let build = d.build();
    assert_eq!(build.id, early.id);
    assert_eq!((build.frontend, build.transport), (Frontend::Buildkit, Transport::Grpc));
    assert_eq!(build.tags, ["a:1", "b/c:2"]);
    assert_eq!(base(&build), ["alpine:3.18"]);
    assert_eq!(build.dockerfile.as_deref(), Some("FROM alpine:3.18\nARG SRC\nRUN wget $SRC\n"));
    assert_eq!(build.steps[1], "RUN wget http://203.0.113.7/x");
    assert_eq!(build.urls, ["http://203.0.113.7/x"]);
    assert_eq!(build.platform.as_deref(), Some("linux/amd64"));
    assert_eq!(build.network_mode.as_deref(), Some("host"));
    assert_eq!(build.image_id.as_deref(), Some(IMAGE));
    assert_eq!((build.outcome, build.end_seen), (Outcome::Succeeded, true));
    assert_eq!(build.caveats, []);
    let context = build.context.as_ref().expect("a context");
    assert_eq!((context.files, context.bytes), (2, 8));
    assert_eq!(context.names, ["app/run.sh", "x.elf"]);
    assert_eq!(context.executables, ["x.elf"]);
    assert_eq!(build.calls.len(), 2, "Solve and the session");
    assert_eq!(build.build_args["SRC"], "http://203.0.113.7/x");
    assert!(build.build_args["API_TOKEN"].starts_with("<redacted:"));
    d.assert_unseen("hunter2hunter2");
}

#[test]
fn concurrent_builds_stay_apart() {
    let mut d = Driver::new();
    let other = Conn::new(9, "10.10.2.20:40009", "10.10.1.5:2375");
    let (one, two) = (Conn::docker(1), Conn::docker(2));
    d.ask(one, 1, SOLVE, &solve("r1", "s1", "one", &[]), &[]);
    d.ask(one, 2, SOLVE, &solve("r2", "s2", "two", &[]), &[]);
    d.ask(other, 1, SOLVE, &solve("r3", "s3", "three", &[]), &[]);
    let sessions = [(two, "s2", "b"), (Conn::docker(3), "s1", "a"), (Conn(other.0), "s3", "c")];
    for (at, (conn, id, image)) in sessions.into_iter().enumerate() {
        let mut conn = conn;
        conn.0.flow = tw_model::FlowId(20 + u64::try_from(at).unwrap());
        d.session(conn, id);
        d.dockerfile(conn, 1, &format!("FROM {image}:1\n"));
    }
    d.reply(one, 2, &[], "2");
    d.reply(one, 1, &[], "0");
    d.close(other);
    d.close(one);
    let told: Vec<_> = d
        .builds()
        .iter()
        .map(|b| (b.tags[0].clone(), b.base_images[0].clone(), b.outcome))
        .collect();
    // Of the third no answer was ever seen, so that its connection's end says nothing.
    let wanted = [
        ("one", "a:1", Outcome::Succeeded),
        ("two", "b:1", Outcome::Failed),
        ("three", "c:1", Outcome::Unknown),
    ];
    let wanted = wanted.map(|(tag, image, outcome)| (tag.to_owned(), image.to_owned(), outcome));
    assert_eq!(told, wanted);
}

#[test]
fn a_client_that_goes_away_cancels() {
    for reset in [false, true] {
        let (mut d, grpc) = (Driver::new(), Conn::docker(1));
        d.ask(grpc, 1, STATUS, &field(1, "r"), &[]);
        d.ask(grpc, 2, SOLVE, &solve("r", "s", "t", &[]), &[]);
        d.rpc_answer_head(grpc, 1, UP);
        d.rpc_message(grpc, 1, UP, &vertices(&["[1/1] FROM docker.io/library/alpine"]));
        if reset {
            d.h2(grpc, 2, UP, HttpEventKind::Reset(UP));
            assert_eq!(d.build().outcome, Outcome::Canceled);
        }
        d.close(grpc);
        let build = d.build();
        assert_eq!((build.outcome, build.end_seen), (Outcome::Canceled, true));
        assert_eq!(base(&build), ["docker.io/library/alpine"]);
    }
}

#[test]
fn a_look_into_a_remote_context_is_part_of_the_build() {
    let (mut d, grpc) = (Driver::new(), Conn::docker(1));
    let git = "git://203.0.113.9/o/a.git#main";
    d.ask(grpc, 1, SOLVE, &probe("r0", "s0"), &[]);
    let source = field(
        3,
        [field(1, git), field(2, entry("git.fullurl", "git://203.0.113.9/o/a.git"))].concat(),
    );
    let look = field(1, field(1, source));
    d.ask(grpc, 2, BRIDGE, &look, &[("buildkit-controlapi-buildid", "r0")]);
    let early = d.build();
    assert_eq!(early.remote.as_deref(), Some(git));
    d.reply(grpc, 1, &[vec![]], "0");
    assert!(!d.build().end_seen, "the build goes on");
    d.ask(grpc, 3, SOLVE, &solve("r1", "s1", "t:1", &[("context", git)]), &[]);
    d.reply(grpc, 3, &[field(1, entry("containerimage.digest", IMAGE))], "0");
    d.close(grpc);
    let build = d.build();
    assert_eq!((build.id, build.started), (early.id, early.started));
    assert_eq!((build.tags, build.outcome), (vec!["t:1".to_owned()], Outcome::Succeeded));
    assert_eq!(build.urls, [git]);
}

#[test]
fn a_look_that_no_build_follows_ends_with_its_connection() {
    let (mut d, grpc) = (Driver::new(), Conn::docker(1));
    d.ask(grpc, 1, SOLVE, &probe("r0", "s0"), &[]);
    let source = field(1, field(1, field(3, field(1, "https://203.0.113.9/a.tgz"))));
    d.ask(grpc, 2, BRIDGE, &source, &[("buildkit-controlapi-buildid", "r0")]);
    d.reply(grpc, 1, &[vec![]], "0");
    d.close(grpc);
    assert_eq!(d.build().urls, ["https://203.0.113.9/a.tgz"]);
    assert!(d.build().end_seen);
}

#[test]
fn a_graph_without_a_frontend_is_a_build() {
    let (mut d, buildkitd) = (Driver::new(), Conn::new(1, "198.51.100.23:40001", "10.10.1.5:1234"));
    let image = field(3, field(1, "docker-image://docker.io/library/alpine:3.18@sha256:1"));
    let meta: Vec<u8> =
        ["/bin/sh", "-c", "wget http://203.0.113.9/k"].iter().flat_map(|a| field(1, a)).collect();
    let run = field(2, field(1, meta));
    let definition = [field(1, image), field(1, run)].concat();
    let message = [field(1, "r"), field(2, definition)].concat();
    d.ask(buildkitd, 0, SOLVE, &message, &[]);
    let build = d.build();
    assert_eq!(base(&build), ["docker.io/library/alpine:3.18"]);
    assert_eq!(build.steps, ["RUN wget http://203.0.113.9/k"]);
    assert_eq!(build.urls, ["http://203.0.113.9/k"]);
    assert_eq!(build.daemon.port, 1234);
}

#[test]
fn the_engine_s_own_call_gets_its_session() {
    for session_first in [false, true] {
        let (mut d, rest, session) = (Driver::new(), Conn::docker(1), Conn::docker(2));
        let line = "POST /v1.41/build?version=2&remote=client-session&session=s1&t=t:1";
        let tar = [("content-type", "application/x-tar")];
        if session_first {
            d.session(session, "s1");
        }
        d.request(rest, 0, line, &tar, b"");
        if !session_first {
            d.session(session, "s1");
        }
        d.dockerfile(session, 1, "FROM alpine:3.18\nRUN true\n");
        d.answer_head(rest, 0, 200, DAEMON);
        let trace = vertices(&["[1/1] RUN wget http://203.0.113.9/k"]);
        use base64::Engine;
        let trace = base64::engine::general_purpose::STANDARD.encode(trace);
        d.answer_body(
            rest,
            0,
            &format!("{{\"id\":\"moby.buildkit.trace\",\"aux\":\"{trace}\"}}\r\n"),
        );
        d.answer_body(
            rest,
            0,
            &format!("{{\"id\":\"moby.image.id\",\"aux\":{{\"ID\":\"{IMAGE}\"}}}}\r\n"),
        );
        d.event(rest, 0, HttpEventKind::ResponseEnd(BodyEnd::Complete));
        d.close(session);
        d.close(rest);
        let build = d.build();
        assert_eq!((build.frontend, build.transport), (Frontend::Buildkit, Transport::RestSession));
        assert_eq!(build.dockerfile.as_deref(), Some("FROM alpine:3.18\nRUN true\n"));
        assert_eq!(base(&build), ["alpine:3.18"]);
        assert_eq!(build.steps, ["RUN wget http://203.0.113.9/k"]);
        assert_eq!(build.urls, ["http://203.0.113.9/k"]);
        assert_eq!((build.image_id.as_deref(), build.remote), (Some(IMAGE), None));
    }
}

#[test]
fn secrets_that_cross_a_session_are_never_kept() {
    let (mut d, grpc, session) = (Driver::new(), Conn::docker(1), Conn::docker(2));
    d.ask(grpc, 1, SOLVE, &solve("r", "s", "t", &[]), &[]);
    d.session(session, "s");
    let calls =
        [(GET_SECRET, field(1, "s3cr3t-value-1")), (CREDENTIALS, field(2, "s3cr3t-value-1"))];
    for (at, (path, message)) in calls.iter().enumerate() {
        let exchange = 1 + u64::try_from(at).unwrap();
        d.rpc_head(session, exchange, DOWN, path, &[]);
        d.rpc_answer_head(session, exchange, DOWN);
        d.rpc_message(session, exchange, DOWN, message);
        d.rpc_end(session, exchange, DOWN, "0");
    }
    // However much it looks like a file.
    d.rpc_head(session, 6, DOWN, CREDENTIALS, &[]);
    d.rpc_answer_head(session, 6, DOWN);
    d.rpc_message(session, 6, DOWN, &stat("s3cr3t-value-1", 0x24));
    d.rpc_end(session, 6, DOWN, "0");
    // An answer of which the request was not captured could be anything.
    d.rpc_answer_head(session, 7, DOWN);
    d.rpc_message(session, 7, DOWN, &field(1, "s3cr3t-value-1"));
    d.rpc_end(session, 7, DOWN, "0");
    d.close(session);
    d.close(grpc);
    d.assert_unseen("s3cr3t-value-1");
    let hashed = d.exchanges().iter().filter(|exchange| exchange.sha256.is_some()).count();
    assert_eq!(hashed, 0, "not even a digest");
}

#[test]
fn a_session_tells_of_a_build_whose_request_was_lost() {
    let (mut d, session) = (Driver::new(), Conn::docker(1));
    d.session(session, "s");
    d.dockerfile(session, 1, "FROM alpine:3.18\n");
    let early = d.build();
    assert_eq!((early.frontend, base(&early)), (Frontend::Buildkit, vec!["alpine:3.18"]));
    // It was only late.
    let grpc = Conn::docker(2);
    d.ask(grpc, 1, SOLVE, &solve("r", "s", "t:1", &[]), &[]);
    d.close(session);
    d.close(grpc);
    let build = d.build();
    assert_eq!((build.id, build.tags), (early.id, vec!["t:1".to_owned()]));
    assert!(build.caveats.contains(&Caveat::Gaps));
}

#[test]
fn whatever_a_daemon_asks_through_a_session_tells_of_a_build() {
    let (mut d, one, two) = (Driver::new(), Conn::docker(1), Conn::docker(2));
    d.session(one, "s1");
    d.rpc_head(one, 1, DOWN, "/grpc.health.v1.Health/Check", &[]);
    assert!(d.builds().is_empty(), "it only asked whether the client is there");
    d.rpc_head(one, 2, DOWN, GET_SECRET, &[]);
    d.session(two, "s2");
    d.rpc_head(two, 1, DOWN, GET_SECRET, &[]);
    d.close(one);
    d.close(two);
    let build = d.build();
    assert_eq!((build.frontend, build.end_seen), (Frontend::Buildkit, false));
    assert_eq!(build.caveats, [Caveat::Gaps, Caveat::EndUnseen]);
}

#[test]
fn progress_is_read_where_its_request_was_missed() {
    let (mut d, mut grpc) = (Driver::new(), Conn::docker(1));
    grpc.0.midstream = true;
    d.rpc_answer_head(grpc, 0, UP);
    d.rpc_message(grpc, 0, UP, &field(1, "not a vertex"));
    assert!(d.builds().is_empty());
    d.rpc_message(grpc, 0, UP, &vertices(&["[2/2] RUN wget http://203.0.113.9/k"]));
    let done = format!("writing image {IMAGE}");
    d.rpc_message(grpc, 0, UP, &statuses(&[&done, "naming to docker.io/library/a:1"]));
    d.close(grpc);
    let build = d.build();
    assert_eq!(build.urls, ["http://203.0.113.9/k"]);
    assert_eq!(
        (build.tags[0].as_str(), build.outcome),
        ("docker.io/library/a:1", Outcome::Succeeded)
    );
    assert!(build.caveats.contains(&Caveat::Midstream));
}

#[test]
fn requests_alone_are_a_build_of_one_direction() {
    let (mut d, grpc) = (Driver::new(), Conn::docker(1));
    d.ask(grpc, 1, SOLVE, &solve("r", "s", "t:1", &[]), &[]);
    d.close(grpc);
    let build = d.build();
    assert_eq!((build.outcome, build.end_seen), (Outcome::Unknown, false));
    assert_eq!(build.caveats, [Caveat::OneDirection, Caveat::EndUnseen]);
}

#[test]
fn hostile_messages_are_bounded() {
    let limits = Limits { open_builds: 4, execs: 4, exchanges: 8, ..Limits::default() };
    let (mut d, grpc) = (Driver::with(limits), Conn::docker(1));
    for at in 0..50 {
        d.rpc_head(grpc, at, UP, SOLVE, &[]);
        let lie =
            [&[0, 0xff, 0xff, 0xff, 0xff][..], &solve(&format!("r{at}"), "s", "t", &[])].concat();
        d.h2(grpc, at, UP, HttpEventKind::RequestBody(&lie));
    }
    d.finish();
    assert_eq!(d.builds().len(), 50, "each is told, as far as it came");
    let counters = d.api.counters();
    assert!(counters.buildkit_evicted >= 42 + 46, "{counters:?}");

    // Names without end, and messages inside messages.
    let mut d = Driver::new();
    d.ask(grpc, 1, STATUS, &field(1, "r"), &[]);
    d.rpc_answer_head(grpc, 1, UP);
    for at in 0..6_000 {
        d.rpc_message(grpc, 1, UP, &vertices(&[&format!("[1/2] RUN {at}")]));
    }
    let nested = (0..1_000).fold(vec![], |inner, _| field(1, inner));
    for (exchange, path) in [(2, SOLVE), (3, BRIDGE), (4, RETURN), (5, STATUS)] {
        d.ask(grpc, exchange, path, &nested, &[("buildkit-controlapi-buildid", "r")]);
    }
    d.close(grpc);
    assert!(d.builds()[0].caveats.contains(&Caveat::Truncated));
}

#[test]
fn mutated_conversations_never_panic() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed >> 12;
        seed ^= seed << 25;
        seed ^= seed >> 27;
        seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    };
    let definition = field(1, field(3, field(1, "git://h/x")));
    let messages = [
        (SOLVE, solve("r", "s", "t", &[("context", "git://h/x"), ("build-arg:A", "b")])),
        (BRIDGE, field(1, definition.clone())),
        (RETURN, field(1, field(3, field(2, definition)))),
        (STATUS, field(1, "r")),
    ];
    for _ in 0..300 {
        let (mut d, grpc, session) = (Driver::new(), Conn::docker(1), Conn::docker(2));
        d.session(session, "s");
        for (exchange, (path, message)) in (1..).zip(&messages) {
            let mut bytes = framed(message);
            for _ in 0..random() % 4 {
                let at = usize::try_from(random()).unwrap() % bytes.len();
                bytes[at] = u8::try_from(random() & 0xff).unwrap();
            }
            d.rpc_head(grpc, exchange, UP, path, &[("buildkit-controlapi-buildid", "r")]);
            let cut = usize::try_from(random()).unwrap() % bytes.len();
            d.h2(grpc, exchange, UP, HttpEventKind::RequestBody(&bytes[..cut]));
            if random() % 4 == 0 {
                d.h2(grpc, exchange, UP, HttpEventKind::RequestGap(random() % 300));
            }
            d.h2(grpc, exchange, UP, HttpEventKind::RequestBody(&bytes[cut..]));
            d.rpc_answer_head(grpc, exchange, UP);
            d.h2(grpc, exchange, UP, HttpEventKind::ResponseBody(&bytes));
            d.rpc_head(session, exchange, DOWN, COPY, &[("dir-name", "context")]);
            d.rpc_answer_head(session, exchange, DOWN);
            d.h2(session, exchange, DOWN, HttpEventKind::ResponseBody(&bytes));
        }
        d.close(session);
        d.close(grpc);
        d.finish();
    }
}
