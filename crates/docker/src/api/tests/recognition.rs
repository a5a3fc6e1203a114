use tw_model::{ObservationBody, Outcome, ProxyKind, Route};
use tw_proto::{BodyEnd, HttpEventKind};

use super::{Conn, DAEMON, Driver, tar};

const TAR: &[(&str, &str)] = &[("content-type", "application/x-tar")];

#[test]
fn a_web_site_is_no_docker_host() {
    let json = [("content-type", "application/json"), ("server", "nginx")];
    for line in [
        "GET /info",
        "GET /version",
        "GET /_ping",
        "GET /events",
        "POST /auth",
        "POST /build",
        "POST /build?token=abc",
        "POST /commit",
        "GET /containers/json",
        "GET /images/logo.png",
        "POST /session",
        "GET /plugins/x",
        "POST /containers/create",
        "GET /v1.0/info",
        "POST /containers/blue/start",
        "POST /images/load",
        "POST /commit?container=x",
    ] {
        for status in [200, 302, 404, 405] {
            let mut driver = Driver::new();
            let form = [("content-type", "application/x-www-form-urlencoded")];
            driver.request(Conn::web(1), 0, line, &form, b"a=b");
            driver.answer(Conn::web(1), 0, status, &json, "{}");
            driver.close(Conn::web(1));
            assert!(driver.calls().is_empty(), "{line} {status}");
            assert!(driver.builds().is_empty(), "{line}");
            assert!(driver.containers().is_empty(), "{line}");
            assert_eq!(driver.exchanges().len(), 1, "{line}");
        }
    }
}

#[test]
fn daemon_headers_make_it_one_on_any_port() {
    for fields in [
        &[("api-version", "1.41")][..],
        &[("docker-experimental", "false")],
        &[("libpod-api-version", "4.3.1")],
        &[("server", "Docker/1.9.1 (linux)")],
    ] {
        let mut driver = Driver::new();
        driver.request(Conn::web(1), 0, "GET /info", &[], b"");
        assert!(driver.calls().is_empty(), "not yet");
        driver.answer(Conn::web(1), 0, 200, fields, "{}");
        assert!(driver.calls()[0].certain);
        driver.request(Conn::web(2), 0, "POST /build?x=1", &[], b"");
        assert_eq!(driver.builds().len(), 1, "the daemon is known now");
    }
}

#[test]
fn requests_alone_are_seen_where_they_are_specific() {
    let create = br#"{"Image":"alpine","HostConfig":{"Privileged":true}}"#;
    for (line, fields, body) in [
        ("POST /build?t=x", TAR, &b"x"[..]),
        ("POST /build?remote=http://203.0.113.9/Dockerfile&networkmode=host", &[], b""),
        ("POST /v1.41/containers/create?name=x", &[], create),
        ("POST /containers/create", &[], create),
        ("POST /v1.41/containers/abc/start", &[], b""),
        ("POST /images/create?fromSrc=http://203.0.113.9/a.tar&repo=x", &[], b""),
        ("GET /info", &[("user-agent", "Docker-Client/28.2.2 (linux)")], b""),
        ("POST /session", &[("x-docker-expose-session-uuid", "abc")], b""),
        ("POST /v4.0.0/libpod/build", &[], b""),
        ("POST /containers/0123456789ab/start", &[], b""),
        ("POST /commit?container=x&repo=y", &[], b""),
        ("POST /images/load", TAR, b"x"),
    ] {
        let mut driver = Driver::new();
        driver.request(Conn::web(1), 0, line, fields, body);
        driver.close(Conn::web(1));
        let calls = driver.calls();
        assert_eq!(calls.len(), 1, "{line}");
        assert!(calls[0].certain, "{line}");
    }
}

#[test]
fn a_context_with_a_dockerfile_needs_no_content_type() {
    let mut driver = Driver::new();
    driver.request(Conn::web(1), 0, "POST /build", &[], &tar(&[("Dockerfile", "FROM a\n")]));
    assert_eq!(driver.build().base_images, ["a"]);
}

#[test]
fn a_stranger_that_refuses_is_taken_back() {
    for status in [404, 405, 403, 501] {
        let mut driver = Driver::new();
        let archive = tar(&[("Dockerfile", "FROM a\n")]);
        driver.request(Conn::web(1), 0, "POST /build?t=x", TAR, &archive);
        assert_eq!(driver.builds().len(), 1, "told at once");
        driver.answer(Conn::web(1), 0, status, &[("server", "nginx")], "<html>");
        assert!(!driver.calls()[0].certain, "{status}");
        assert_eq!(driver.build().outcome, Outcome::Failed);
    }
}

#[test]
fn a_stranger_that_answers_anything_else_is_taken_back() {
    let archive = tar(&[("Dockerfile", "FROM a\n")]);
    let mut driver = Driver::new();
    driver.request(Conn::web(1), 0, "POST /build?t=x", TAR, &archive);
    driver.answer(Conn::web(1), 0, 200, &[("server", "nginx")], "{\"queued\":true}");
    assert!(!driver.calls()[0].certain);
    assert_eq!(driver.build().outcome, Outcome::Failed);

    let mut driver = Driver::new();
    driver.request(Conn::web(1), 0, "POST /build?t=x", TAR, &archive);
    driver.answer(Conn::web(1), 0, 200, &[], "{\"stream\":\"Step 1/1 : FROM a\"}\r\n");
    assert!(driver.calls()[0].certain, "the answer builds, whatever a proxy did to its head");
}

#[test]
fn docker_port_needs_no_headers_but_a_refusal_without_them_counts() {
    let mut driver = Driver::new();
    driver.request(Conn::docker(1), 0, "GET /info", &[], b"");
    assert!(driver.calls()[0].certain);
    driver.answer(Conn::docker(1), 0, 404, &[("server", "SimpleHTTP/0.6")], "");
    assert!(!driver.calls()[0].certain);
}

#[test]
fn hijacked_answers_come_without_headers() {
    let mut driver = Driver::new();
    let conn = Conn::docker(1);
    driver.request(conn, 0, "POST /v1.41/exec/abc/start", &[], b"{}");
    driver.answer_head(conn, 0, 101, &[("upgrade", "tcp")]);
    driver.event(conn, 0, HttpEventKind::ResponseEnd(BodyEnd::Complete));
    driver.close(conn);
    assert!(driver.calls()[0].certain);
    assert_eq!(driver.calls()[0].route, Route::ExecStart);
}

#[test]
fn exchanges_tell_urls_digests_and_proxies() {
    let mut driver = Driver::new();
    let conn = Conn::new(1, "10.10.1.5:40000", "10.10.1.9:3128");
    let line = "GET http://user:pw@h.test/x?token=abc";
    driver.request(conn, 0, line, &[("user-agent", "Wget")], b"");
    driver.answer(conn, 0, 200, &[("content-type", "text/plain")], "\u{7f}ELF\u{2}...");
    let exchange = driver.exchanges().remove(0);
    assert_eq!(exchange.proxy, Some(ProxyKind::Absolute));
    assert_eq!(exchange.host.as_deref(), Some("h.test"));
    assert!(exchange.executable && exchange.complete);
    assert_eq!(exchange.sha256.as_deref().map(str::len), Some(64));
    assert_eq!(exchange.body_bytes, 8);
    let url = exchange.url.expect("a URL");
    let shown = url.starts_with("http://<redacted:") && url.contains("@h.test/x?token=<redacted:");
    assert!(shown, "{url}");

    driver.request(Conn::docker(2), 0, "GET http://10.10.1.5:2375/info", &[], b"");
    driver.answer(Conn::docker(2), 0, 200, DAEMON, "{}");
    assert_eq!(driver.exchanges()[1].proxy, None, "the server's own address is no proxy");
}

#[test]
fn digest_only_of_whole_bodies_and_only_where_wanted() {
    let run = |hash: bool, gap: bool, end: BodyEnd| {
        let mut driver = Driver::new();
        let mut conn = Conn::web(1);
        conn.0.hash = hash;
        driver.request(conn, 0, "GET /x", &[], b"");
        driver.answer_head(conn, 0, 200, &[]);
        driver.answer_body(conn, 0, "abc");
        if gap {
            driver.event(conn, 0, HttpEventKind::ResponseGap(1));
        }
        driver.event(conn, 0, HttpEventKind::ResponseEnd(end));
        driver.close(conn);
        driver.exchanges().remove(0).sha256
    };
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(run(true, false, BodyEnd::Complete).as_deref(), Some(digest));
    assert_eq!(run(false, false, BodyEnd::Complete), None);
    assert_eq!(run(true, true, BodyEnd::Complete), None);
    assert_eq!(run(true, false, BodyEnd::Cut), None);
    assert_eq!(run(true, false, BodyEnd::Closed), None);
}

#[test]
fn an_answer_that_comes_before_its_request_belongs_to_it() {
    let mut driver = Driver::new();
    let conn = Conn::web(1);
    driver.answer(conn, 0, 200, &[("content-type", "text/plain")], "early");
    driver.request(conn, 0, "GET /", &[], b"");
    driver.close(conn);
    let [exchange] = driver.exchanges().try_into().expect("one exchange");
    assert_eq!((exchange.method.as_str(), exchange.status), ("GET", Some(200)));
    assert!(exchange.last && exchange.body_bytes == 5);
    let told = driver.seen.iter().filter(|observation| match &observation.body {
        ObservationBody::Http(exchange) => exchange.last && !exchange.method.is_empty(),
        _ => false,
    });
    assert_eq!(told.count(), 1);
}

#[test]
fn the_host_field_is_kept_where_the_target_names_another_authority() {
    let mut driver = Driver::new();
    let conn = Conn::web(1);
    driver.request(conn, 0, "GET http://example.com:81/a?b", &[], b"");
    driver.request(conn, 1, "GET http://10.10.1.5:2375/", &[], b"");
    driver.request(conn, 2, "GET /", &[], b"");
    driver.finish();
    let [other, same, plain] = driver.exchanges().try_into().expect("three exchanges");
    assert_eq!(other.host.as_deref(), Some("example.com:81"));
    assert_eq!(other.host_field.as_deref(), Some("10.10.1.5:2375"));
    assert_eq!(other.target, "http://example.com:81/a?b");
    assert_eq!((same.host_field, plain.host_field), (None, None));
    assert_eq!(plain.host.as_deref(), Some("10.10.1.5:2375"));
}
