//! What a command leaves behind, and how it ends.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use crate::captures::Capture;
use crate::support::{Lab, read_folder, testdata};

#[test]
fn learning_twice_is_learning_once() {
    let lab = Lab::learned();
    let once = lab.run("seen", ["export"]).succeeded().stdout;
    assert!(once.len() > 1000, "{}", String::from_utf8_lossy(&once));
    lab.learn(&testdata("scenarios/baseline.pcap")).succeeded();
    let twice = lab.run("seen", ["export"]).succeeded().stdout;
    assert_eq!(String::from_utf8_lossy(&once), String::from_utf8_lossy(&twice));
}

#[test]
fn reading_a_store_leaves_every_byte_of_it() {
    let lab = Lab::learned();
    let before = read_folder(&lab.data_dir());
    lab.replay(&testdata("scenarios/classic-http.pcap")).succeeded();
    for command in [&["stats"][..], &["list"], &["verify"], &["query", "203.0.113.9"]] {
        lab.run("seen", command).succeeded();
    }
    assert!(before == read_folder(&lab.data_dir()), "a file changed, came or went");
}

#[test]
fn without_a_store_everything_is_new_and_nothing_is_kept() {
    let lab = Lab::new();
    let state = lab.path("state");
    let output = lab
        .command("replay")
        .env("XDG_STATE_HOME", &state)
        .args(["--format", "json"])
        .arg(testdata("scenarios/classic-http.pcap"))
        .output()
        .expect("the binary starts");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let build = text.lines().find(|line| line.contains("\"rule\":\"build-new-destination\""));
    let build = build.unwrap_or_else(|| panic!("the build is told: {text}"));
    assert!(build.contains("\"no-baseline\""), "{build}");
    assert!(!state.exists(), "a throw-away store is kept in memory");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let lab = Lab::learned();
    let capture = testdata("scenarios/full-chain.pcap");
    let path = capture.to_str().expect("UTF-8");
    for arguments in [
        &["replay", path][..],
        &["replay", "--format", "json", path],
        &["replay", "--format", "json", "--all-events", path],
        &["dissect", path],
        &["seen", "list"],
        &["man"],
        &["completions", "bash"],
    ] {
        let mut child = lab
            .command(arguments[0])
            .env("TIDEWAITER_DATA_DIR", lab.data_dir())
            .args(&arguments[1..])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        drop(child.stdout.take());
        let mut said = String::new();
        let mut stderr = child.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut said).expect("UTF-8");
        let status = child.wait().expect("it ends");
        assert_eq!((status.code(), said.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn what_was_accepted_is_known_until_it_is_forgotten() {
    let lab = Lab::learned();
    let capture = Capture::new("scenarios/classic-http");
    let is_new = || {
        let run = lab.replay(&capture.path).succeeded();
        run.events("finding").iter().any(|finding| finding["rule"] == "build-new-destination")
    };
    let address = capture.truth()["findings"][0]["destination"].clone();
    let address = address.as_str().expect("an address");
    assert!(is_new());
    lab.run("seen", ["accept", address]).succeeded();
    assert!(!is_new());
    lab.run("seen", ["forget", address]).succeeded();
    assert!(is_new());
}

#[test]
fn a_query_for_a_caller_says_where_it_called() {
    let lab = Lab::learned();
    let text = lab.run("seen", ["query", "10.10.2.20"]).succeeded().text();
    for line in [
        "address 10.10.2.20: never seen as a destination in environment default\n",
        "caller 10.10.2.20 10.10.1.5: known to environment default: learned from a baseline",
        "builder 10.10.2.20 10.10.1.5: known to environment default: learned from a baseline",
    ] {
        assert!(text.contains(line), "{line} is not in: {text}");
    }
}

#[test]
fn options_of_a_store_may_stand_after_its_commands() {
    let lab = Lab::learned();
    let data = lab.data_dir();
    let after = lab.command("seen").args(["verify", "--data-dir"]).arg(&data).output();
    assert!(after.expect("the binary starts").status.success());
}

#[test]
fn a_store_that_is_not_there_is_told() {
    let lab = Lab::new();
    let run = lab.replay(&testdata("scenarios/classic-http.pcap")).succeeded();
    run.names(&["no store in", "nothing is known"]);
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let output = Lab::new().command("man").output().expect("the binary starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    for title in ["tidewaiter", "tidewaiter-replay", "tidewaiter-seen-query"] {
        assert!(text.contains(&format!(".TH {title} 1")), "{title}: {text}");
    }
    assert!(text.contains("\\-\\-fail\\-on"), "{text}");
}

#[test]
fn standard_input_is_a_capture_too() {
    let lab = Lab::learned();
    let capture = Capture::new("scenarios/classic-http");
    let file = fs::File::open(&capture.path).expect("testdata is there");
    let output = lab
        .command("replay")
        .arg("--data-dir")
        .arg(lab.data_dir())
        .args(["--format", "json", "-"])
        .stdin(file)
        .output()
        .expect("the binary starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let findings = text.lines().filter(|line| line.contains("\"event_type\":\"finding\"")).count();
    assert_eq!(findings, capture.replayed().events("finding").len(), "{text}");
}
