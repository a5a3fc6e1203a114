//! One incident.

use std::fmt::Write as _;

use serde::Serialize;
use tw_model::{Axis, Caveat, Finding, Incident, NameOrigin, Novelty, Rule, Scope};

use super::super::attack;
use super::super::case::Case;
use super::{Page, build, clock, day_and_second, paint, registry, span, word};

pub(super) fn block(page: &mut Page<'_>, case: &Case, incident: &Incident) {
    header(page, incident);
    let findings = case.findings_of(incident);
    // How somebody could get in explains nothing of what was done, however grave it is.
    let told = findings.iter().find(|finding| finding.rule != Rule::ApiExposed);
    if let Some(lead) = told.or_else(|| findings.first()) {
        page.blank();
        page.paragraph(2, &lead.summary);
    }
    page.heading("What happened");
    let day = incident.started.utc_day();
    for entry in &incident.timeline {
        let later = entry.timestamp.utc_day() - day;
        let days = if later == 0 { String::new() } else { format!("+{later}d ") };
        page.field(4, &format!("{days}{}", clock(entry.timestamp)), &entry.text);
    }
    page.heading("Findings");
    for finding in &findings {
        one(page, finding);
    }
    build::of_incident(page, case, &findings);
    registry::of_incident(page, case, incident);
    caveats(page, &incident.caveats);
    page.blank();
}

fn header(page: &mut Page<'_>, incident: &Incident) {
    let style = paint(incident.severity);
    let _ = writeln!(
        page.out,
        "{style}{}{style:#}  incident {} on docker host {} (environment {})",
        word(incident.severity),
        incident.id,
        incident.docker_host,
        super::terminal(&incident.environment),
    );
    let callers: Vec<String> = incident.clients.iter().map(ToString::to_string).collect();
    page.field(2, "when", &span(incident.started, incident.ended));
    if !callers.is_empty() {
        page.field(2, "called by", &callers.join(", "));
    }
    let techniques: Vec<String> = incident
        .techniques
        .iter()
        .map(|id| match attack::technique(id) {
            Some(technique) => format!("{id} {} ({})", technique.name, technique.tactic),
            None => id.clone(),
        })
        .collect();
    page.field(2, "ATT&CK", &techniques.join(", "));
}

fn one(page: &mut Page<'_>, finding: &Finding) {
    let style = paint(finding.severity);
    let verdict =
        finding.verdict.map_or_else(String::new, |verdict| format!(", {}", name(&verdict)));
    let first = format!("    {style}{:<8}{style:#}  ", word(finding.severity));
    page.wrapped(&first, &" ".repeat(14), &finding.title);
    page.field(14, "rule", &format!("{}{verdict}", name(&finding.rule)));
    if let Some(destination) = &finding.destination {
        let names: Vec<String> = destination
            .names
            .iter()
            .map(|entry| format!("{} ({})", entry.name, origin(entry.from)))
            .collect();
        if !names.is_empty() {
            page.field(14, "names", &names.join(", "));
        }
        if let Some(proxy) = &destination.via_proxy {
            page.field(14, "through proxy", proxy);
        }
    }
    if let Some(novelty) = &finding.novelty {
        page.field(14, "new", &new(novelty, &finding.caveats));
    }
    if !finding.caveats.is_empty() {
        let caveats: Vec<String> = finding.caveats.iter().map(name).collect();
        page.field(14, "weakened by", &caveats.join(", "));
    }
    let places = page.places(&finding.evidence);
    if !places.is_empty() {
        page.field(14, "evidence", &places);
    }
}

fn new(novelty: &Novelty, caveats: &[Caveat]) -> String {
    let axes: Vec<&str> = novelty.axes.iter().map(|axis| axis_name(*axis)).collect();
    let mut text = axes.join(", ");
    match novelty.scope {
        _ if axes.is_empty() => text.push_str(
            if caveats.contains(&Caveat::NoBaseline) || caveats.contains(&Caveat::StoreUnavailable)
            {
                "cannot be told"
            } else {
                "nothing"
            },
        ),
        Scope::Environment => text.push_str(", to the whole environment"),
        Scope::Host => text.push_str(", to this docker host (the environment knew it)"),
    }
    if let Some(first) = novelty.first_seen {
        let _ = write!(text, "; touched first at {}", day_and_second(first));
        if let Some(by) = novelty.first_seen_by {
            let _ = write!(text, " by {by}");
        }
    }
    match novelty.watched_since {
        Some(since) if novelty.baseline => {
            let _ = write!(text, "; watched since {}, with a baseline", day_and_second(since));
        }
        Some(since) => {
            let _ = write!(text, "; watched since {}, without a baseline", day_and_second(since));
        }
        None if novelty.baseline => text.push_str("; with a baseline"),
        None => text.push_str("; there is no baseline"),
    }
    text
}

const fn axis_name(axis: Axis) -> &'static str {
    match axis {
        Axis::Address => "address",
        Axis::Name => "name",
        Axis::Caller => "caller",
        Axis::Registry => "registry",
        Axis::Image => "image",
    }
}

const fn origin(from: NameOrigin) -> &'static str {
    match from {
        NameOrigin::Dns => "DNS answer",
        NameOrigin::Sni => "TLS server name",
        NameOrigin::Http => "HTTP host",
        NameOrigin::Dockerfile => "named by the build",
    }
}

/// The contract's own word for a value of a closed set.
pub(crate) fn name<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn caveats(page: &mut Page<'_>, caveats: &[Caveat]) {
    page.heading("What could not be seen");
    if caveats.is_empty() {
        page.paragraph(
            4,
            "Nothing is known to be missing from the parts of the capture that this rests on.",
        );
    }
    for caveat in caveats {
        page.wrapped("    - ", "      ", explain(*caveat));
    }
}

/// What a caveat means for the reader.
pub(super) const fn explain(caveat: Caveat) -> &'static str {
    match caveat {
        Caveat::NoBaseline => {
            "no-baseline: nothing was learned here before, so what is new cannot be told from what is ordinary. Run `tidewaiter learn` on earlier ordinary traffic."
        }
        Caveat::Midstream => {
            "midstream: a connection was already open when the capture began; its beginning is unknown."
        }
        Caveat::Gaps => "gaps: bytes are missing from a connection (lost before or at capture).",
        Caveat::Drops => "drops: the capture dropped packets meanwhile.",
        Caveat::Sampled => "sampled: flow records are sampled; what is absent may have happened.",
        Caveat::SamplingUnknown => {
            "sampling-unknown: flow records may be sampled; what is absent may have happened."
        }
        Caveat::TemplatesMissing => {
            "templates-missing: flow records came whose template was never seen."
        }
        Caveat::ExporterGaps => {
            "exporter-gaps: flow records were lost on the way, or the exporter began anew."
        }
        Caveat::TlsOpaque => {
            "tls-opaque: the API conversation is encrypted and no keys were given."
        }
        Caveat::OneDirection => {
            "one-direction: only one direction of a connection is in the capture."
        }
        Caveat::Truncated => "truncated: a value was cut off by the snap length or a limit.",
        Caveat::EndUnseen => {
            "end-unseen: the end of the build is not in the capture; its window ends at the last packet seen."
        }
        Caveat::AmbiguousBuild => {
            "ambiguous-build: several builds were open, and none names the destination."
        }
        Caveat::OpenerInferred => {
            "opener-inferred: who opened a connection is inferred, its beginning was not seen."
        }
        Caveat::Proxied => "proxied: a proxy stands between; what lies behind it is not seen.",
        Caveat::StoreUnavailable => "store-unavailable: the store could not be asked.",
    }
}
