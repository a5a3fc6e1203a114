//! The last block: what was read, what was found, what the reader should not conclude.

use std::fmt::Write as _;

use tw_model::{RegistryVerb, Timestamp};

use super::super::attack;
use super::super::case::Case;
use super::{Page, bytes, count, span, thousands, word};
use crate::engine::Counters;

/// What was read, for the summary and the `stats` line.
pub(crate) struct Reading {
    /// Counters of the engine.
    pub(crate) counters: Counters,
    /// First and latest frame.
    pub(crate) span: Option<(Timestamp, Timestamp)>,
    /// Was anything known before?
    pub(crate) baseline: bool,
    /// Warnings of the inputs.
    pub(crate) warnings: Vec<String>,
}

pub(super) fn block(page: &mut Page<'_>, case: &Case, reading: &Reading) {
    let counters = &reading.counters;
    let _ = writeln!(page.out, "Summary");
    let found: Vec<String> = case
        .by_severity()
        .into_iter()
        .map(|(severity, number)| format!("{number} {}", word(severity).to_lowercase()))
        .collect();
    let pulls = case.registries.iter().filter(|t| t.body.action == RegistryVerb::Pull).count();
    let pushes = case.registries.len().saturating_sub(pulls);
    let total = count(case.findings.len(), "finding");
    let found = if found.is_empty() {
        "no findings".to_owned()
    } else {
        format!("{total}: {}", found.join(", "))
    };
    page.field(2, "found", &format!("{}, {found}", count(case.incidents.len(), "incident")));
    page.field(
        2,
        "seen",
        &format!(
            "{}, {}, {}, {}, {}",
            count(case.builds.len(), "build"),
            count(case.creations.len(), "other image creation"),
            count(pulls, "image pull"),
            format_args!("{pushes} image {}", if pushes == 1 { "push" } else { "pushes" }),
            count(case.containers.len(), "container action"),
        ),
    );
    let when =
        reading.span.map_or_else(String::new, |(first, last)| format!(", {}", span(first, last)));
    let frames = format!(
        "{} frame{}, {}",
        thousands(counters.frames),
        if counters.frames == 1 { "" } else { "s" },
        bytes(counters.bytes)
    );
    page.field(2, "read", &format!("{frames}{when}"));
    if !reading.baseline {
        page.field(
            2,
            "baseline",
            "none: what is new cannot be told from what is ordinary (see `tidewaiter learn --help`)",
        );
    }
    losses(page, case, reading);
    if case.findings.is_empty() {
        page.field(
            2,
            "note",
            "no finding is no clean bill: builds over the local socket or ssh, and what was not captured, cannot be seen",
        );
    }
    page.field(
        2,
        "ATT&CK",
        &format!("names of techniques are those of version {}", attack::version()),
    );
}

fn losses(page: &mut Page<'_>, case: &Case, reading: &Reading) {
    let stream = &reading.counters.stream;
    if stream.gaps > 0 {
        let text =
            format!("{} gaps, {} missing from connections", stream.gaps, bytes(stream.gap_bytes));
        page.field(2, "lost", &text);
    }
    let wire = &reading.counters.wire;
    let errors = wire.link_cut + wire.ip_cut + wire.ip_malformed + wire.transport_malformed;
    if errors > 0 {
        page.field(
            2,
            "undecoded",
            &format!("{errors} frames (see the stats line of --format json)"),
        );
    }
    if !case.anomalies.is_empty() {
        page.field(2, "anomalies", &format!("{} (--format json has them)", case.anomalies.len()));
    }
    for warning in &reading.warnings {
        page.field(2, "warning", warning);
    }
}
