//! Which crate may know which: the table in ARCHITECTURE.md against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

use crate::support::{parse, testdata};

/// What a crate may depend on; `None` for everything.
type Allowed = Option<BTreeSet<String>>;

/// The rows of the table that begins with `| crate |`, by package.
fn table() -> BTreeMap<String, Allowed> {
    let text =
        fs::read_to_string(testdata("../ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let rows = text.lines().skip_while(|line| !line.starts_with("| crate |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let package = package(cells[0].trim_matches('`'));
        let allowed = match *cells.last().expect("split gives at least one cell") {
            "all" => None,
            "–" => Some(BTreeSet::new()),
            list => Some(list.split(", ").map(self::package).collect()),
        };
        (package, allowed)
    })
    .collect()
}

fn package(name: &str) -> String {
    if name == "tidewaiter" { name.to_owned() } else { format!("tw-{name}") }
}

fn workspace() -> Vec<Value> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");
    let metadata = parse(&String::from_utf8_lossy(&output.stdout));
    metadata["packages"].as_array().expect("a list of packages").clone()
}

/// The workspace's own crates that `package` depends on; in tests, `tw-testkit` is always allowed.
fn own_dependencies(package: &Value) -> BTreeSet<String> {
    let dependencies = package["dependencies"].as_array().expect("a list of dependencies");
    let is_own = |dependency: &&Value| dependency["path"].is_string();
    let is_kit =
        |dependency: &&Value| dependency["kind"] == "dev" && dependency["name"] == "tw-testkit";
    let own = dependencies.iter().filter(|d| is_own(d) && !is_kit(d));
    own.filter_map(|d| d["name"].as_str().map(str::to_owned)).collect()
}

#[test]
fn dependencies_point_only_up_the_table() {
    let table = table();
    let packages = workspace();
    assert_eq!(packages.len(), table.len(), "a row for each crate: {:?}", table.keys());
    for package in &packages {
        let name = package["name"].as_str().expect("a name");
        let allowed = table.get(name).unwrap_or_else(|| panic!("{name} has no row"));
        let Some(allowed) = allowed else { continue };
        let wrong: Vec<_> = own_dependencies(package).difference(allowed).cloned().collect();
        assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}");
    }
}
