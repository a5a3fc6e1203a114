//! The recordings under `testdata/`, each with its truth, and what replaying it printed.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::Value;

use crate::support::{Lab, Run, parse, testdata};

/// Parts of a file name that say that the wire lost something.
const LOSSY: [&str; 4] = ["loss", "toserver", "toclient", "midstream"];

/// A recording.
#[derive(Clone, Debug)]
pub(crate) struct Capture {
    /// `scenarios/classic-http`, `wire/classic-http.vlan`.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl Capture {
    pub(crate) fn new(name: &str) -> Self {
        let path = testdata(&format!("{name}.pcap"));
        Self { name: name.to_owned(), path }
    }

    /// All under `testdata/SET`, sorted by name, but for the baseline.
    pub(crate) fn all(set: &str) -> Vec<Self> {
        let mut captures = Vec::new();
        for entry in fs::read_dir(testdata(set)).expect("testdata is there") {
            let path = entry.expect("a readable folder").path();
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some((stem, _)) = file.split_once(".pcap") else { continue };
            if stem != "baseline" {
                captures.push(Self { name: format!("{set}/{stem}"), path });
            }
        }
        captures.sort_by(|a, b| a.name.cmp(&b.name));
        assert!(!captures.is_empty(), "no captures in testdata/{set}");
        captures
    }

    /// `classic-http` of `wire/classic-http.vlan`.
    pub(crate) fn scenario(&self) -> &str {
        let file = self.name.rsplit('/').next().unwrap_or_default();
        file.split('.').next().unwrap_or_default()
    }

    /// `vlan` of `wire/classic-http.vlan`, empty for the scenario itself.
    pub(crate) fn variant(&self) -> &str {
        self.name.split_once('.').map_or("", |(_, variant)| variant)
    }

    pub(crate) fn is_lossy(&self) -> bool {
        self.is_snapped() || LOSSY.contains(&self.variant())
    }

    /// Packets are cut, so that details of a request may lie beyond the cut.
    pub(crate) fn is_snapped(&self) -> bool {
        self.variant().starts_with("snap")
    }

    pub(crate) fn truth(&self) -> Value {
        let path = testdata(&format!("scenarios/{}.truth.json", self.scenario()));
        parse(&fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }

    /// What `replay --format json` prints after the baseline was learned; run once for all tests.
    pub(crate) fn replayed(&self) -> Arc<Run> {
        type Slot = Arc<OnceLock<Arc<Run>>>;
        static RUNS: Mutex<BTreeMap<PathBuf, Slot>> = Mutex::new(BTreeMap::new());
        let slot = {
            let mut runs = RUNS.lock().expect("nothing panics under this lock");
            Arc::clone(runs.entry(self.path.clone()).or_default())
        };
        Arc::clone(slot.get_or_init(|| Arc::new(Lab::learned().replay(&self.path).succeeded())))
    }
}
