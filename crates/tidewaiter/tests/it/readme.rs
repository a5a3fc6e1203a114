//! The README shows what the program prints.

use std::fs;

use crate::support::{Lab, testdata};

/// The fenced blocks marked `text`.
fn excerpts(markdown: &str) -> Vec<&str> {
    let blocks = markdown.split("```text\n").skip(1);
    blocks.map(|block| block.split("```").next().expect("split gives one")).collect()
}

#[test]
fn excerpts_in_the_readme_are_printed_in_their_order() {
    let root = testdata("..");
    let readme = fs::read_to_string(root.join("README.md")).expect("README.md is there");
    let excerpts = excerpts(&readme);
    assert!(excerpts.len() > 3, "the README explains the account part by part");
    let lab = Lab::learned();
    let output = lab
        .command("replay")
        .arg("--data-dir")
        .arg(lab.data_dir())
        .args(["--format", "text", "testdata/scenarios/full-chain.pcap"])
        .current_dir(root)
        .output()
        .expect("the binary starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut rest = text.as_str();
    for excerpt in excerpts {
        let at = rest.find(excerpt);
        let at = at.unwrap_or_else(|| panic!("not printed, or not here:\n{excerpt}\nof\n{text}"));
        rest = &rest[at + excerpt.len()..];
    }
}
