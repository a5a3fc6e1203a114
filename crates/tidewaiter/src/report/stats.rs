//! The `stats` line: the last of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tw_detect::audit::AuditCounters;
use tw_model::{Evidence, RecordNumber, Severity, Timestamp};

use super::json::{About, Writer};
use super::sources::Sources;
use crate::engine::Counters;
use crate::files::Written;

/// What a `stats` line is made of.
pub(crate) struct Run<'a> {
    pub(crate) counters: &'a Counters,
    pub(crate) detector: &'a tw_detect::Counters,
    pub(crate) audit: Option<&'a AuditCounters>,
    pub(crate) findings: BTreeMap<Severity, usize>,
    pub(crate) sources: &'a Sources,
    /// The last frame of each input.
    pub(crate) reached: &'a [Evidence],
    /// Did the run commit up to there?
    pub(crate) committed: bool,
    pub(crate) warnings: &'a [String],
    pub(crate) until: Timestamp,
    pub(crate) elapsed: Duration,
    /// Files for the case.
    pub(crate) files: Option<&'a Written>,
}

#[derive(Serialize)]
struct Stats<'a> {
    frames: u64,
    bytes: u64,
    decode: Decode,
    flows: Flows,
    gaps: Gaps,
    docker: Docker,
    #[serde(skip_serializing_if = "Option::is_none")]
    exports: Option<Exports>,
    detector: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<&'a AuditCounters>,
    anomalies: u64,
    findings: &'a BTreeMap<Severity, usize>,
    warnings: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    committed_through: Vec<Reached<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    read_through: Vec<Reached<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<&'a Written>,
    elapsed_ms: u128,
}

#[derive(Serialize)]
struct Decode {
    packets: u64,
    snapped_packets: u64,
    not_ip: u64,
    unknown_links: BTreeMap<u16, u64>,
    link_cut: u64,
    ip_cut: u64,
    ip_malformed: u64,
    transport_malformed: u64,
    nesting_limit: u64,
    fragments: u64,
    fragments_reassembled: u64,
    fragments_given_up: u64,
}

#[derive(Serialize)]
struct Flows {
    tcp: u64,
    udp: u64,
    other: u64,
    peak: u64,
    evicted: u64,
    duplicates: u64,
    held_bytes_peak: u64,
}

#[derive(Serialize)]
struct Gaps {
    count: u64,
    bytes: u64,
    overlap_conflicts: u64,
    reassembly_limits: u64,
    segments_doubted: u64,
    urgent_bytes: u64,
    resets_ignored: u64,
    segments_ignored: u64,
}

#[derive(Serialize)]
struct Docker {
    connections_evicted: u64,
    exchanges_evicted: u64,
    contexts_unread: u64,
    contexts_malformed: u64,
    json_malformed: u64,
    manifests_unread: u64,
    grpc_cut: u64,
    buildkit_evicted: u64,
    repositories_evicted: u64,
    memory_evicted: u64,
}

/// Flow records, where there were any.
#[derive(Serialize)]
pub(crate) struct Exports {
    datagrams: u64,
    malformed: u64,
    records: u64,
    options: u64,
    templates: u64,
    templates_changed: u64,
    templates_withdrawn: u64,
    templates_lost: u64,
    sets_held: u64,
    sets_lost: u64,
    exporters_lost: u64,
    gaps: u64,
    missing: u64,
    restarts: u64,
    reordered: u64,
    repeated: u64,
    unjoined: u64,
    conversations_lost: u64,
    #[serde(skip_serializing_if = "is_zero")]
    unlisted_datagrams: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls it with")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Serialize)]
struct Reached<'a> {
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<u64>,
    timestamp: Timestamp,
}

/// The line, without its line feed.
pub(crate) fn line(writer: &Writer<'_>, run: &Run<'_>) -> String {
    let about = About { event: "stats", timestamp: run.until, environment: "", evidence: &[] };
    writer.line(&about, stats(run))
}

fn stats<'a>(run: &'a Run<'_>) -> Stats<'a> {
    let counters = run.counters;
    let reached: Vec<Reached<'_>> =
        run.reached.iter().map(|place| at(run.sources, place)).collect();
    let (committed_through, read_through) =
        if run.committed { (reached, Vec::new()) } else { (Vec::new(), reached) };
    Stats {
        frames: counters.frames,
        bytes: counters.bytes,
        decode: decode(counters),
        flows: flows(counters),
        gaps: gaps(counters),
        docker: docker(counters),
        exports: (counters.netflow.datagrams + counters.unlisted_datagrams > 0)
            .then(|| exports(counters)),
        detector: detector(run.detector),
        audit: run.audit,
        anomalies: counters.anomalies,
        findings: &run.findings,
        warnings: run.warnings,
        committed_through,
        read_through,
        files: run.files,
        elapsed_ms: run.elapsed.as_millis(),
    }
}

fn at<'a>(sources: &'a Sources, place: &Evidence) -> Reached<'a> {
    let frame = match place.record {
        RecordNumber::Frame(number) => Some(number),
        RecordNumber::Record(_) => None,
    };
    Reached { source: sources.name(place.source), frame, timestamp: place.timestamp }
}

fn decode(counters: &Counters) -> Decode {
    let wire = &counters.wire;
    Decode {
        packets: wire.packets,
        snapped_packets: wire.snapped_packets,
        not_ip: wire.not_ip,
        unknown_links: wire.unknown_links.iter().map(|(link, count)| (link.0, *count)).collect(),
        link_cut: wire.link_cut,
        ip_cut: wire.ip_cut,
        ip_malformed: wire.ip_malformed,
        transport_malformed: wire.transport_malformed,
        nesting_limit: wire.nesting_limit,
        fragments: wire.fragments,
        fragments_reassembled: wire.reassembled,
        fragments_given_up: wire.fragment_timeouts.saturating_add(wire.fragment_limit),
    }
}

const fn flows(counters: &Counters) -> Flows {
    let stream = &counters.stream;
    Flows {
        tcp: stream.flows_tcp,
        udp: stream.flows_udp,
        other: stream.flows_other,
        peak: stream.flows_peak,
        evicted: stream.flows_evicted,
        duplicates: stream.duplicates,
        held_bytes_peak: stream.held_bytes_peak,
    }
}

const fn gaps(counters: &Counters) -> Gaps {
    let stream = &counters.stream;
    Gaps {
        count: stream.gaps,
        bytes: stream.gap_bytes,
        overlap_conflicts: stream.overlap_conflicts,
        reassembly_limits: stream.reassembly_limits,
        segments_doubted: stream.segments_doubted,
        urgent_bytes: stream.urgent_bytes,
        resets_ignored: stream.resets_ignored,
        segments_ignored: stream.segments_ignored,
    }
}

pub(crate) fn detector(counters: &tw_detect::Counters) -> BTreeMap<&'static str, u64> {
    BTreeMap::from([
        ("observations", counters.observations),
        ("questions", counters.questions),
        ("connections_forgotten", counters.connections_forgotten),
        ("connections_lost", counters.connections_lost),
        ("late_lost", counters.late_lost),
        ("inbound_lost", counters.inbound_lost),
        ("exchanges_lost", counters.exchanges_lost),
        ("calls_lost", counters.calls_lost),
        ("builds_lost", counters.builds_lost),
        ("containers_lost", counters.containers_lost),
        ("registry_actions_lost", counters.registry_actions_lost),
        ("names_lost", counters.names_lost),
        ("mac_addresses_lost", counters.mac_addresses_lost),
        ("callers_lost", counters.callers_lost),
        ("destinations_lost", counters.destinations_lost),
        ("findings_lost", counters.findings_lost),
    ])
}

pub(crate) const fn exports(counters: &Counters) -> Exports {
    let netflow = &counters.netflow;
    Exports {
        datagrams: netflow.datagrams,
        malformed: netflow.malformed,
        records: netflow.records,
        options: netflow.options,
        templates: netflow.templates,
        templates_changed: netflow.templates_changed,
        templates_withdrawn: netflow.templates_withdrawn,
        templates_lost: netflow.templates_lost,
        sets_held: netflow.sets_held,
        sets_lost: netflow.sets_lost,
        exporters_lost: netflow.exporters_lost,
        gaps: netflow.gaps,
        missing: netflow.missing,
        restarts: netflow.restarts,
        reordered: netflow.reordered,
        repeated: netflow.repeated,
        unjoined: netflow.unjoined,
        conversations_lost: netflow.conversations_lost,
        unlisted_datagrams: counters.unlisted_datagrams,
    }
}

const fn docker(counters: &Counters) -> Docker {
    let docker = &counters.docker;
    Docker {
        connections_evicted: docker.connections_evicted,
        exchanges_evicted: docker.exchanges_evicted,
        contexts_unread: docker.contexts_unread,
        contexts_malformed: docker.contexts_malformed,
        json_malformed: docker.json_malformed,
        manifests_unread: docker.manifests_unread,
        grpc_cut: docker.grpc_cut,
        buildkit_evicted: docker.buildkit_evicted,
        repositories_evicted: docker.repositories_evicted,
        memory_evicted: docker.memory_evicted,
    }
}
