//! What looks like the attack and is none.

use tw_testkit::{Packet, http_request, udp_packet};

use super::stage::{
    BUILDER, Case, DAEMON, HOST, KNOWN, SILENT, STRANGER, address, at, build, built, caller,
    download, fetched, merged, name, tls,
};
use crate::support::check_all;

#[test]
fn what_is_no_attack_is_not_called_one() {
    let silent = |t: f64| {
        caller(BUILDER, DAEMON, at(t), &build("/v1.41/build?t=app:2&q=1", SILENT), &built())
    };
    let docker_io = |t: f64| {
        let address = [198, 51, 100, 44];
        merged([
            name(HOST, "registry-1.docker.io", address, at(t)),
            tls(HOST, "198.51.100.44:443", "registry-1.docker.io", at(t + 0.1)),
        ])
    };
    let cases = [
        Case::quiet("a web site with such paths", website()),
        Case::quiet(
            "a builder and its known destination",
            merged([silent(0.0), download(HOST, &format!("{KNOWN}:80"), at(1.0))]),
        ),
        Case::quiet("a base image", merged([silent(0.0), docker_io(0.5)])),
        Case::quiet("DNS and NTP", merged([silent(0.0), small_talk()])),
        Case::quiet(
            "long after the build",
            merged([silent(0.0), download(HOST, "203.0.113.9:80", at(14.0))]),
        ),
        Case::quiet(
            "before the build",
            merged([download(HOST, "203.0.113.9:80", at(-3.0)), silent(0.0)]),
        ),
        Case::quiet(
            "the caller browses",
            merged([silent(0.0), download(BUILDER, "203.0.113.9:80", at(1.0))]),
        ),
        Case::quiet(
            "another host downloads",
            merged([silent(0.0), download("10.10.1.6", "203.0.113.9:80", at(1.0))]),
        ),
        Case::quiet("an answer of the host's own web site", merged([silent(0.0), visited()])),
        Case::quiet("a refused build", refused()),
        Case::quiet("no build at all", fetched()),
        Case::quiet("known by age", by_age(3)),
    ];
    check_all(&cases, Case::complaints);
}

#[test]
fn two_days_are_not_enough() {
    check_all(&[Case::attack("two days", by_age(2))], |case| {
        case.complaints().into_iter().filter(|c| !c.contains("build of")).collect()
    });
}

/// Contacted on so many days before.
fn by_age(days: u32) -> Vec<Packet> {
    let mut parts: Vec<Vec<Packet>> = (1..=days)
        .map(|day| download(HOST, "203.0.113.9:80", at(-86_400.0 * f64::from(day) - 7200.0)))
        .collect();
    parts.push(caller(
        STRANGER,
        DAEMON,
        at(0.0),
        &build("/build?t=evil:1", super::stage::DOCKERFILE),
        &built(),
    ));
    parts.push(fetched());
    merged(parts)
}

fn website() -> Vec<Packet> {
    let page = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
    let site = "10.10.1.7:8080";
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    merged([
        caller(
            STRANGER,
            site,
            at(0.0),
            &http_request("POST", "/build?t=1&q=1", &form, b"a=b"),
            page,
        ),
        caller(BUILDER, site, at(0.2), &http_request("GET", "/info", &[], b""), page),
        download("10.10.1.7", "203.0.113.9:80", at(1.0)),
    ])
}

fn refused() -> Vec<Packet> {
    let page = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 29\r\n\r\n{\"message\":\"page not found\"}\r\n";
    merged([caller(STRANGER, DAEMON, at(0.0), &build("/v1.41/BUILD?t=x", SILENT), page), fetched()])
}

fn small_talk() -> Vec<Packet> {
    let (ntp, host) = (address("203.0.113.123:123"), address(&format!("{HOST}:123")));
    let mut packet = [0_u8; 48];
    packet[0] = 0x23;
    let sent = Packet { at: at(1.0), frame: udp_packet(host, ntp, &packet) };
    packet[0] = 0x24;
    let answer = Packet { at: at(1.1), frame: udp_packet(ntp, host, &packet) };
    let dns = tw_testkit::dns_exchange(
        address(&format!("{HOST}:5353")),
        address("203.0.113.53:53"),
        at(1.0),
        "deb.debian.org",
        [203, 0, 113, 80],
    );
    merged([vec![sent, answer], dns])
}

/// A client from outside visits a web server on the docker host.
fn visited() -> Vec<Packet> {
    caller(
        "203.0.113.9",
        &format!("{HOST}:80"),
        at(0.2),
        &http_request("GET", "/", &[], b""),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )
}
