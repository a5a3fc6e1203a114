//! The command line: examples in every help, columns that a program can cut, errors that name the way out.

use crate::support::{Lab, testdata};

const COMMANDS: [&str; 8] =
    ["replay", "learn", "audit", "collector", "dissect", "seen", "check-config", "completions"];

#[test]
fn every_help_has_examples_that_name_options_that_there_are() {
    let lab = Lab::new();
    for command in COMMANDS {
        let output = lab.command(command).arg("--help").output().expect("the binary starts");
        assert!(output.status.success());
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        let (options, examples) =
            help.split_once("Examples:").unwrap_or_else(|| panic!("{command}"));
        let own = format!("tidewaiter {command}");
        assert!(examples.contains(&own), "{command}");
        if command == "seen" {
            continue;
        }
        for option in examples.split([' ', '\n', ';', '|']).filter(|word| word.starts_with("--")) {
            assert!(options.contains(option), "{command}: {option}");
        }
    }
}

#[test]
fn help_without_a_terminal_has_no_styles() {
    let lab = Lab::new();
    let output = lab.command("replay").arg("--help").output().expect("the binary starts");
    assert!(!output.stdout.contains(&0x1b));
    let account = lab.run("replay", [testdata("scenarios/classic-http.pcap")]).succeeded();
    assert!(!account.stdout.contains(&0x1b));
}

/// Columns are parted by at least two blanks, and every row has as many as the head.
#[test]
fn the_audits_columns_can_be_cut() {
    let lab = Lab::new();
    let text = lab.run("audit", [testdata("scenarios/full-chain.pcap")]).succeeded().text();
    let mut lines = text.lines().skip_while(|line| !line.trim_start().starts_with("CALLER"));
    let head = lines.next().expect("a table of callers");
    let cells = |line: &str| line.trim().split("  ").filter(|c| !c.trim().is_empty()).count();
    assert_eq!(
        head.split_whitespace().collect::<Vec<_>>(),
        [
            "CALLER",
            "NETWORK",
            "HOW",
            "OPERATION",
            "CALLS",
            "ANSWERED",
            "REFUSED",
            "FAILED",
            "FIRST",
            "LAST"
        ]
    );
    let rows: Vec<&str> = lines.take_while(|line| !line.trim().is_empty()).collect();
    assert!(rows.len() > 3);
    for row in rows {
        assert_eq!(cells(row), cells(head), "{row}");
    }
}

#[test]
fn the_stores_columns_are_where_they_were() {
    let text = Lab::learned().run("seen", ["stats"]).succeeded().text();
    let rows: Vec<&str> = text.lines().filter(|line| line.contains(" host rows ")).collect();
    assert!(rows.len() >= 8, "{text}");
    let ends = |row: &str, word: &str| row.find(word).unwrap_or_else(|| panic!("{word}: {row}"));
    for row in &rows {
        for word in [" entries", " host rows", "baseline "] {
            assert_eq!(ends(row, word), ends(rows[0], word), "{row}");
        }
    }
}

#[test]
fn an_error_names_the_way_out() {
    let lab = Lab::new();
    let capture = testdata("scenarios/classic-http.pcap").display().to_string();
    lab.run("replay", ["--all-events", &capture]).failed(2, &["--format json"]);
    let missing = lab.run("replay", ["no-such.pcap"]);
    missing.failed(1, &["cannot open", "no-such.pcap"]);
    lab.run("replay", ["--report", "case", &capture]).failed(2, &[".html or .md"]);
}
