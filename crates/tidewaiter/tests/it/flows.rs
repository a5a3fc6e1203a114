//! Captures of export datagrams: the same findings as far as records show them, and no more.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::{Lab, Run, parse, testdata};

/// Baseline, capture, and where what is true of it stands.
const CAPTURES: [(&str, &str, &str); 11] = [
    ("flows/baseline.sf9", "classic-http.v5", "scenarios/classic-http"),
    ("flows/baseline.sf9", "classic-http.v9", "scenarios/classic-http"),
    ("flows/baseline.biflow", "classic-http.v10", "scenarios/classic-http"),
    ("flows/baseline.biflow", "classic-http.biflow", "scenarios/classic-http"),
    ("flows/baseline.sf9", "buildx-grpc.v9", "scenarios/buildx-grpc"),
    ("flows/baseline.sf9", "benign-new-dst-no-build.v9", "scenarios/benign-new-dst-no-build"),
    ("scenarios/baseline", "dev-long-build.sf5", "flows/dev-long-build"),
    ("flows/baseline.biflow", "dev-long-build.pm10", "flows/dev-long-build"),
    ("flows/baseline.sf9", "dev-noisy.sf9", "flows/dev-noisy"),
    ("scenarios/baseline", "dev-noisy.pm10", "flows/dev-noisy"),
    ("flows/baseline.sf9", "dev-sampled.spm10", "flows/dev-sampled.spm10"),
];

fn replayed(baseline: &str, capture: &str) -> Run {
    let lab = Lab::new();
    lab.learn(&testdata(&format!("{baseline}.pcap"))).succeeded();
    lab.replay(&testdata(&format!("flows/{capture}.pcap"))).succeeded()
}

/// Findings about a destination with this verdict.
fn told(run: &Run, verdict: &str) -> Vec<Value> {
    let mut findings = run.events("finding");
    findings.retain(|f| f["rule"] == "build-new-destination" && f["verdict"] == verdict);
    findings
}

#[test]
fn every_destination_of_a_build_is_told_and_no_other() {
    for (baseline, capture, truth) in CAPTURES {
        let run = replayed(baseline, capture);
        let text = fs::read_to_string(testdata(&format!("{truth}.truth.json"))).expect("a truth");
        let truth = parse(&text);
        let findings = truth["findings"].as_array().expect("a list");
        let expected: BTreeSet<String> =
            findings.iter().map(|f| format!("{} {}", f["docker_host"], f["destination"])).collect();
        let inferred = told(&run, "inferred");
        let pair = |f: &Value| format!("{} {}", f["docker_host"], f["destination"]["ip"]);
        assert_eq!(inferred.iter().map(pair).collect::<BTreeSet<_>>(), expected, "{capture}");
        assert!(told(&run, "noted").iter().all(|f| f["severity"] == "low"), "{capture}");
        assert!(told(&run, "correlated").is_empty() && told(&run, "observed").is_empty());
        for finding in inferred {
            let sampled = capture.starts_with("dev-sampled");
            assert_eq!(finding["severity"], if sampled { "low" } else { "medium" }, "{capture}");
            assert!(finding["evidence"][0]["record"].is_number(), "{capture}: {finding}");
        }
        for build in run.events("build") {
            assert_eq!(build["frontend"], "inferred", "{capture}");
            assert_eq!(build["transport"], "flow", "{capture}");
        }
    }
}

#[test]
fn the_exporters_own_conversation_is_no_destination() {
    let lab = Lab::learned();
    lab.learn(&testdata("flows/dev-noisy.sf9.pcap")).succeeded();
    let known = lab.run("seen", ["list"]).succeeded().text();
    assert!(!known.contains("10.10.9.9"), "the collector's address was learned: {known}");
}

#[test]
fn stats_tell_of_datagrams_and_records() {
    let run = replayed("flows/baseline.sf9", "classic-http.v9");
    let text = String::from_utf8_lossy(&run.stdout);
    let stats = parse(text.lines().last().expect("a last line"));
    let exports = &stats["exports"];
    assert!(exports["records"].as_u64() > Some(2), "{exports}");
    assert_eq!(exports["gaps"], 0, "{exports}");
}

/// The messages of a capture, one after the other (RFC 5655).
fn file_of(lab: &Lab, capture: &str) -> std::path::PathBuf {
    lab.file(&format!("{capture}.ipfix"), &crate::collecting::exports(capture).concat())
}

#[test]
fn an_ipfix_file_tells_and_teaches_as_its_messages_on_the_wire() {
    let lab = Lab::new();
    let baseline = file_of(&lab, "baseline.biflow");
    lab.learn(&baseline).succeeded();
    let pairs = |run: &Run| -> BTreeSet<String> {
        told(run, "inferred").iter().map(|f| f["destination"]["ip"].to_string()).collect()
    };
    for capture in ["classic-http.v10", "classic-http.biflow", "dev-noisy.pm10"] {
        let file = file_of(&lab, capture);
        let run = lab.replay(&file).succeeded();
        assert_eq!(pairs(&run), pairs(&replayed("flows/baseline.biflow", capture)), "{capture}");
        assert!(!pairs(&run).is_empty());
        let read = lab.command("dissect").arg(&file).output().expect("it runs").stdout;
        assert!(String::from_utf8_lossy(&read).contains("\"event_type\":\"flow_record\""));
    }
    let bytes = fs::read(file_of(&lab, "classic-http.v10")).expect("a file");
    let cut = lab.file("cut.ipfix", &bytes[..bytes.len() - 5]);
    let run = lab.replay(&cut).succeeded();
    run.names(&["cut off", "byte"]);
}
