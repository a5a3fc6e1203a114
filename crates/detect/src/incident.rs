//! Incidents: findings of one docker host that hang together by an image, a container, or a caller
//! who comes back within `incident_gap`; told as one account in the order of time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tw_model::{
    ApiCall, AppProtocol, Build, Caveat, ContactTold, ContainerAction, ContainerEvent, DeployKind,
    FlowId, Happening, Incident, Outcome, Route, Rule, Scope, StreamUse, TimelineEntry, Timestamp,
};

use crate::account::about;
use crate::conversations::Part;
use crate::destination::{Contact, Registry};
use crate::draft::{Draft, merge_evidence};
use crate::freshness::Level;
use crate::ledger::Held;
use crate::maker::{Maker, Source};
use crate::scene::Scene;
use crate::session::Sessions;
use crate::text::{bytes, list, printable};
use crate::window::Owner;

/// Gives each draft its incident, and returns the incidents in the order of their start.
pub(crate) fn incidents(scene: &Scene<'_>, drafts: &mut [Draft]) -> Vec<Incident> {
    let groups = grouped(scene, drafts);
    let mut sessions = Sessions::new(scene);
    let mut incidents = Vec::new();
    for group in groups {
        let members: Vec<&Draft> = group.iter().filter_map(|i| drafts.get(*i)).collect();
        let Some(id) = sessions.incident_id(scene, &members) else { continue };
        for index in &group {
            if let Some(draft) = drafts.get_mut(*index) {
                draft.finding.incident.clone_from(&id);
            }
        }
        let members: Vec<&Draft> = group.iter().filter_map(|i| drafts.get(*i)).collect();
        incidents.extend(incident(scene, id, &members));
    }
    incidents.sort_by(|a, b| (a.started, &a.id).cmp(&(b.started, &b.id)));
    incidents
}

/// Indices of drafts (which are in the order of time) by incident.
fn grouped(scene: &Scene<'_>, drafts: &[Draft]) -> Vec<Vec<usize>> {
    let mut groups = Groups::new(drafts.len());
    let mut by_owner: BTreeMap<(crate::host::HostId, Owner), usize> = BTreeMap::new();
    let mut by_client: BTreeMap<(crate::host::HostId, IpAddr), (usize, Timestamp)> =
        BTreeMap::new();
    for (index, draft) in drafts.iter().enumerate() {
        for owner in &draft.owners {
            let first = *by_owner.entry((draft.host, *owner)).or_insert(index);
            groups.join(first, index);
        }
        for client in &draft.clients {
            let entry = by_client.entry((draft.host, *client)).or_insert((index, draft.last));
            if draft.finding.timestamp.since(entry.1) <= scene.policy.incident_gap {
                groups.join(entry.0, index);
                entry.1 = entry.1.max(draft.last);
            } else {
                *entry = (index, draft.last);
            }
        }
    }
    groups.into_lists()
}

/// Disjoint sets, the lowest index leading.
struct Groups(Vec<usize>);

impl Groups {
    fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    fn root(&self, mut index: usize) -> usize {
        while let Some(parent) = self.0.get(index)
            && *parent < index
        {
            index = *parent;
        }
        index
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        if let Some(parent) = self.0.get_mut(a.max(b)) {
            *parent = a.min(b);
        }
    }

    fn into_lists(self) -> Vec<Vec<usize>> {
        let mut lists: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for index in 0..self.0.len() {
            lists.entry(self.root(index)).or_default().push(index);
        }
        lists.into_values().collect()
    }
}

fn incident(scene: &Scene<'_>, id: String, members: &[&Draft]) -> Option<Incident> {
    let first = members.first()?;
    let owners: BTreeSet<Owner> = members.iter().flat_map(|d| d.owners.iter().copied()).collect();
    let clients: BTreeSet<IpAddr> =
        members.iter().flat_map(|d| d.clients.iter().copied()).collect();
    let mut started = first.finding.timestamp;
    let mut ended = first.last;
    for draft in members {
        started = started.min(draft.finding.timestamp);
        ended = ended.max(draft.last);
    }
    for maker in owners.iter().filter_map(|o| scene.maker(*o)) {
        started = started.min(maker.started);
        ended = ended.max(maker.ended);
    }
    let mut evidence = Vec::new();
    for draft in members {
        merge_evidence(&mut evidence, &draft.finding.evidence);
    }
    let caveats: BTreeSet<Caveat> =
        members.iter().flat_map(|d| d.finding.caveats.iter().copied()).collect();
    let techniques: BTreeSet<&String> =
        members.iter().flat_map(|d| d.finding.techniques.iter()).collect();
    let about = |d: &Draft| d.finding.destination.as_ref().and_then(|to| to.ip);
    let findings =
        members.iter().filter_map(|d| Some((about(d)?, d.finding.id.as_str()))).collect();
    let timeline =
        Timeline { scene, members, owners: &owners, clients: &clients, findings, started, ended }
            .entries();
    let part = Part { scene, members, owners: &owners, clients: &clients };
    let (conversations, names) = (part.conversations((started, ended)), part.names());
    let started = timeline.first().map_or(started, |e| started.min(e.timestamp));
    let ended = timeline.last().map_or(ended, |e| ended.max(e.timestamp));
    Some(Incident {
        id,
        environment: first.finding.environment.clone(),
        severity: members.iter().map(|d| d.finding.severity).max()?,
        techniques: techniques.into_iter().cloned().collect(),
        docker_host: first.finding.docker_host,
        clients: clients.into_iter().collect(),
        started,
        ended,
        timeline,
        caveats: caveats.into_iter().collect(),
        conversations,
        names,
        evidence,
    })
}

/// What an incident's timeline is made of.
struct Timeline<'s, 'a> {
    scene: &'s Scene<'a>,
    members: &'s [&'s Draft],
    owners: &'s BTreeSet<Owner>,
    clients: &'s BTreeSet<IpAddr>,
    /// Findings about an address.
    findings: BTreeMap<IpAddr, &'s str>,
    started: Timestamp,
    ended: Timestamp,
}

impl Timeline<'_, '_> {
    fn entries(&self) -> Vec<TimelineEntry> {
        let mut entries = Vec::new();
        self.calls(&mut entries);
        for maker in self.owners.iter().filter_map(|o| self.scene.maker(*o)) {
            make_entries(maker, &mut entries);
        }
        self.contacts(&mut entries);
        self.registries(&mut entries);
        self.transfers(&mut entries);
        self.containers(&mut entries);
        entries.sort_by(|a: &TimelineEntry, b| {
            (a.timestamp, &a.reference, &a.text).cmp(&(b.timestamp, &b.reference, &b.text))
        });
        entries.dedup();
        entries.truncate(self.scene.policy.limits.timeline);
        entries
    }

    fn is_in(&self, at: Timestamp) -> bool {
        let slack = self.scene.policy.deploy_window;
        at >= self.started.minus(slack) && at <= self.ended.plus(slack)
    }

    fn is_here(&self, environment: crate::environment::EnvironmentId, ip: IpAddr) -> bool {
        let host = self.members.first().map(|d| d.host);
        host.is_some() && self.scene.hosts.find(self.scene.environments, environment, ip) == host
    }

    fn calls(&self, entries: &mut Vec<TimelineEntry>) {
        let calls = self.clients.iter().filter_map(|client| self.scene.calls_by_client.get(client));
        let mut alike: BTreeMap<String, Vec<TimelineEntry>> = BTreeMap::new();
        for held in calls.flatten() {
            let call = &held.value;
            let told = is_told(call.route)
                && self.is_in(call.started)
                && !self.scene.ledger.containers.contains_key(&call.id);
            if told && self.is_here(held.environment, call.daemon.ip) {
                let entry = call_entry(held);
                alike.entry(entry.text.clone()).or_default().push(entry);
            }
        }
        for same in alike.into_values() {
            entries.extend(ends_of(same));
        }
    }

    /// Downloads and registries: what went to the incident's makers and containers.
    fn contacts(&self, entries: &mut Vec<TimelineEntry>) {
        for owner in self.owners {
            for (contact, _) in self.scene.contacts_of(*owner) {
                let is_told = self.scene.transfers_by_flow.contains_key(&contact.flow);
                if is_told && contact.registry != Registry::No {
                    continue;
                }
                entries.push(self.contact_entry(contact));
            }
        }
    }

    /// A registry that a mere pull spoke to belongs to no maker, and who connects to a build is no
    /// contact of the host's.
    fn registries(&self, entries: &mut Vec<TimelineEntry>) {
        let pulled = |d: &&&Draft| match d.finding.rule {
            Rule::RegistryNew => d.owners.is_empty(),
            Rule::BuildInbound => true,
            _ => false,
        };
        entries.extend(self.members.iter().filter(pulled).map(|d| TimelineEntry {
            timestamp: d.finding.timestamp,
            reference: d.finding.id.clone(),
            text: d.finding.title.clone(),
            happening: Happening::Found(d.finding.id.clone()),
            evidence: d.finding.evidence.first().copied(),
        }));
    }

    /// Images pulled and pushed: for the incident's makers, of them, and by its callers.
    fn transfers(&self, entries: &mut Vec<TimelineEntry>) {
        let host = self.members.first().map(|d| d.host);
        let flows = self.owners.iter().flat_map(|owner| self.scene.contacts_of(*owner));
        let flows: BTreeSet<FlowId> = flows.map(|(contact, _)| contact.flow).collect();
        for transfer in self.scene.transfers.iter().filter(|t| t.host.is_some() && t.host == host) {
            let action = &transfer.action;
            let asked = action.client.is_some_and(|client| self.clients.contains(&client));
            let made = transfer.made_by.is_some_and(|i| self.owners.contains(&Owner::Maker(i)));
            let told = action.registry_ip.is_some_and(|ip| self.findings.contains_key(&ip));
            let mine = (asked || told) && self.is_in(action.started);
            let spoken = action.flows.iter().any(|flow| flows.contains(flow));
            if mine
                || made
                || spoken
                || transfer.owners.iter().any(|owner| self.owners.contains(owner))
            {
                entries.push(TimelineEntry {
                    timestamp: action.started,
                    reference: action.id.0.clone(),
                    text: transfer.sentence(),
                    happening: Happening::Moved(action.id.clone()),
                    evidence: transfer.evidence.first().copied(),
                });
            }
        }
    }

    fn contact_entry(&self, contact: &Contact<'_>) -> TimelineEntry {
        let finding = contact.ip.and_then(|ip| self.findings.get(&ip)).map(|id| (*id).to_owned());
        let mut place = contact
            .ip
            .map_or_else(String::new, |ip| tw_model::Endpoint::new(ip, contact.port).to_string());
        if let Some(name) = contact.names.first() {
            place = format!("{place} ({})", printable(&name.name, 100));
        }
        let is_tls = contact.connection.app == Some(AppProtocol::Tls);
        let what = match contact.registry {
            Registry::No => "The host contacted",
            Registry::Trusted if is_tls => "The host spoke over TLS to the registry",
            Registry::Trusted => "The host spoke to the registry",
            Registry::Unfamiliar if contact.claimed.is_some() => {
                "The host spoke to what it called a listed registry, at"
            }
            Registry::Unfamiliar => "The host spoke to a registry that is not listed, at",
        };
        let received =
            format!("{}{}", about(&contact.caveats), bytes(contact.connection.payload_bytes[1]));
        let urls: Vec<String> = contact.exchanges.iter().filter_map(|x| x.url.clone()).collect();
        let hashes: Vec<String> =
            contact.exchanges.iter().filter_map(|x| x.sha256.clone()).collect();
        let standing = match contact.freshness.level {
            Level::Environment => ", never seen before,",
            Level::Host => ", new to this host,",
            Level::Known => ", known here,",
            Level::Unknown => "",
        };
        let mut text = format!("{what} {place}{standing} and received {received}");
        if !urls.is_empty() {
            text = format!("{text}, for {}", list(&urls, 3));
        }
        if !hashes.is_empty() {
            text = format!("{text}, SHA-256 {}", list(&hashes, 3));
        }
        let reference = finding.unwrap_or_else(|| format!("flow-{}", contact.flow.0));
        TimelineEntry {
            timestamp: contact.at,
            reference,
            text,
            happening: Happening::Contacted(Box::new(contact_told(contact, urls, hashes))),
            evidence: contact.sighting.evidence.first().copied(),
        }
    }

    fn containers(&self, entries: &mut Vec<TimelineEntry>) {
        let host = self.members.first().map(|d| d.host);
        let touched = self.clients.iter().filter_map(|c| self.scene.lives_by_client.get(c));
        for index in touched.flatten() {
            let Some(life) = self.scene.lives.get(*index).filter(|l| Some(l.host) == host) else {
                continue;
            };
            let owner = life.built_by.map_or(Owner::Life(*index), Owner::Maker);
            for held in &life.events {
                let mine =
                    self.clients.contains(&held.value.client) && self.is_in(held.value.started);
                if mine || self.owners.contains(&owner) {
                    entries.push(container_entry(&life.title(), held));
                }
            }
        }
    }
}

/// Characters of a stream that are shown.
const MAX_SAID: usize = 1_024;
/// Calls with the same words that the timeline tells one by one.
const MAX_ALIKE: usize = 3;

/// Calls that the timeline names; builds and containers are told from their own events.
const fn is_told(route: Route) -> bool {
    matches!(
        route,
        Route::Version
            | Route::Info
            | Route::ContainerList
            | Route::ImageList
            | Route::ContainerAttach
            | Route::ImagePull
            | Route::ImagePush
            | Route::ImageTag
            | Route::ImageRemove
            | Route::Auth
            | Route::Swarm
            | Route::Service
            | Route::Secret
            | Route::Plugin
    )
}

/// A few calls as they are; of many that are alike, as a monitor makes them, the first and the last.
fn ends_of(mut same: Vec<TimelineEntry>) -> Vec<TimelineEntry> {
    let count = same.len();
    if count <= MAX_ALIKE {
        return same;
    }
    same.sort_by_key(|entry| entry.timestamp);
    let (Some(mut last), Some(mut first)) = (same.pop(), same.into_iter().next()) else {
        return Vec::new();
    };
    first.text.push_str(&format!(", the first of {count} times"));
    last.text.push_str(&format!(", the last of {count} times"));
    for entry in [&mut first, &mut last] {
        if let Happening::Called { alike, .. } = &mut entry.happening {
            *alike = count;
        }
    }
    vec![first, last]
}

fn contact_told(contact: &Contact<'_>, urls: Vec<String>, sha256: Vec<String>) -> ContactTold {
    let [sent, received] = contact.connection.payload_bytes;
    ContactTold {
        ip: contact.ip,
        port: contact.port,
        names: contact.names.iter().take(4).map(|n| printable(&n.name, 100)).collect(),
        new_to: match contact.freshness.level {
            Level::Environment => Some(Scope::Environment),
            Level::Host => Some(Scope::Host),
            Level::Known | Level::Unknown => None,
        },
        known: contact.freshness.level == Level::Known,
        registry: match contact.registry {
            Registry::No => None,
            Registry::Trusted => Some(true),
            Registry::Unfamiliar => Some(false),
        },
        bytes: [received, sent],
        about: !about(&contact.caveats).is_empty(),
        last: contact.connection.last,
        urls,
        sha256,
    }
}

fn call_entry(held: &Held<ApiCall>) -> TimelineEntry {
    let call = &held.value;
    let request = format!("{} {}", printable(&call.method, 16), printable(&call.path, 160));
    let status = call.status.map_or_else(String::new, |status| format!(" (answered {status})"));
    let mut text = format!("{} called {request}{status}", call.client.ip);
    if let Some(stream) = &call.stream {
        text.push_str(&carried(stream));
    }
    TimelineEntry {
        timestamp: call.started,
        reference: format!("call-{}-{}", call.id.flow.0, call.id.index),
        text,
        happening: Happening::Called {
            client: call.client.ip,
            request,
            status: call.status,
            alike: 0,
        },
        evidence: held.evidence.last().copied(),
    }
}

fn make_entries(maker: &Maker<'_>, entries: &mut Vec<TimelineEntry>) {
    let reference = maker.id.0.clone();
    let mut text = format!("{} asked for {}", maker.client, maker.title());
    if let Source::Build(held) = maker.source {
        text.push_str(&build_words(&held.value));
    }
    entries.push(TimelineEntry {
        timestamp: maker.started,
        reference: reference.clone(),
        text,
        happening: Happening::Asked(maker.id.clone()),
        evidence: maker.evidence.first().copied(),
    });
    let outcome = match maker.outcome {
        Outcome::Succeeded if maker.is_inferred() => "It ended as if an image had been made",
        Outcome::Succeeded => "An image was made",
        Outcome::Failed => "The daemon said that it failed",
        Outcome::Canceled => "The client went away before the end",
        Outcome::Unknown if maker.end_seen => "It ended",
        Outcome::Unknown => "Last that was seen of it; its end was not",
    };
    let image = maker.image_id.map_or_else(String::new, |id| format!(": {}", printable(id, 80)));
    let text = format!("{outcome}{image} ({})", maker.title());
    entries.push(TimelineEntry {
        timestamp: maker.ended.max(maker.started),
        reference,
        text,
        happening: Happening::Ended(maker.id.clone()),
        evidence: maker.evidence.last().copied(),
    });
}

fn build_words(build: &Build) -> String {
    let mut text = String::new();
    if !build.base_images.is_empty() {
        text.push_str(&format!(", from {}", list(&build.base_images, 4)));
    }
    if let Some(remote) = &build.remote {
        text.push_str(&format!(", with the context {}", printable(remote, 160)));
    }
    if !build.steps.is_empty() {
        text.push_str(&format!(", {} steps", build.steps.len()));
    }
    if !build.urls.is_empty() {
        text.push_str(&format!("; it names {}", list(&build.urls, 4)));
    }
    text
}

/// How much was said; and what, where that was kept.
fn carried(stream: &StreamUse) -> String {
    let output = stream.output_bytes.saturating_add(stream.error_bytes);
    let (input, output) = (bytes(stream.input_bytes), bytes(output));
    let mut text = format!(" (its stream carried {input} in and {output} out)");
    let Some(said) = &stream.said else { return text };
    for (way, said) in [("in", &said.input), ("out", &said.output)] {
        let said = String::from_utf8_lossy(said).replace(['\r', '\n'], " ");
        if !said.is_empty() {
            text.push_str(&format!("; {way}: {}", printable(&said, MAX_SAID)));
        }
    }
    text
}

/// A plugin from a registry.
fn is_installed(event: &ContainerEvent) -> bool {
    event.kind == DeployKind::Plugin && event.image.is_some()
}

/// A start asks for nothing that the creation did not; an update may.
fn tells_risks(event: &ContainerEvent) -> bool {
    let asks = event.action == ContainerAction::Create || event.kind == DeployKind::Service;
    asks && !event.risks.is_empty()
}

fn container_entry(title: &str, held: &Held<ContainerEvent>) -> TimelineEntry {
    let event = &held.value;
    let verb = match event.action {
        ContainerAction::Create if is_installed(event) => "installed",
        ContainerAction::Create => "created",
        ContainerAction::Start if event.kind == DeployKind::Service => "updated",
        ContainerAction::Start => "started",
        ContainerAction::Exec => "executed a command in",
        ContainerAction::Copy => "copied files into",
        ContainerAction::Stop => "stopped",
        ContainerAction::Remove => "removed",
    };
    let mut text = format!("{} {verb} {title}", event.client);
    match event.action {
        ContainerAction::Create | ContainerAction::Start if tells_risks(event) => {
            let risks: Vec<&str> = event.risks.iter().map(|risk| risk.phrase()).collect();
            text.push_str(&format!(", with {}", list(&risks, 8)));
        }
        ContainerAction::Exec if !event.command.is_empty() => {
            text.push_str(&format!(": {}", printable(&event.command.join(" "), 200)));
        }
        ContainerAction::Copy => {
            let path = printable(event.path.as_deref().unwrap_or("a place unknown"), 120);
            text.push_str(&format!(", to {path}, {}", bytes(event.copied_bytes.unwrap_or(0))));
        }
        _ => {}
    }
    if let Some(stream) = &event.stream {
        text.push_str(&carried(stream));
    }
    let reference = event
        .container_id
        .clone()
        .unwrap_or_else(|| format!("call-{}-{}", event.call.flow.0, event.call.index));
    TimelineEntry {
        timestamp: event.started,
        reference: printable(&reference, 80),
        text,
        happening: Happening::Acted { call: event.call, title: title.to_owned() },
        evidence: held.evidence.first().copied(),
    }
}
