//! `replay --pcap`: the packets of an incident are enough to find it again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Lab, Run, check_all, parse, testdata};

/// Each kind of chain, and each way of tapping that makes frames that are no packets.
const CAPTURES: [&str; 14] = [
    "scenarios/build-inbound.pcap",
    "scenarios/buildkit-dns.pcap",
    "scenarios/buildx-grpc.pcap",
    "scenarios/classic-http.pcap",
    "scenarios/commit-image.pcap",
    "scenarios/full-chain.pcap",
    "scenarios/pull-unseen-registry.pcap",
    "scenarios/push-implant.pcap",
    "scenarios/service-deploy.pcap",
    "scenarios/tls-docker-py.pcap",
    "wire/classic-http.frag.pcap",
    "wire/classic-http.vxlan.pcap",
    "wire/classic-http.sll.pcap",
    "wire/classic-http.pcapng.pcap",
];

fn replay(lab: &Lab, capture: &Path, more: &[&str]) -> Run {
    let mut arguments: Vec<String> = vec!["--format".into(), "json".into()];
    arguments.extend(more.iter().map(|more| (*more).to_owned()));
    arguments.push(capture.display().to_string());
    lab.run("replay", arguments)
}

/// Of `capture` with `--pcap`: the events, the packets' part of `stats`, and the folder.
fn written(lab: &Lab, capture: &Path, more: &[&str]) -> (Run, Value, PathBuf) {
    let folder = lab.path("packets");
    let path = folder.display().to_string();
    let all: Vec<&str> = ["--pcap", &path].into_iter().chain(more.iter().copied()).collect();
    let run = replay(lab, capture, &all).succeeded();
    let last = run.text().lines().last().map(parse).expect("a stats line");
    (run, last["files"]["packets"].clone(), folder)
}

/// What a finding says, without where it stands.
fn claims(run: &Run, incident: &Value) -> Vec<String> {
    let findings = run.events("finding");
    let of_it = findings.iter().filter(|finding| finding["incident"] == *incident);
    let mut claims: Vec<String> = of_it
        .map(|f| {
            let caveats = &f["caveats"];
            format!(
                "{} {} {} {} {caveats} {}",
                f["id"], f["rule"], f["severity"], f["verdict"], f["summary"]
            )
        })
        .collect();
    claims.sort();
    claims
}

fn keys(capture: &Path) -> Vec<String> {
    let keys = capture.with_extension("keys");
    if keys.exists() { vec!["--keylog".into(), keys.display().to_string()] } else { Vec::new() }
}

#[test]
fn the_packets_of_an_incident_give_its_findings_again() {
    check_all(&CAPTURES, |name| {
        let (lab, capture) = (Lab::learned(), testdata(name));
        let keys = keys(&capture);
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let (run, stats, folder) = written(&lab, &capture, &keys);
        let incidents = run.events("incident");
        let mut complaints = Vec::new();
        if incidents.is_empty() || stats["files"] != incidents.len() {
            complaints.push(format!("{name}: {stats} for {} incidents", incidents.len()));
        }
        for incident in &incidents {
            let id = incident["id"].as_str().expect("an id");
            let again = replay(&lab, &folder.join(format!("{id}.pcapng")), &keys).succeeded();
            let (before, after) = (claims(&run, &incident["id"]), claims(&again, &incident["id"]));
            if before.is_empty() || before != after {
                complaints.push(format!("{name} {id}:\n  {before:#?}\n  {after:#?}"));
            }
        }
        complaints
    });
}

#[test]
fn frames_say_where_they_are_from_and_what_they_show() {
    let lab = Lab::learned();
    let (run, _, folder) = written(&lab, &testdata("scenarios/classic-http.pcap"), &[]);
    let finding = &run.events("finding")[0];
    let incident = finding["incident"].as_str().expect("an id");
    let frame = finding["evidence"][0]["frame"].as_u64().expect("a frame");
    let file = fs::read(folder.join(format!("{incident}.pcapng"))).expect("written");
    let text = String::from_utf8_lossy(&file).into_owned();
    let place = format!("frame {frame} of ");
    let about = format!("finding {} ", finding["id"].as_str().expect("an id"));
    let (_, after) = text.split_once(&place).expect("the frame is there");
    let after: String = after.chars().take(900).collect();
    assert!(after.contains(&about), "{about} is not at frame {frame}");
}

/// What is no part of the incident is left out.
#[test]
fn another_hosts_conversation_is_not_in_it() {
    let lab = Lab::learned();
    let (_, stats, _) = written(&lab, &testdata("scenarios/two-daemons.pcap"), &[]);
    assert_eq!(stats["files"], 2);
    let all = fs::read(testdata("scenarios/two-daemons.pcap")).expect("there");
    let frames = tw_testkit::Records::new(&all).expect("a pcap file").count() as u64;
    assert!(stats["frames"].as_u64().expect("a number") <= frames, "{stats}");
}

#[test]
fn wireshark_opens_them_without_complaint() {
    if Command::new("capinfos").arg("--version").output().is_err() {
        return;
    }
    let lab = Lab::learned();
    let (_, stats, folder) = written(&lab, &testdata("scenarios/full-chain.pcap"), &[]);
    let file = fs::read_dir(&folder).expect("made").next().expect("one").expect("one").path();
    let output = Command::new("capinfos").args(["-T", "-r", "-M", "-c"]).arg(&file).output();
    let output = output.expect("installed");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let count = said.trim().rsplit('\t').next().map(str::to_owned);
    assert_eq!(count, Some(stats["frames"].to_string()));
    let output = Command::new("tshark").args(["-q", "-z", "io,stat,0", "-r"]).arg(&file).output();
    assert!(output.expect("installed").status.success());
}

#[cfg(unix)]
#[test]
fn only_their_owner_reads_them() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::learned();
    let (_, _, folder) = written(&lab, &testdata("scenarios/classic-http.pcap"), &[]);
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for entry in fs::read_dir(&folder).expect("made") {
        assert_eq!(mode(&entry.expect("an entry").path()), 0o600);
    }
}

#[test]
fn what_cannot_be_done_is_said_before_the_work() {
    let lab = Lab::learned();
    let capture = testdata("scenarios/classic-http.pcap").display().to_string();
    let place = lab.path("packets").display().to_string();
    lab.run("replay", ["--pcap", &place, "-"]).failed(2, &["--pcap", "twice", "file first"]);
    let file = lab.file("taken", b"").display().to_string();
    let failed = lab.run("replay", ["--pcap", &file, &capture]);
    assert!(failed.stdout.is_empty());
    failed.failed(1, &["cannot write to the folder", "taken"]);
    let folder = testdata("scenarios").display().to_string();
    lab.run("replay", ["--pcap", &folder, &folder]).failed(2, &["name another"]);
}

/// Flow records tell of conversations whose packets are not there.
#[test]
fn incidents_that_only_records_tell_of_are_counted() {
    let lab = Lab::learned();
    let (run, stats, folder) = written(&lab, &testdata("flows/classic-http.v9.pcap"), &[]);
    let incidents = run.events("incident").len();
    assert!(incidents > 0);
    assert_eq!(stats["incidents_without_packets"], incidents);
    assert_eq!(fs::read_dir(folder).expect("made").count(), 0);
}
