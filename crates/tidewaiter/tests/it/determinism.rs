//! The same input gives the same bytes.

use crate::captures::Capture;
use crate::support::{Lab, check_all};

#[test]
fn two_runs_print_identical_bytes() {
    let names = ["scenarios/full-chain", "scenarios/two-daemons", "wire/classic-http.loss"];
    check_all(&names, |name| {
        let capture = Capture::new(name);
        let again = Lab::learned().replay(&capture.path).succeeded();
        let same = again.lines() == capture.replayed().lines();
        if same { vec![] } else { vec![format!("{name}: the second run printed something else")] }
    });
}

#[test]
fn a_replay_does_not_teach_the_next_one() {
    let lab = Lab::learned();
    let capture = Capture::new("scenarios/classic-http");
    let first = lab.replay(&capture.path).succeeded();
    let second = lab.replay(&capture.path).succeeded();
    assert!(!first.events("finding").is_empty());
    assert_eq!(first.lines(), second.lines());
}

#[test]
fn a_destination_that_was_learned_is_new_no_more() {
    let lab = Lab::learned();
    let capture = Capture::new("scenarios/classic-http");
    lab.learn(&capture.path).succeeded();
    let after = lab.replay(&capture.path).succeeded();
    let new_destinations = after
        .events("finding")
        .iter()
        .filter(|finding| finding["rule"] == "build-new-destination")
        .count();
    assert_eq!(new_destinations, 0);
}
