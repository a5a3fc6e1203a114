//! Images pulled and pushed.

use tw_model::{Incident, RegistryAction, RegistryVerb, RegistryVia};

use super::super::case::{Case, Told};
use super::{Page, bytes, clock, count, day_and_second};

/// Layers that are shown.
const LAYERS: usize = 8;

/// The pulls and pushes that an incident's timeline names.
pub(super) fn of_incident(page: &mut Page<'_>, case: &Case, incident: &Incident) {
    for told in &case.registries {
        if incident.timeline.iter().any(|entry| entry.reference == told.body.id.0) {
            one(page, told);
        }
    }
}

/// Pulls and pushes that stand in no incident: one line each.
pub(super) fn apart(page: &mut Page<'_>, case: &Case) {
    let is_told = |id: &str| {
        case.incidents.iter().flat_map(|i| &i.timeline).any(|entry| entry.reference == id)
    };
    let mut quiet = case.registries.iter().filter(|told| !is_told(&told.body.id.0)).peekable();
    if quiet.peek().is_none() {
        return;
    }
    page.line("Pulls and pushes without a finding");
    for told in quiet {
        let action = &told.body;
        let asked = action.client.map_or_else(String::new, |client| format!(", asked by {client}"));
        let text = format!("{}, registry {}{asked}", title(action), registry(action));
        page.field(2, &clock(told.at), &text);
    }
    page.blank();
}

fn one(page: &mut Page<'_>, told: &Told<RegistryAction>) {
    let action = &told.body;
    page.heading(&super::terminal(&title(action)));
    page.field(4, "registry", &registry(action));
    for (label, digest) in [
        ("manifest", &action.manifest_digest),
        ("list", &action.index_digest),
        ("image id", &action.config_digest),
    ] {
        if let Some(digest) = digest {
            page.field(4, label, digest);
        }
    }
    if let Some(platform) = &action.platform {
        page.field(4, "platform", platform);
    }
    layers(page, action);
    if let Some(client) = action.client {
        page.field(4, "asked by", &client.to_string());
    }
    let seconds = action.ended.since(action.started).as_secs_f64();
    page.field(4, "when", &format!("{} UTC, {seconds:.1} s", day_and_second(action.started)));
    page.field(4, "carried", &bytes(action.bytes));
    let places = page.places(&told.evidence);
    page.field(4, "evidence", &places);
}

fn title(action: &RegistryAction) -> String {
    let reference = match action.reference.as_deref() {
        Some(digest) if digest.contains(':') => format!("@{digest}"),
        Some(tag) => format!(":{tag}"),
        None => String::new(),
    };
    let verb = match action.action {
        RegistryVerb::Pull => "Pull",
        RegistryVerb::Push => "Push",
    };
    format!("{verb} of {}{reference}", action.repository)
}

fn registry(action: &RegistryAction) -> String {
    let known = match action.via {
        RegistryVia::Registry => "as read between host and registry",
        RegistryVia::Api => "as the daemon's API tells; the transfer was not read",
    };
    let tls = match action.tls {
        Some(true) => ", over TLS",
        Some(false) => ", in clear",
        None => "",
    };
    let address = action.registry_ip.map_or_else(String::new, |ip| format!(" at {ip}"));
    format!("{}{address}{tls}, {known}", action.registry)
}

fn layers(page: &mut Page<'_>, action: &RegistryAction) {
    for layer in action.layers.iter().take(LAYERS) {
        let bytes = layer.bytes.map_or_else(String::new, |size| format!(", {}", bytes(size)));
        let moved = if layer.transferred { "transferred" } else { "already there" };
        page.field(4, "layer", &format!("{}{bytes}, {moved}", layer.digest));
    }
    if action.layers.len() > LAYERS {
        let more = action.layers.len().saturating_sub(LAYERS);
        page.field(4, "", &format!("and {} (--format json has them)", count(more, "more layer")));
    }
}
