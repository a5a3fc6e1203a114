//! Builds and other image creations.

use tw_model::{
    Axis, Build, Caveat, Destination, Finding, Frontend, ImageCreation, Novelty, Outcome, Scope,
};

use super::super::case::{Case, Told};
use super::incident::name;
use super::{Page, bytes, clock, count, day_and_second, thousands};

/// Lines of a Dockerfile that are shown.
const DOCKERFILE_LINES: usize = 60;
/// Names of context files that are shown.
const CONTEXT_NAMES: usize = 12;

/// The builds and image creations that an incident's findings name.
pub(super) fn of_incident(page: &mut Page<'_>, case: &Case, findings: &[&Finding]) {
    let named = |id: &tw_model::BuildId| findings.iter().any(|finding| finding.builds.contains(id));
    for build in case.builds.iter().filter(|build| named(&build.body.id)) {
        one(page, build, findings);
    }
    for creation in case.creations.iter().filter(|creation| named(&creation.body.id)) {
        created(page, creation, findings);
    }
}

/// Builds that stand in no finding: one line each, so that "nothing found" can be told from "nothing seen".
pub(super) fn apart(page: &mut Page<'_>, case: &Case) {
    let named =
        |id: &tw_model::BuildId| case.findings.iter().any(|finding| finding.builds.contains(id));
    let quiet: Vec<&Told<Build>> =
        case.builds.iter().filter(|build| !named(&build.body.id)).collect();
    if quiet.is_empty() {
        return;
    }
    page.line("Builds without a finding");
    for build in quiet {
        let body = &build.body;
        let text = format!(
            "{} had {} built on {} from {}: {}, {}",
            body.client,
            or(&body.tags, "an untagged image"),
            body.daemon,
            or(&body.base_images, "an unknown base"),
            outcome(body.outcome),
            count(body.destinations.len(), "destination"),
        ) + if body.caveats.contains(&Caveat::Proxied) {
            ", others behind a proxy that could not be read"
        } else {
            ""
        };
        page.field(2, &clock(build.at), &text);
    }
    page.blank();
}

fn one(page: &mut Page<'_>, build: &Told<Build>, findings: &[&Finding]) {
    let body = &build.body;
    page.heading(&format!("Build {}", body.id.0));
    let inferred = body.frontend == Frontend::Inferred;
    page.field(4, "image", &or(&body.tags, if inferred { "(not seen)" } else { "(no tag)" }));
    if let Some(id) = &body.image_id {
        page.field(4, "image id", id);
    }
    page.field(4, "base", &or(&body.base_images, "(not seen)"));
    let agent =
        body.user_agent.as_deref().map_or_else(String::new, |agent| format!(", \"{agent}\""));
    page.field(4, "asked by", &format!("{}:{}{agent}", body.client, body.client_port));
    let version = body.api_version.as_deref().map_or_else(String::new, |v| format!(", API {v}"));
    let tls = match (body.tls, inferred) {
        (true, _) => ", TLS",
        (false, false) => ", in clear",
        (false, true) => "",
    };
    let builder = match body.frontend {
        Frontend::Inferred => "builder unknown".to_owned(),
        known => format!("{} builder", name(&known)),
    };
    page.field(4, "daemon", &format!("{}{version}, {builder}{tls}", body.daemon));
    let seconds = body.ended.since(body.started).as_secs_f64();
    page.field(
        4,
        "when",
        &format!("{} UTC, {seconds:.1} s, {}", day_and_second(body.started), outcome(body.outcome)),
    );
    if let Some(inference) = &body.inference {
        page.field(4, "inferred", &inference.signs.join("; "));
        if let Some(ja4) = &inference.ja4 {
            page.field(4, "client JA4", ja4);
        }
    }
    if let Some(remote) = &body.remote {
        page.field(4, "context from", remote);
    }
    for (key, value) in &body.build_args {
        page.field(4, "argument", &format!("{key}={value}"));
    }
    context(page, body);
    recipe(page, body);
    destinations(page, &body.destinations, findings);
    weakened(page, &body.caveats);
    let places = page.places(&build.evidence);
    page.field(4, "evidence", &places);
}

fn context(page: &mut Page<'_>, build: &Build) {
    let Some(context) = &build.context else { return };
    let mut names: Vec<&str> =
        context.names.iter().take(CONTEXT_NAMES).map(String::as_str).collect();
    if context.names.len() > CONTEXT_NAMES || context.files > context.names.len() as u64 {
        names.push("…");
    }
    let coding = match context.encoding.as_deref() {
        None | Some("identity") => String::new(),
        Some(coding) => format!(" ({coding})"),
    };
    let files = count(usize::try_from(context.files).unwrap_or(usize::MAX), "file");
    let listed =
        if names.is_empty() { String::new() } else { format!(", {files}: {}", names.join(", ")) };
    let text = format!("{}{coding}{listed}", bytes(context.bytes));
    page.field(4, "context", &text);
    if let Some(sha256) = &context.sha256 {
        page.field(4, "", &format!("sha256 {sha256}"));
    }
    if !context.executables.is_empty() {
        page.field(4, "executables", &context.executables.join(", "));
    }
}

fn recipe(page: &mut Page<'_>, build: &Build) {
    if let Some(dockerfile) = &build.dockerfile {
        page.field(4, "Dockerfile", "as uploaded");
        page.verbatim(6, dockerfile, DOCKERFILE_LINES);
    } else if !build.steps.is_empty() {
        page.field(4, "steps", "as the daemon announced them");
        page.verbatim(6, &build.steps.join("\n"), DOCKERFILE_LINES);
    }
}

fn created(page: &mut Page<'_>, creation: &Told<ImageCreation>, findings: &[&Finding]) {
    let body = &creation.body;
    page.heading(&format!("Image by {} {}", name(&body.kind), body.id.0));
    page.field(4, "image", &or(&body.tags, "(no tag)"));
    if let Some(id) = &body.image_id {
        page.field(4, "image id", id);
    }
    if let Some(source) = &body.source {
        page.field(4, "from", source);
    }
    if let Some(container) = &body.container {
        page.field(4, "of container", container);
    }
    page.field(4, "asked by", &format!("{}:{}", body.client, body.client_port));
    page.field(4, "daemon", &body.daemon.to_string());
    page.field(
        4,
        "when",
        &format!("{} UTC, {}", day_and_second(body.started), outcome(body.outcome)),
    );
    destinations(page, &body.destinations, findings);
    weakened(page, &body.caveats);
    let places = page.places(&creation.evidence);
    page.field(4, "evidence", &places);
}

fn outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::Unknown => "outcome unknown".to_owned(),
        known => name(&known),
    }
}

/// What is known of a destination: new is what a finding says is new.
fn standing(destination: &Destination, findings: &[&Finding]) -> &'static str {
    let about = |finding: &&&Finding| {
        finding.destination.as_ref().is_some_and(|to| to.ip == Some(destination.ip))
    };
    let new = |novelty: &Novelty| novelty.axes.iter().any(|axis| *axis != Axis::Caller);
    let novelty = findings.iter().filter(about).filter_map(|finding| finding.novelty.as_ref());
    match novelty.filter(|novelty| new(novelty)).map(|novelty| novelty.scope).next() {
        Some(Scope::Environment) => "NEW",
        Some(Scope::Host) => "NEW to this host",
        None if destination.known => "known",
        None => "not known here",
    }
}

fn destinations(page: &mut Page<'_>, destinations: &[Destination], findings: &[&Finding]) {
    let sampled = findings.iter().any(|finding| finding.caveats.contains(&Caveat::Sampled));
    if destinations.is_empty() {
        page.field(4, "destination", "none was seen in its window");
    }
    for destination in destinations {
        let known = standing(destination, findings);
        let about = if sampled { "about " } else { "" };
        let named = if destination.named { ", named by the build" } else { "" };
        let mut names: Vec<&str> =
            destination.names.iter().map(|entry| entry.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let also =
            if names.is_empty() { String::new() } else { format!(" = {}", names.join(", ")) };
        let end = tw_model::Endpoint::new(destination.ip, destination.port);
        let text = format!(
            "{end}{also}: {known}{named}; {about}{} in, {} out, first at {}",
            bytes(destination.bytes_in),
            thousands(destination.bytes_out),
            clock(destination.first)
        );
        page.field(4, "destination", &text);
        for url in &destination.urls {
            page.field(4, "", url);
        }
        for sha256 in &destination.sha256 {
            page.field(4, "", &format!("sha256 {sha256}"));
        }
    }
}

fn weakened(page: &mut Page<'_>, caveats: &[Caveat]) {
    if !caveats.is_empty() {
        let names: Vec<String> = caveats.iter().map(name).collect();
        page.field(4, "weakened by", &names.join(", "));
    }
}

fn or(values: &[String], otherwise: &str) -> String {
    if values.is_empty() { otherwise.to_owned() } else { values.join(", ") }
}
