//! TLS with a key log: given on the command line, carried by the capture, late, wrong, missing.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Lab, Run, testdata};

const CAPTURES: [&str; 3] = ["tls-keylog", "tls12-keylog", "tls13-chacha-keylog"];

fn scenario(file: &str) -> Vec<u8> {
    fs::read(testdata(&format!("scenarios/{file}"))).expect("testdata is there")
}

fn replay(lab: &Lab, capture: &Path, keys: Option<&Path>) -> Run {
    let mut arguments = vec!["--format".into(), "json".into(), capture.as_os_str().to_owned()];
    if let Some(keys) = keys {
        arguments.extend(["--keylog".into(), keys.as_os_str().to_owned()]);
    }
    lab.run("replay", arguments)
}

/// Builds and findings without where they stand.
fn told(run: &Run) -> Vec<Value> {
    let mut events = run.events("build");
    events.extend(run.events("finding"));
    for event in &mut events {
        event["evidence"] = Value::Null;
        // Downloads are hashed where the host was known to be a Docker host at the time.
        if let Some(destinations) = event["destinations"].as_array_mut() {
            destinations.iter_mut().for_each(|destination| destination["sha256"] = Value::Null);
        }
        if let Some(summary) = event["summary"].as_str() {
            let hash = summary.find(" (SHA-256 ").map(|at| at..at + " (SHA-256 )".len() + 64);
            let mut summary = summary.to_owned();
            hash.into_iter().for_each(|hash| summary.replace_range(hash, ""));
            event["summary"] = summary.into();
        }
    }
    events
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut padded = body.to_vec();
    padded.resize(body.len().next_multiple_of(4), 0);
    let len = u32::try_from(12 + padded.len()).expect("a small block").to_le_bytes();
    [&kind.to_le_bytes()[..], &len, &padded, &len].concat()
}

/// A classic capture as pcapng, with its key log in front of the frames or behind them.
pub(crate) fn pcapng(pcap: &[u8], keys: &[u8], keys_first: bool) -> Vec<u8> {
    let len = u32::try_from(keys.len()).expect("a small key log").to_le_bytes();
    let secrets = block(10, &[&0x544c_534b_u32.to_le_bytes()[..], &len, keys].concat());
    let mut file = block(
        0x0a0d_0d0a,
        &[&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[255; 8]].concat(),
    );
    file.extend(block(1, &[1, 0, 0, 0, 0, 0, 0, 0]));
    if keys_first {
        file.extend(&secrets);
    }
    let mut rest = &pcap[24..];
    while let Some((head, after)) = rest.split_first_chunk::<16>() {
        let field =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let micros = u64::from(field(0)) * 1_000_000 + u64::from(field(4));
        let (high, low) = (micros >> 32, micros & 0xffff_ffff);
        let captured = usize::try_from(field(8)).expect("a small frame");
        let mut body = vec![0; 4];
        for time in [high, low] {
            body.extend(u32::try_from(time).expect("half of it").to_le_bytes());
        }
        body.extend(&head[8..16]);
        body.extend(&after[..captured]);
        file.extend(block(6, &body));
        rest = &after[captured..];
    }
    if !keys_first {
        file.extend(&secrets);
    }
    file
}

#[test]
fn keys_inside_the_capture_early_or_late_tell_the_same() {
    for name in CAPTURES {
        let (pcap, keys) = (scenario(&format!("{name}.pcap")), scenario(&format!("{name}.keys")));
        let lab = Lab::learned();
        let capture = lab.file("a.pcap", &pcap);
        let given = replay(&lab, &capture, Some(&lab.file("a.keys", &keys))).succeeded();
        assert_eq!(given.events("build").len(), 1, "{name}");
        assert_eq!(given.events("build")[0]["frontend"], "classic", "{name}");
        for first in [true, false] {
            let capture = lab.file("a.pcapng", &pcapng(&pcap, &keys, first));
            let carried = replay(&lab, &capture, None).succeeded();
            assert_eq!(told(&carried), told(&given), "{name}, keys first: {first}");
        }
    }
}

#[test]
fn wrong_keys_are_as_good_as_none() {
    for name in CAPTURES {
        let lab = Lab::learned();
        let capture = lab.file("a.pcap", &scenario(&format!("{name}.pcap")));
        let text = String::from_utf8(scenario(&format!("{name}.keys"))).expect("a text");
        let wrong: String = text
            .lines()
            .map(|line| {
                line.rsplit_once(' ').map_or(String::new(), |(start, secret)| {
                    format!("{start} {}\n", "5a".repeat(secret.len() / 2))
                })
            })
            .collect();
        let wrong = replay(&lab, &capture, Some(&lab.file("w.keys", wrong.as_bytes()))).succeeded();
        let none = replay(&lab, &capture, None).succeeded();
        assert!(
            wrong.events("build").iter().all(|build| build["frontend"] == "inferred"),
            "{name}"
        );
        assert_eq!(none.events("build")[0]["frontend"], "inferred", "{name}");
    }
}

#[test]
fn decrypted_exchanges_are_marked() {
    let lab = Lab::new();
    let capture = lab.file("a.pcap", &scenario("tls12-keylog.pcap"));
    let keys = lab.file("a.keys", &scenario("tls12-keylog.keys"));
    let mut command = lab.command("dissect");
    let output =
        command.arg(capture).arg("--keylog").arg(keys).output().expect("the binary starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let is_build =
        |line: &&str| line.contains("\"http\"") && line.contains("/v1.40/build?t=ledger:6");
    let line = text.lines().find(is_build).expect("the build's request");
    assert!(line.contains("\"decrypted\":true"), "{line}");
}

#[test]
fn a_key_log_that_cannot_be_read_is_an_error_and_no_line_of_one_is_printed() {
    let lab = Lab::new();
    let capture = lab.file("a.pcap", &scenario("tls12-keylog.pcap"));
    replay(&lab, &capture, Some(&lab.path("missing.keys"))).failed(1, &["key log", "missing.keys"]);
    let keys = scenario("tls12-keylog.keys");
    let run = replay(&lab, &capture, Some(&lab.file("a.keys", &keys))).succeeded();
    let printed = format!("{}{}", run.text(), run.stderr).to_lowercase();
    let keys = String::from_utf8(keys).expect("a text").to_lowercase();
    for word in keys.split_whitespace().filter(|word| word.len() >= 64) {
        assert!(!printed.contains(word), "a key is printed");
    }
}
