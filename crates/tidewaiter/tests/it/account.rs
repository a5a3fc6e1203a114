//! What the account for a person says, and what it must not.

use std::path::Path;

use crate::support::{Lab, testdata};

fn account(lab: &Lab, capture: &str) -> String {
    let path = testdata(capture);
    let arguments = [Path::new("--format"), Path::new("text"), &path];
    lab.run("replay", arguments).succeeded().text()
}

#[test]
fn without_a_baseline_nothing_is_called_new() {
    let text = account(&Lab::new(), "scenarios/full-chain.pcap");
    for claim in ["NEW", "never seen", "no builder there", "unfamiliar"] {
        assert!(!text.contains(claim), "{claim} in: {text}");
    }
    for admission in ["which may be new", "not known here", "new           cannot be told"] {
        assert!(text.contains(admission), "{admission} is not in: {text}");
    }
}

#[test]
fn of_equal_findings_the_one_about_a_destination_leads() {
    let text = account(&Lab::learned(), "wire/classic-http.loss.pcap");
    let lead = text.split("What happened").next().expect("split gives one");
    assert!(lead.contains("for http://203.0.113.77/xmrig;"), "{lead}");
}

#[test]
fn of_a_monitor_that_polls_the_first_and_the_last_call_are_told() {
    let text = account(&Lab::learned(), "scenarios/mixed-office.pcap.zst");
    let polls = text.lines().filter(|line| line.contains("called GET /containers/json"));
    let polls: Vec<&str> = polls.collect();
    assert_eq!(polls.len(), 2, "{polls:?}");
    assert!(polls[0].ends_with(", the first of 15 times"), "{polls:?}");
    assert!(polls[1].ends_with(", the last of 15 times"), "{polls:?}");
}

#[test]
fn a_build_that_fetched_nothing_says_so() {
    let text = account(&Lab::learned(), "scenarios/benign-no-download.pcap");
    assert!(text.contains("destination   none was seen in its window"), "{text}");
}
