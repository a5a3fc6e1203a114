//! What is printed for a capture is what was printed when somebody last looked at it.
//!
//! `TW_BLESS=1` rewrites `X.expect.jsonl`; the diff is then a matter of review.

use std::path::PathBuf;
use std::{env, fs};

use crate::captures::Capture;
use crate::support::{check_all, testdata};

/// Captures whose whole output is kept: one for each kind of thing that can be told.
const KEPT: [&str; 10] = [
    "scenarios/build-inbound",
    "scenarios/buildkit-dns",
    "scenarios/buildx-grpc",
    "scenarios/classic-http",
    "scenarios/commit-image",
    "scenarios/full-chain",
    "scenarios/pull-unseen-registry",
    "scenarios/push-implant",
    "scenarios/service-deploy",
    "wire/classic-http.toclient",
];

fn expectation(capture: &str) -> PathBuf {
    testdata(&format!("{capture}.expect.jsonl"))
}

#[test]
fn golden_output_is_unchanged() {
    let blessing = env::var_os("TW_BLESS").is_some();
    check_all(&KEPT, |name| {
        let run = Capture::new(name).replayed();
        let printed: String = run.lines().into_iter().map(|line| line + "\n").collect();
        if blessing {
            fs::write(expectation(name), &printed).expect("testdata is writable");
            return Vec::new();
        }
        let Ok(expected) = fs::read_to_string(expectation(name)) else {
            return vec![format!("{name}: no expectation; TW_BLESS=1 makes one")];
        };
        first_difference(&expected, &printed).map(|d| format!("{name}: {d}")).into_iter().collect()
    });
}

fn first_difference(expected: &str, printed: &str) -> Option<String> {
    if expected == printed {
        return None;
    }
    let (mut old, mut new) = (expected.lines(), printed.lines());
    for number in 1.. {
        match (old.next(), new.next()) {
            (None, None) => break,
            (a, b) if a == b => {}
            (a, b) => {
                let end = "(end of output)";
                return Some(format!(
                    "line {number}\n  - {}\n  + {}",
                    a.unwrap_or(end),
                    b.unwrap_or(end)
                ));
            }
        }
    }
    Some("line ends differ".to_owned())
}
