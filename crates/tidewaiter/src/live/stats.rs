//! The `stats` event of a collector that runs.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use tw_capture::Opened;
use tw_model::{Severity, Timestamp};
use tw_netflow::{ExporterState, Usage};
use tw_store::CommittedThrough;

use crate::engine::Counters;
use crate::report::json::{About, Writer};
use crate::report::stats::{self, Exports};

/// What a line is made of.
pub(crate) struct Run<'a> {
    pub(crate) counters: &'a Counters,
    pub(crate) detector: &'a tw_detect::Counters,
    pub(crate) sockets: Sockets,
    pub(crate) exporters: &'a [ExporterState],
    pub(crate) usage: Usage,
    pub(crate) findings: &'a BTreeMap<Severity, usize>,
    pub(crate) told_forgotten: u64,
    pub(crate) store: Store,
    pub(crate) committed: &'a [CommittedThrough],
    pub(crate) now: Timestamp,
    pub(crate) started: Timestamp,
}

/// What the sockets counted.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sockets {
    pub(crate) received: u64,
    pub(crate) dropped: u64,
    pub(crate) tcp_refused: u64,
    pub(crate) tcp_broken: u64,
    pub(crate) errors: u64,
    pub(crate) listening: Vec<Listening>,
}

/// A socket as it was opened.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Listening {
    address: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    receive_buffer_bytes: Option<usize>,
}

impl From<&Opened> for Listening {
    fn from(opened: &Opened) -> Self {
        Self { address: opened.address, receive_buffer_bytes: opened.receive_buffer }
    }
}

/// How the store stands.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Store {
    pub(crate) pending_rows: usize,
    pub(crate) entries: u64,
    pub(crate) fill: f64,
    pub(crate) error_probability: f64,
    pub(crate) failed_saves: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    sockets: Sockets,
    exports: Exports,
    unlisted: Unlisted<'a>,
    exporters: Vec<Exporter>,
    #[serde(skip_serializing_if = "is_zero")]
    exporters_not_listed_here: usize,
    holding: Holding,
    detector: BTreeMap<&'static str, u64>,
    findings: &'a BTreeMap<Severity, usize>,
    #[serde(skip_serializing_if = "is_none_forgotten")]
    told_forgotten: u64,
    store: Store,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    committed_through: Vec<Reached<'a>>,
    elapsed_ms: u128,
}

#[derive(Serialize)]
struct Unlisted<'a> {
    datagrams: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exporters: &'a BTreeMap<IpAddr, u64>,
}

#[derive(Serialize)]
struct Exporter {
    exporter: IpAddr,
    records: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_behind_ms: Option<i64>,
    heard: Timestamp,
}

#[derive(Serialize)]
struct Holding {
    exporters: usize,
    template_fields: usize,
    waiting_bytes: usize,
    conversations: usize,
}

#[derive(Serialize)]
struct Reached<'a> {
    source: &'a str,
    record: u64,
    timestamp: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls it with")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls it with")]
const fn is_none_forgotten(count: &u64) -> bool {
    *count == 0
}

/// Exporters that are told one by one; the most recently heard.
const EXPORTERS: usize = 256;

/// The line, without its line feed.
pub(crate) fn line(writer: &Writer<'_>, run: &Run<'_>) -> String {
    let about = About { event: "stats", timestamp: run.now, environment: "", evidence: &[] };
    let mut exporters = run.exporters.to_vec();
    exporters
        .sort_unstable_by_key(|exporter| (std::cmp::Reverse(exporter.heard), exporter.address));
    exporters.truncate(EXPORTERS);
    exporters.sort_unstable_by_key(|exporter| exporter.address);
    let line = Line {
        sockets: run.sockets.clone(),
        exports: stats::exports(run.counters),
        unlisted: Unlisted {
            datagrams: run.counters.unlisted_datagrams,
            exporters: &run.counters.unlisted_exporters,
        },
        exporters_not_listed_here: run.exporters.len() - exporters.len(),
        exporters: exporters.into_iter().map(exporter).collect(),
        holding: Holding {
            exporters: run.usage.exporters,
            template_fields: run.usage.fields,
            waiting_bytes: run.usage.held_bytes,
            conversations: run.usage.conversations,
        },
        detector: stats::detector(run.detector),
        findings: run.findings,
        told_forgotten: run.told_forgotten,
        store: run.store,
        committed_through: run.committed.iter().map(reached).collect(),
        elapsed_ms: run.now.since(run.started).as_millis(),
    };
    writer.line(&about, line)
}

/// The same in one line for a person.
pub(crate) fn text(run: &Run<'_>) -> String {
    let netflow = &run.counters.netflow;
    let findings: usize = run.findings.values().sum();
    let mut parts = vec![
        format!("{} records of {} exporters", netflow.records, run.exporters.len()),
        format!("{} conversations under way", run.usage.conversations),
        format!("{findings} findings"),
    ];
    for (count, what) in [
        (run.sockets.dropped, "datagrams dropped by the kernel"),
        (netflow.missing, "records or datagrams missing"),
        (netflow.sets_lost, "sets without a template"),
        (run.counters.unlisted_datagrams, "datagrams of exporters that are not on the list"),
        (netflow.malformed, "malformed datagrams"),
        (netflow.conversations_lost, "conversations ended for want of room"),
        (run.store.failed_saves, "failed saves"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    format!("{}  {}", run.now, parts.join(", "))
}

const fn exporter(state: ExporterState) -> Exporter {
    let behind = match state.behind_nanos {
        Some(nanos) => Some(nanos / 1_000_000),
        None => None,
    };
    Exporter {
        exporter: state.address,
        records: state.records,
        clock_behind_ms: behind,
        heard: state.heard,
    }
}

fn reached(through: &CommittedThrough) -> Reached<'_> {
    Reached { source: &through.source, record: through.record, timestamp: through.timestamp }
}
