//! How well builds are inferred: `testdata/inference` measured, and the tables in `docs/inference.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::support::{Lab, Run, check_all, testdata};

/// A line of `recordings.tsv`.
#[derive(Clone, Debug)]
struct Recording {
    name: String,
    is_build: bool,
    host: String,
    destination: String,
    held_out: bool,
}

impl Recording {
    fn all() -> Vec<Self> {
        let table = fs::read_to_string(testdata("inference/recordings.tsv")).expect("a table");
        let mut lines = table.lines();
        let head: Vec<&str> = lines.next().expect("a head").split('\t').collect();
        let column = |name| head.iter().position(|field| *field == name).expect("a column");
        let [name, what, host, destination, half] =
            ["name", "what", "host", "destination", "half"].map(column);
        let read = |line: &str| {
            let fields: Vec<&str> = line.split('\t').collect();
            Self {
                name: fields[name].to_owned(),
                is_build: fields[what] == "build",
                host: fields[host].to_owned(),
                destination: fields[destination].to_owned(),
                held_out: fields[half] == "held out",
            }
        };
        lines.map(read).collect()
    }

    /// Is the destination told as that of a build, at medium or above?
    fn is_told(&self, run: &Run) -> bool {
        run.events("finding").iter().any(|finding| {
            let is_build = finding["techniques"].to_string().contains("T1612");
            let grave = ["medium", "high", "critical"].iter().any(|s| finding["severity"] == *s);
            is_build
                && grave
                && finding["docker_host"] == *self.host
                && finding["destination"]["ip"] == *self.destination
        })
    }
}

/// What is right and wrong of one half.
#[derive(Clone, Debug, Default)]
struct Score {
    told: usize,
    missed: Vec<String>,
    silent: usize,
    taken: Vec<String>,
}

impl Score {
    fn row(&self, set: &str, half: &str) -> String {
        let (builds, others) = (self.told + self.missed.len(), self.silent + self.taken.len());
        let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
        format!(
            "| {set} | {half} | {} of {builds} | {} of {others} | {:.2} | {:.2} |",
            self.told,
            self.taken.len(),
            share(self.told, self.told + self.taken.len()),
            share(self.told, builds),
        )
    }
}

/// Rows of the table for one set, and the recordings that went wrong.
fn measured(set: &str, folder: &str, is_of_set: impl Fn(&Recording) -> bool) -> Vec<String> {
    let recordings: Vec<Recording> = Recording::all().into_iter().filter(is_of_set).collect();
    let scores: Mutex<BTreeMap<bool, Score>> = Mutex::default();
    check_all(&recordings, |recording| {
        let file = format!("inference/{folder}/{}.pcap.zst", recording.name);
        let run = Lab::learned().replay(&capture(&file)).succeeded();
        let told = recording.is_told(&run);
        let mut scores = scores.lock().expect("no panic");
        let score = scores.entry(recording.held_out).or_default();
        match (recording.is_build, told) {
            (true, true) => score.told += 1,
            (true, false) => score.missed.push(recording.name.clone()),
            (false, true) => score.taken.push(recording.name.clone()),
            (false, false) => score.silent += 1,
        }
        Vec::new()
    });
    let scores = scores.into_inner().expect("no panic");
    let half = |held_out| if held_out { "held out" } else { "choosing" };
    for score in scores.values() {
        eprintln!("{set}: missed {:?}, taken {:?}", score.missed, score.taken);
    }
    scores.iter().map(|(held_out, score)| score.row(set, half(*held_out))).collect()
}

fn capture(file: &str) -> PathBuf {
    testdata(file)
}

#[test]
fn the_tables_in_the_document_are_what_is_measured() {
    let tls = |recording: &Recording| !recording.name.starts_with('c');
    let rows = [
        measured("packets, TLS without keys", "tls", tls),
        measured("flow records, TLS", "flows", tls),
        measured("flow records, in clear", "flows", |recording| !tls(recording)),
    ]
    .concat();
    let document = fs::read_to_string(testdata("../docs/inference.md")).expect("a document");
    let missing: Vec<&String> =
        rows.iter().filter(|row| !document.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "not in docs/inference.md:\n{}", rows.join("\n"));
}
