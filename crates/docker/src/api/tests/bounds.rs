use tw_model::Caveat;
use tw_proto::{BodyEnd, HttpEventKind};

use super::{Conn, DAEMON, Driver};
use crate::Limits;

const TAR: &[(&str, &str)] = &[("content-type", "application/x-tar")];

#[test]
fn connections_are_bounded_and_what_goes_is_told() {
    let mut driver = Driver::with(Limits { connections: 4, ..Limits::default() });
    for flow in 0..10 {
        driver.request_head(Conn::docker(flow), 0, "POST /build?t=a", TAR);
    }
    assert_eq!(driver.api.counters().connections_evicted, 6);
    let unseen = |driver: &Driver| {
        let builds = driver.builds();
        builds.iter().filter(|build| build.caveats.contains(&Caveat::EndUnseen)).count()
    };
    assert_eq!(unseen(&driver), 6);
    driver.finish();
    assert_eq!(unseen(&driver), 10);
}

#[test]
fn open_exchanges_of_a_connection_are_bounded() {
    let mut driver = Driver::with(Limits { exchanges: 3, ..Limits::default() });
    for exchange in 0..10 {
        driver.request(Conn::docker(1), exchange, "GET /info", &[], b"");
    }
    assert_eq!(driver.api.counters().exchanges_evicted, 7);
    driver.finish();
    assert_eq!(driver.exchanges().len(), 10);
}

#[test]
fn open_contexts_are_bounded_and_given_back() {
    let mut driver = Driver::with(Limits { open_builds: 2, ..Limits::default() });
    for flow in 0..3 {
        driver.request_head(Conn::docker(flow), 0, "POST /build?t=a", TAR);
    }
    assert_eq!(driver.api.counters().contexts_unread, 1);
    assert_eq!(driver.builds()[2].caveats, [Caveat::Truncated]);
    driver.event(Conn::docker(0), 0, HttpEventKind::RequestEnd(BodyEnd::Complete));
    driver.request_head(Conn::docker(4), 0, "POST /build?t=a", TAR);
    assert_eq!(driver.api.counters().contexts_unread, 1);
}

#[test]
fn long_strings_are_cut() {
    let mut driver = Driver::new();
    let long = "x".repeat(100_000);
    let line = format!("POST /build?t={long}&remote=http://h/{long}&target={long}");
    driver.request(Conn::docker(1), 0, &line, &[("user-agent", &long)], b"");
    driver.request(Conn::docker(2), 0, &format!("GET /images/{long}/json"), &[], b"");
    let line = format!("POST /containers/create?name={long}");
    let create = format!("{{\"Image\":\"{long}\",\"Cmd\":[\"{long}\"],\"User\":\"{long}\"}}");
    driver.request(Conn::docker(3), 0, &line, &[], create.as_bytes());
    driver.answer(Conn::docker(3), 0, 201, DAEMON, "{\"Id\":\"c\"}");
    assert_eq!(driver.builds().len(), 1);
    for observation in &driver.seen {
        assert!(format!("{observation:?}").len() < 40_000);
    }
}

#[test]
fn a_long_answer_is_not_told_line_by_line() {
    let mut driver = Driver::new();
    let conn = Conn::docker(1);
    driver.request(conn, 0, "POST /build?t=a", TAR, b"");
    driver.answer_head(conn, 0, 200, DAEMON);
    for step in 1..=500 {
        let line = format!("{{\"stream\":\"Step {step}/500 : RUN true {step}\"}}\r\n");
        driver.answer_body(conn, 0, &line);
    }
    assert!(driver.seen.len() < 200, "{}", driver.seen.len());
    driver.event(conn, 0, HttpEventKind::ResponseEnd(BodyEnd::Complete));
    assert_eq!(driver.build().steps.len(), 500);
}

#[test]
fn events_in_any_order_never_panic() {
    let bodies: [&[u8]; 4] = [
        b"",
        b"{\"Image\":\"a\"}",
        b"{\"stream\":\"Step 1/1 : FROM a\"}\n",
        &[0x1f, 0x8b, 8, 0, 0],
    ];
    let lines = [
        "POST /build?t=a",
        "POST /containers/create?name=a",
        "POST /containers/a/start",
        "POST /containers/a/exec",
        "POST /commit?container=a",
        "POST /images/create?fromSrc=http://h/x",
        "GET http://h/x",
        "PUT /containers/a/archive?path=/",
        "BOGUS *",
        "POST /build?remote=http://h/x",
    ];
    let mut seed = 42_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).expect("31 bits") % below
    };
    let limits = Limits { connections: 3, exchanges: 2, open_builds: 2, ..Limits::default() };
    let mut driver = Driver::with(limits);
    let ends = [BodyEnd::Complete, BodyEnd::Closed, BodyEnd::Cut];
    for _ in 0..20_000 {
        let conn = Conn::docker(u64::try_from(random(5)).expect("small"));
        let exchange = u64::try_from(random(3)).expect("small");
        match random(10) {
            0 | 1 => driver.request_head(conn, exchange, lines[random(lines.len())], TAR),
            2 => driver.event(conn, exchange, HttpEventKind::RequestBody(bodies[random(4)])),
            3 => driver.event(conn, exchange, HttpEventKind::RequestGap(u64::MAX)),
            4 => driver.event(conn, exchange, HttpEventKind::RequestEnd(ends[random(3)])),
            5 => driver.answer_head(conn, exchange, [200, 101, 301, 404][random(4)], DAEMON),
            6 => driver.event(conn, exchange, HttpEventKind::ResponseBody(bodies[random(4)])),
            7 => driver.event(conn, exchange, HttpEventKind::ResponseGap(u64::MAX)),
            8 => driver.event(conn, exchange, HttpEventKind::ResponseEnd(ends[random(3)])),
            _ => driver.close(conn),
        }
        driver.seen.truncate(16);
    }
    driver.finish();
}
