//! Names of ATT&CK techniques, from one versioned data file.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

const DATA: &str = include_str!("../../data/attack.toml");

static TABLE: LazyLock<Table> =
    LazyLock::new(|| toml::from_str(DATA).unwrap_or_else(|_| Table::default()));

#[derive(Deserialize, Default)]
struct Table {
    version: String,
    technique: BTreeMap<String, Technique>,
}

/// One technique.
#[derive(Deserialize)]
pub(crate) struct Technique {
    /// `Build Image on Host`.
    pub(crate) name: String,
    /// Name of the tactic.
    pub(crate) tactic: String,
}

/// Version of ATT&CK that the names are from.
pub(crate) fn version() -> &'static str {
    &TABLE.version
}

/// The technique of that id.
pub(crate) fn technique(id: &str) -> Option<&'static Technique> {
    TABLE.technique.get(id)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_reads_and_names_what_we_report() {
        let told = "T1105 T1133 T1204.003 T1525 T1609 T1610 T1611 T1612 T1613";
        for id in told.split(' ') {
            assert!(super::technique(id).is_some(), "{id}");
        }
        assert!(!super::version().is_empty());
    }
}
