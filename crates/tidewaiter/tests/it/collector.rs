//! The collector over real sockets: the findings of `replay`, over any restart, and only from those
//! who may tell.

use std::collections::BTreeMap;
use std::net::UdpSocket;

use serde_json::Value;

use crate::collecting::{Collecting, QUICK, exports, findings, send, send_from, stream};
use crate::support::{Lab, testdata};

const LOOPBACK: [&str; 1] = ["--listen=127.0.0.1:0"];

/// A lab that has learned a baseline from records.
fn learned() -> Lab {
    let lab = Lab::new();
    lab.learn(&testdata("flows/baseline.sf9.pcap")).succeeded();
    lab
}

fn replayed(capture: &str) -> BTreeMap<String, Value> {
    let run = learned().replay(&testdata(&format!("flows/{capture}.pcap"))).succeeded();
    findings(&run.events("finding"))
}

#[test]
fn it_finds_what_replay_finds() {
    for capture in [
        "classic-http.v5",
        "classic-http.v9",
        "classic-http.v10",
        "classic-http.biflow",
        "buildx-grpc.v9",
        "benign-new-dst-no-build.v9",
        "dev-long-build.sf5",
        "dev-noisy.sf9",
        "dev-noisy.pm10",
        "dev-sampled.spm10",
    ] {
        let lab = learned();
        let collecting = Collecting::start(&lab, "", &LOOPBACK);
        send(collecting.addresses[0], &exports(capture));
        let told = findings(&collecting.stop());
        assert_eq!(told, replayed(capture), "{capture}");
    }
}

#[test]
fn findings_come_while_it_runs_and_only_once() {
    let lab = learned();
    let mut collecting = Collecting::start(&lab, QUICK, &LOOPBACK);
    let datagrams = exports("classic-http.v9");
    let exporter = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    send_from(&exporter, collecting.addresses[0], &datagrams);
    let found = collecting.until("finding", |event| event["rule"] == "build-new-destination");
    assert_eq!((&found["status"], &found["revision"]), (&"open".into(), &1.into()));
    assert_eq!(found["evidence"][0]["source"], "127.0.0.1");
    assert_eq!((&found["verdict"], &found["severity"]), (&"inferred".into(), &"medium".into()));
    // The same datagrams once more are no news.
    send_from(&exporter, collecting.addresses[0], &datagrams);
    collecting.until_records(6);
    let events = collecting.stop();
    let ids: Vec<&Value> =
        events.iter().filter(|e| e["event_type"] == "finding").map(|e| &e["id"]).collect();
    let once: std::collections::BTreeSet<String> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(ids.len(), once.len(), "{ids:?}");
    assert_eq!(events.last().expect("an end")["event_type"], "stats");
}

#[test]
fn before_lateness_has_passed_nothing_is_told_and_stopping_tells_it() {
    let lab = learned();
    let config = QUICK.replace("\"0s\"", "\"1h\"");
    let mut collecting = Collecting::start(&lab, &config, &LOOPBACK);
    send(collecting.addresses[0], &exports("classic-http.v9"));
    collecting.until_records(3);
    collecting.next_stats();
    assert!(findings(&collecting.events).is_empty());
    assert_eq!(findings(&collecting.stop()), replayed("classic-http.v9"));
}

#[test]
fn a_restart_in_mid_stream_loses_nothing() {
    let capture = "dev-long-build.pm10";
    let datagrams = exports(capture);
    let whole = replayed(capture);
    assert!(!whole.is_empty());
    for cut in [1, datagrams.len() / 3, datagrams.len() / 2, datagrams.len() - 1] {
        let lab = learned();
        let first = Collecting::start(&lab, "", &LOOPBACK);
        send(first.addresses[0], &datagrams[..cut]);
        let mut events = first.stop();
        let second = Collecting::start(&lab, "", &LOOPBACK);
        send(second.addresses[0], &datagrams[cut..]);
        let after = second.stop();
        let stats = after.last().expect("statistics");
        assert_eq!(stats["exports"]["sets_lost"], 0, "cut before {cut}: templates are there");
        assert_eq!(stats["exports"]["missing"], 0, "cut before {cut}");
        events.extend(after);
        assert_eq!(findings(&events), whole, "cut before {cut}");
    }
}

#[test]
fn what_was_committed_survives_a_kill() {
    let capture = "dev-noisy.sf9";
    let datagrams = exports(capture);
    let cut = datagrams.len() / 2;
    let lab = learned();
    let mut first = Collecting::start(&lab, QUICK, &LOOPBACK);
    send(first.addresses[0], &datagrams[..cut]);
    let stats = first.next_stats();
    let records = stats["exports"]["records"].as_u64().expect("records");
    assert!(records > 0, "{stats}");
    first.until("commit", |event| {
        event["committed_through"][0]["record"].as_u64().is_some_and(|record| record >= records)
    });
    first.signal("KILL");
    let mut events = first.end(None);
    let second = Collecting::start(&lab, QUICK, &LOOPBACK);
    send(second.addresses[0], &datagrams[cut..]);
    events.extend(second.stop());
    assert_eq!(findings(&events), replayed(capture));
}

#[test]
fn who_is_not_on_the_list_is_counted_and_neither_heard_nor_learned_from() {
    let lab = Lab::new();
    let config = format!("{QUICK}exporters = [\"192.0.2.0/24\"]\n");
    let mut collecting = Collecting::start(&lab, &config, &LOOPBACK);
    let datagrams = exports("baseline.sf9");
    send(collecting.addresses[0], &datagrams);
    let stats = collecting.until("a count", |event| event["unlisted"]["datagrams"] != 0);
    let count = datagrams.len();
    let stats =
        if stats["unlisted"]["datagrams"] == count { stats } else { collecting.next_stats() };
    assert_eq!(stats["unlisted"]["exporters"]["127.0.0.1"], count);
    assert_eq!(
        (&stats["exports"]["records"], &stats["holding"]["exporters"]),
        (&0.into(), &0.into())
    );
    // The list is read again on demand, and a list that is wrong changes nothing.
    lab.file("collector.toml", b"[collector]\nexporters = [\"nobody\"]\n");
    collecting.signal("HUP");
    collecting.logged("the old configuration stays in use");
    lab.file("collector.toml", format!("{QUICK}exporters = [\"127.0.0.1\"]\n").as_bytes());
    collecting.signal("HUP");
    collecting.logged("configuration read again");
    send(collecting.addresses[0], &datagrams);
    collecting.until_records(10);
    collecting.stop();
    let known = lab.run("seen", ["list"]).succeeded().text();
    assert!(known.contains("first_seen"), "an exporter on the list teaches: {known}");
}

#[test]
fn without_a_list_only_exporters_inside_teach() {
    for (config, teaches) in
        [("", true), ("[[environment]]\nname = \"x\"\nnetworks = [\"10.0.0.0/8\"]\n", false)]
    {
        let lab = Lab::new();
        let collecting = Collecting::start(&lab, config, &LOOPBACK);
        send(collecting.addresses[0], &exports("baseline.sf9"));
        collecting.stop();
        let known = lab.run("seen", ["list"]).succeeded().text();
        assert_eq!(known.contains("first_seen"), teaches, "{config}: {known}");
    }
}

#[test]
fn ipfix_comes_over_tcp_and_ipv6_as_well() {
    let capture = "classic-http.v10";
    for arguments in [["--listen-tcp=127.0.0.1:0"], ["--listen=[::1]:0"]] {
        let lab = learned();
        let mut collecting = Collecting::start(&lab, QUICK, &arguments);
        let to = collecting.addresses[0];
        let datagrams = exports(capture);
        let open = if to.is_ipv4() { Some(stream(to, &datagrams)) } else { None };
        if open.is_none() {
            send(to, &datagrams);
        }
        collecting.until("finding", |event| event["rule"] == "build-new-destination");
        assert_eq!(findings(&collecting.stop()), replayed(capture), "{arguments:?}");
    }
}

#[test]
fn what_is_no_export_is_counted_and_harms_nothing() {
    let lab = learned();
    let mut collecting = Collecting::start(&lab, QUICK, &LOOPBACK);
    let mut datagrams = vec![Vec::new(), vec![0], vec![0, 9], vec![0xff; 1_400], b"hello".to_vec()];
    let malformed = datagrams.len();
    datagrams.extend(exports("classic-http.v9"));
    send(collecting.addresses[0], &datagrams);
    collecting.until("finding", |event| event["rule"] == "build-new-destination");
    let events = collecting.stop();
    let stats = events.last().expect("statistics");
    assert_eq!(stats["exports"]["malformed"], malformed, "{stats}");
    assert_eq!(stats["sockets"]["received"], datagrams.len());
}
