//! TLS as OpenSSL speaks it (`testdata/tls/tls*.pcap`), opened with its key log: resumption, key updates, client
//! certificates, early data, retries, renegotiation, every suite.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::keylog::pcapng;
use crate::support::{Lab, check_all, parse, testdata};

const INFO: (&str, Option<u64>) = ("/v1.41/info", Some(200));
const EARLY: (&str, Option<u64>) = ("/v1.41/early", Some(200));

type Exchanges = &'static [(&'static str, Option<u64>)];

/// What is asked and answered in each recording, over all of its conversations.
const RECORDINGS: [(&str, Exchanges); 16] = [
    ("tls12-aes128", &[INFO]),
    ("tls12-aes256", &[INFO]),
    ("tls12-chacha", &[INFO]),
    ("tls12-client-certificate", &[INFO]),
    // What follows a renegotiation is under keys that are asked for inside: daemons, which Go serves, refuse it.
    ("tls12-renegotiated", &[INFO]),
    ("tls12-session-id", &[INFO, INFO]),
    ("tls12-ticket", &[INFO, INFO]),
    ("tls13-aes128", &[INFO]),
    ("tls13-aes256", &[INFO]),
    ("tls13-chacha", &[INFO]),
    ("tls13-client-certificate", &[INFO]),
    ("tls13-early-data", &[INFO, EARLY, INFO]),
    // What the server refuses was never asked.
    ("tls13-early-data-refused", &[INFO, EARLY, INFO]),
    ("tls13-hello-retry", &[INFO]),
    ("tls13-key-update", &[INFO; 5]),
    ("tls13-resumed", &[INFO, INFO]),
];

fn read(name: &str) -> Vec<u8> {
    fs::read(testdata(&format!("tls/{name}"))).expect("testdata is there")
}

fn dissected(lab: &Lab, capture: &Path, keys: Option<&Path>) -> Vec<Value> {
    let mut command = lab.command("dissect");
    command.args(["--format", "json"]).arg(capture);
    if let Some(keys) = keys {
        command.arg("--keylog").arg(keys);
    }
    let output = command.output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").lines().map(parse).collect()
}

/// Complaints about how a recording was read.
fn complaints(name: &str, wanted: Exchanges, events: &[Value], opened: bool) -> Vec<String> {
    let of = |kind: &str| events.iter().filter(|e| e["event_type"] == kind).collect::<Vec<_>>();
    let mut asked: Vec<_> = of("http")
        .iter()
        .filter(|e| e["decrypted"] == true)
        .map(|e| (e["http"]["url"].as_str().unwrap_or("").to_owned(), e["http"]["status"].as_u64()))
        .collect();
    let mut wanted: Vec<_> =
        wanted.iter().map(|(url, status)| ((*url).to_owned(), *status)).collect();
    // What waits for its keys is told when it has ended, connection by connection.
    asked.sort();
    wanted.sort();
    let mut complaints = Vec::new();
    if opened && asked != wanted || !opened && !asked.is_empty() {
        complaints.push(format!("{name}: {asked:?}"));
    }
    let version = if name.starts_with("tls12") { "TLS 1.2" } else { "TLS 1.3" };
    let hellos = of("tls");
    if hellos.iter().any(|e| e["tls"]["version"] != version || e["tls"]["sni"] != "daemon.example")
    {
        complaints.push(format!("{name}: {hellos:?}"));
    }
    let anomalies = of("anomaly");
    if hellos.is_empty() || !anomalies.is_empty() {
        complaints.push(format!("{name}: {} hellos, {anomalies:?}", hellos.len()));
    }
    complaints
}

#[test]
fn every_handshake_of_a_real_library_is_opened_with_its_keys_and_with_nothing_else() {
    check_all(&RECORDINGS, |(name, wanted)| {
        let lab = Lab::new();
        let capture = lab.file("case.pcap", &read(&format!("{name}.pcap")));
        let keys = lab.file("case.keys", &read(&format!("{name}.keys")));
        let mut found = complaints(name, wanted, &dissected(&lab, &capture, Some(&keys)), true);
        let wrong = String::from_utf8(read(&format!("{name}.keys"))).expect("text");
        let turned = |word: &str| word.chars().rev().collect::<String>();
        let wrong: String = wrong
            .lines()
            .map(|line| match line.rsplit_once(' ') {
                Some((who, secret)) => format!("{who} {}\n", turned(secret)),
                None => format!("{line}\n"),
            })
            .collect();
        let wrong = lab.file("wrong.keys", wrong.as_bytes());
        for keys in [None, Some(&*wrong)] {
            found.extend(complaints(name, wanted, &dissected(&lab, &capture, keys), false));
        }
        found
    });
}

#[test]
fn keys_that_come_after_the_frames_open_them_too() {
    check_all(&RECORDINGS, |(name, wanted)| {
        let lab = Lab::new();
        let (capture, keys) = (read(&format!("{name}.pcap")), read(&format!("{name}.keys")));
        [true, false]
            .iter()
            .flat_map(|first| {
                let capture = lab.file("case.pcapng", &pcapng(&capture, &keys, *first));
                complaints(name, wanted, &dissected(&lab, &capture, None), true)
            })
            .collect()
    });
}
