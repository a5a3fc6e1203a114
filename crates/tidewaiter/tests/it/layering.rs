//! Which crate may know which.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::process::Command;

use serde_json::Value;

use crate::support::parse;

/// What each crate may depend on. `detect` cannot name a packet, and the store cannot either.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("tw-model", &[]),
    ("tw-wire", &["tw-model"]),
    ("tw-stream", &["tw-model", "tw-wire"]),
    ("tw-capture", &["tw-model", "tw-wire"]),
    ("tw-proto", &["tw-model"]),
    ("tw-docker", &["tw-model", "tw-proto"]),
    ("tw-detect", &["tw-model"]),
    ("tw-store", &["tw-model", "tw-detect"]),
    ("tw-testkit", &["tw-model"]),
];

/// May depend on everything.
const TOPS: [&str; 2] = ["tidewaiter", "tw-bench"];

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

/// The workspace's own crates that `package` depends on; by a test, `tw-testkit` is always allowed.
fn own_dependencies(package: &Value) -> BTreeSet<&str> {
    let dependencies = package["dependencies"].as_array().expect("a list of dependencies");
    let is_own = |dependency: &&Value| dependency.get("path").is_some_and(Value::is_string);
    let is_kit =
        |dependency: &&Value| dependency["kind"] == "dev" && dependency["name"] == "tw-testkit";
    dependencies
        .iter()
        .filter(|d| is_own(d) && !is_kit(d))
        .filter_map(|d| d["name"].as_str())
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let packages = workspace();
    assert!(packages.len() > ALLOWED.len(), "cargo metadata lists the workspace");
    for package in &packages {
        let name = package["name"].as_str().expect("a name");
        if TOPS.contains(&name) {
            continue;
        }
        let may = allowed.get(name).unwrap_or_else(|| panic!("{name} has no place in the order"));
        for dependency in own_dependencies(package) {
            assert!(may.contains(&dependency), "{name} must not depend on {dependency}");
        }
    }
}
