//! The README shows what the program prints.

use std::fs;

use crate::support::{Lab, testdata};

/// The fenced blocks with that mark.
fn excerpts<'m>(markdown: &'m str, mark: &str) -> Vec<&'m str> {
    let fence = format!("```{mark}\n");
    let blocks: Vec<&str> = markdown.split(fence.as_str()).skip(1).collect();
    blocks.into_iter().map(|block| block.split("```").next().expect("split gives one")).collect()
}

#[test]
fn excerpts_in_the_readme_are_printed_in_their_order() {
    let root = testdata("..");
    let readme = fs::read_to_string(root.join("README.md")).expect("README.md is there");
    let account = excerpts(&readme, "text");
    assert!(account.len() > 3, "the README explains the account part by part");
    printed_in_order("replay", &account);
    printed_in_order("audit", &excerpts(&readme, "text audit"));
}

fn printed_in_order(command: &str, excerpts: &[&str]) {
    let lab = Lab::learned();
    let output = lab
        .command(command)
        .arg("--data-dir")
        .arg(lab.data_dir())
        .args(["--format", "text", "testdata/scenarios/full-chain.pcap"])
        .current_dir(testdata(".."))
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
