//! Who can reach a Docker API, what images and containers there are, and what to do next, by what was
//! seen for and against the mitigations that ATT&CK names for T1612.

use std::collections::BTreeSet;

use tw_detect::audit::{ContainerUse, Daemon, ImageVerb};
use tw_model::{Incident, Risk};

use super::happening::{contacts, place, risks};
use super::words::{Lang, Text};
use super::{Block, Ingredients, Section, heads};
use crate::report::text::name;

/// Rows of a table, and lines of advice.
const MAX_ROWS: usize = 300;
const MAX_ADVICE: usize = 12;

/// What to do next; first what cannot wait.
pub(super) fn actions(made_of: &Ingredients<'_>, incidents: &[&Incident]) -> Vec<Section> {
    let lang = made_of.lang;
    let groups = [
        ("action.contain", contain(made_of, incidents)),
        ("action.m1035", access(made_of)),
        ("action.m1030", segmentation(made_of, incidents)),
        ("action.m1047", audit(made_of)),
        ("action.m1026", privileges(made_of)),
    ];
    let mut head = Section::new(lang.word("section.actions"));
    if groups.iter().all(|(_, items)| items.is_empty()) {
        head.blocks.push(Block::Paragraph(lang.word("action.none")));
    }
    let told = groups.into_iter().filter(|(_, items)| !items.is_empty()).map(|(key, items)| {
        let mut section = Section::below(lang.word(key));
        section.blocks.push(Block::List(items));
        section
    });
    std::iter::once(head).chain(told).collect()
}

/// For what is at least of medium severity.
fn contain(made_of: &Ingredients<'_>, incidents: &[&Incident]) -> Vec<Text> {
    let Ingredients { case, lang, .. } = *made_of;
    let grave: Vec<&&Incident> =
        incidents.iter().filter(|i| i.severity >= tw_model::Severity::Medium).collect();
    if grave.is_empty() {
        return Vec::new();
    }
    let mut items = Vec::new();
    let mut clients = BTreeSet::new();
    let mut images: BTreeSet<&str> = BTreeSet::new();
    for incident in grave.iter().take(MAX_ADVICE) {
        clients.extend(incident.clients.iter().map(ToString::to_string));
        let findings = case.findings_of(incident);
        let ids: BTreeSet<_> = findings.iter().flat_map(|finding| &finding.builds).collect();
        let builds = case.builds.iter().filter(|told| ids.contains(&told.body.id));
        images.extend(builds.flat_map(|told| told.body.tags.iter().map(String::as_str)));
        let places = unknown_places(incident);
        if !places.is_empty() {
            let places = lang.list(&places, 6);
            let args = [("host", incident.docker_host.into()), ("destinations", places.into())];
            items.push(lang.say("action.contain.host", &args));
        }
    }
    if !images.is_empty() {
        items.push(lang.say("action.contain.image", &[("images", lang.list(&images, 8).into())]));
    }
    if !clients.is_empty() {
        let clients = lang.list(&clients, 8);
        items.push(lang.say("action.contain.caller", &[("callers", clients.into())]));
    }
    items.push(lang.word("action.contain.keys"));
    items
}

fn unknown_places(incident: &Incident) -> BTreeSet<String> {
    let unknown = contacts(incident).filter(|(_, c)| !c.known && c.registry != Some(true));
    unknown.map(|(_, contact)| place(contact)).collect()
}

fn access(made_of: &Ingredients<'_>) -> Vec<Text> {
    let lang = made_of.lang;
    let mut items = Vec::new();
    for daemon in &made_of.inventory.daemons {
        let at = ("daemon", daemon.daemon.to_string().into());
        if daemon.transport.open_calls > 0 {
            let count = ("count", daemon.transport.open_calls.into());
            items.push(lang.say("action.m1035.clear", &[at, count]));
        } else if daemon.client_certificates.not_asked > 0 {
            items.push(lang.say("action.m1035.certificates", &[at]));
        }
    }
    items.truncate(MAX_ADVICE);
    items
}

fn segmentation(made_of: &Ingredients<'_>, incidents: &[&Incident]) -> Vec<Text> {
    let lang = made_of.lang;
    let mut items = Vec::new();
    for daemon in &made_of.inventory.daemons {
        let outside = outside(daemon);
        if !outside.is_empty() {
            let at = ("daemon", daemon.daemon.to_string().into());
            let callers = ("callers", lang.list(outside, 8).into());
            items.push(lang.say("action.m1030.outside", &[at, callers]));
        }
    }
    items.truncate(MAX_ADVICE);
    let places: BTreeSet<String> = incidents.iter().flat_map(|i| unknown_places(i)).collect();
    if !places.is_empty() {
        let places = lang.list(&places, 8);
        items.push(lang.say("action.m1030.egress", &[("destinations", places.into())]));
    }
    items
}

fn audit(made_of: &Ingredients<'_>) -> Vec<Text> {
    let lang = made_of.lang;
    let made = |verb| {
        let verbs =
            [ImageVerb::Built, ImageVerb::Committed, ImageVerb::Imported, ImageVerb::Loaded];
        verbs.contains(&verb)
    };
    let images = made_of.inventory.images.iter().filter(|one| made(one.action));
    let images: BTreeSet<&str> =
        images.map(|one| one.name.as_str()).filter(|n| !n.is_empty()).collect();
    if images.is_empty() {
        return Vec::new();
    }
    let built = lang.say("action.m1047.built", &[("images", lang.list(&images, 12).into())]);
    vec![built, lang.word("action.m1047.log")]
}

fn privileges(made_of: &Ingredients<'_>) -> Vec<Text> {
    let lang = made_of.lang;
    let risky = made_of.inventory.containers.iter().filter(|one| !grave(one).is_empty());
    let items = risky.take(MAX_ADVICE).map(|one| {
        let container = ("container", called(one).into());
        lang.say("action.m1026.risky", &[container, ("risks", risks(lang, &grave(one)).into())])
    });
    items.collect()
}

fn grave(one: &ContainerUse) -> Vec<Risk> {
    let grave = |risk: &Risk| !matches!(risk, Risk::RootUser | Risk::RestartAlways);
    one.risks.iter().copied().filter(grave).collect()
}

fn called(one: &ContainerUse) -> String {
    one.name.as_deref().or(one.id.as_deref()).unwrap_or("?").chars().take(64).collect()
}

fn outside(daemon: &Daemon) -> Vec<String> {
    daemon.callers.iter().filter(|c| c.outside).map(|caller| caller.ip.to_string()).collect()
}

/// Daemons, images and containers.
pub(super) fn inventory(made_of: &Ingredients<'_>) -> Vec<Section> {
    let lang = made_of.lang;
    let mut exposure = Section::new(lang.word("section.exposure"));
    let daemons = &made_of.inventory.daemons;
    if daemons.is_empty() {
        exposure.blocks.push(Block::Paragraph(lang.word("exposure.none")));
    } else {
        let rows = daemons.iter().take(MAX_ROWS).map(|daemon| daemon_row(lang, daemon)).collect();
        let keys = [
            "head.daemon",
            "head.version",
            "head.callers",
            "head.outside",
            "head.clear",
            "head.tls",
            "head.certificates",
        ];
        exposure = exposure.table(heads(lang, &keys), rows);
        left(lang, daemons.len(), &mut exposure);
    }
    exposure.blocks.push(Block::Paragraph(lang.word("exposure.local")));
    let mut sections = vec![exposure];
    sections.extend(images(made_of));
    sections.extend(containers(made_of));
    sections
}

fn left(lang: Lang, count: usize, section: &mut Section) {
    let left = count.saturating_sub(MAX_ROWS);
    if left > 0 {
        section.blocks.push(Block::Paragraph(lang.say("more", &[("count", left.into())])));
    }
}

fn daemon_row(lang: Lang, daemon: &Daemon) -> Vec<Text> {
    let callers = daemon.callers.iter().map(|caller| caller.ip.to_string());
    let transport = &daemon.transport;
    let certificates = daemon.client_certificates;
    let certificates = match () {
        () if certificates.given > 0 => "certificates.given",
        () if certificates.withheld.saturating_add(certificates.asked) > 0 => "certificates.asked",
        () if certificates.not_asked > 0 => "certificates.not_asked",
        () => "certificates.unknown",
    };
    let tls = transport.tls_connections.saturating_add(transport.tls_calls) > 0;
    let versions: Vec<&String> = daemon.servers.iter().chain(&daemon.versions).collect();
    vec![
        Text::of_data(&daemon.daemon.to_string()),
        if versions.is_empty() { Text::default() } else { lang.list(versions, 3) },
        lang.list(callers, 8),
        lang.list(outside(daemon), 8),
        Text::of_plain(&crate::report::text::thousands(transport.open_calls)),
        lang.word(if tls { "yes" } else { "no" }),
        lang.word(certificates),
    ]
}

fn images(made_of: &Ingredients<'_>) -> Option<Section> {
    let lang = made_of.lang;
    let images = &made_of.inventory.images;
    if images.is_empty() {
        return None;
    }
    let rows = images.iter().take(MAX_ROWS).map(|one| {
        vec![
            lang.of("verb", &name(&one.action)),
            if one.name.is_empty() { lang.word("unnamed") } else { Text::of_data(&one.name) },
            Text::of_data(&one.docker_host.to_string()),
            lang.list(one.clients.iter().map(ToString::to_string), 4),
            one.digest.as_deref().map_or_else(Text::default, Text::of_data),
            Text::of_plain(&one.count.to_string()),
        ]
    });
    let rows = rows.collect();
    let keys = ["head.action", "head.image", "head.host", "head.by", "head.digest", "head.count"];
    let mut section = Section::new(lang.word("section.images")).table(heads(lang, &keys), rows);
    left(lang, images.len(), &mut section);
    Some(section)
}

fn containers(made_of: &Ingredients<'_>) -> Option<Section> {
    let lang = made_of.lang;
    let containers = &made_of.inventory.containers;
    if containers.is_empty() {
        return None;
    }
    let rows = containers.iter().take(MAX_ROWS).map(|one| {
        let risky = if one.risks.is_empty() { lang.word("none") } else { risks(lang, &one.risks) };
        vec![
            Text::of_data(&called(one)),
            one.image.as_deref().map_or_else(Text::default, Text::of_data),
            Text::of_data(&one.docker_host.to_string()),
            lang.list(one.clients.iter().map(ToString::to_string), 4),
            lang.word(if one.started { "yes" } else { "no" }),
            if one.created { risky } else { lang.word("standing.unknown") },
        ]
    });
    let rows = rows.collect();
    let keys = ["head.name", "head.image", "head.host", "head.by", "head.started", "head.risks"];
    let mut section = Section::new(lang.word("section.containers")).table(heads(lang, &keys), rows);
    left(lang, containers.len(), &mut section);
    Some(section)
}
