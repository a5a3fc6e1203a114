//! Images that were made, moved and deployed, by host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tw_model::{
    ContainerAction, ContainerEvent, CreationKind, DeployKind, Evidence, Frontend, Outcome,
    RegistryAction, RegistryVerb, Timestamp,
};

use super::inventory::{ImageUse, ImageVerb};
use crate::detector::Judgement;
use crate::draft::merge_evidence;
use crate::image::image_name;

/// What tells one entry from another.
type Key = (String, IpAddr, ImageVerb, String, Option<String>);

/// One use of an image, to be counted.
struct Use<'a> {
    environment: &'a str,
    host: IpAddr,
    verb: ImageVerb,
    name: String,
    digest: Option<String>,
    registry: Option<String>,
    client: Option<IpAddr>,
    outcome: Outcome,
    at: Timestamp,
    evidence: &'a [Evidence],
}

/// Counts uses of images.
#[derive(Debug)]
pub(super) struct Images {
    uses: BTreeMap<Key, ImageUse>,
    limit: usize,
    lost: u64,
}

impl Images {
    pub(super) const fn new(limit: usize) -> Self {
        Self { uses: BTreeMap::new(), limit, lost: 0 }
    }

    pub(super) fn judged(&mut self, judgement: &Judgement) {
        match judgement {
            Judgement::Build { environment, build, evidence } => self.take(Use {
                environment,
                host: build.daemon.ip,
                verb: match build.frontend {
                    Frontend::Inferred => ImageVerb::BuildInferred,
                    _ => ImageVerb::Built,
                },
                name: build.tags.first().cloned().unwrap_or_default(),
                digest: build.image_id.clone(),
                registry: None,
                client: Some(build.client),
                outcome: build.outcome,
                at: build.started,
                evidence,
            }),
            Judgement::ImageCreation { environment, creation, evidence } => self.take(Use {
                environment,
                host: creation.daemon.ip,
                verb: match creation.kind {
                    CreationKind::Import => ImageVerb::Imported,
                    CreationKind::Commit => ImageVerb::Committed,
                    CreationKind::Load => ImageVerb::Loaded,
                },
                name: creation.tags.first().cloned().unwrap_or_default(),
                digest: creation.image_id.clone(),
                registry: None,
                client: Some(creation.client),
                outcome: creation.outcome,
                at: creation.started,
                evidence,
            }),
            Judgement::Registry { environment, action, evidence } => {
                self.take(moved(environment, action, evidence));
            }
            Judgement::Container { environment, event, evidence } if deploys(event) => {
                self.take(Use {
                    environment,
                    host: event.daemon.ip,
                    verb: ImageVerb::Deployed,
                    name: deployed_name(event),
                    digest: None,
                    registry: None,
                    client: Some(event.client),
                    outcome: match event.status {
                        Some(_) => Outcome::Succeeded,
                        None => Outcome::Unknown,
                    },
                    at: event.started,
                    evidence,
                });
            }
            _ => {}
        }
    }

    fn take(&mut self, one: Use<'_>) {
        let host = one.host.to_canonical();
        let key =
            (one.environment.to_owned(), host, one.verb, one.name.clone(), one.digest.clone());
        if !self.uses.contains_key(&key) && self.uses.len() >= self.limit {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        let entry = self.uses.entry(key).or_insert_with(|| ImageUse {
            environment: one.environment.to_owned(),
            action: one.verb,
            name: one.name,
            digest: one.digest,
            registry: one.registry,
            docker_host: host,
            clients: BTreeSet::new(),
            count: 0,
            failed: 0,
            unconfirmed: 0,
            first: one.at,
            last: one.at,
            evidence: Vec::new(),
        });
        entry.count = entry.count.saturating_add(1);
        match one.outcome {
            Outcome::Succeeded => {}
            Outcome::Failed | Outcome::Canceled => entry.failed = entry.failed.saturating_add(1),
            Outcome::Unknown => entry.unconfirmed = entry.unconfirmed.saturating_add(1),
        }
        entry.first = entry.first.min(one.at);
        entry.last = entry.last.max(one.at);
        if entry.clients.len() < MAX_CLIENTS {
            entry.clients.extend(one.client.map(|client| client.to_canonical()));
        }
        merge_evidence(&mut entry.evidence, one.evidence);
    }

    pub(super) fn finish(self) -> (Vec<ImageUse>, u64) {
        let mut uses: Vec<ImageUse> = self.uses.into_values().collect();
        let mut known: BTreeMap<(String, IpAddr, String), Vec<(Timestamp, String)>> =
            BTreeMap::new();
        for one in uses.iter().filter(|one| one.action < ImageVerb::Pushed) {
            if let Some(digest) = &one.digest {
                let names = [one.name.clone(), with_registry(one)];
                for name in names.into_iter().collect::<BTreeSet<_>>() {
                    let key = (one.environment.clone(), one.docker_host, image_name(&name));
                    known.entry(key).or_default().push((one.first, digest.clone()));
                }
            }
        }
        known.values_mut().for_each(|list| list.sort());
        for one in uses.iter_mut().filter(|one| one.action == ImageVerb::Deployed) {
            let key = (one.environment.clone(), one.docker_host, image_name(&one.name));
            let before = known.get(&key).into_iter().flatten().rev();
            let latest = before.into_iter().find(|(at, _)| *at <= one.last);
            one.digest = latest.map(|(_, digest)| digest.clone()).or_else(|| pinned(&one.name));
        }
        uses.sort_by(|a, b| {
            let key = |one: &ImageUse| (one.docker_host, one.action, one.first);
            (&a.environment, key(a), &a.name, &a.digest).cmp(&(
                &b.environment,
                key(b),
                &b.name,
                &b.digest,
            ))
        });
        (uses, self.lost)
    }
}

fn moved<'a>(environment: &'a str, action: &RegistryAction, evidence: &'a [Evidence]) -> Use<'a> {
    let reference = match action.reference.as_deref() {
        Some(digest) if digest.contains(':') => format!("@{digest}"),
        Some(tag) => format!(":{tag}"),
        None => String::new(),
    };
    Use {
        environment,
        host: action.docker_host,
        verb: match action.action {
            RegistryVerb::Pull => ImageVerb::Pulled,
            RegistryVerb::Push => ImageVerb::Pushed,
        },
        name: format!("{}{reference}", action.repository),
        digest: action.manifest_digest.clone().or_else(|| action.index_digest.clone()),
        registry: Some(action.registry.clone()),
        client: action.client,
        outcome: match (action.confirmed, action.failed) {
            (true, _) => Outcome::Succeeded,
            (false, true) => Outcome::Failed,
            (false, false) => Outcome::Unknown,
        },
        at: action.started,
        evidence,
    }
}

/// A container is deployed when it is made; a service and a plugin too.
fn deploys(event: &ContainerEvent) -> bool {
    let updates = event.kind == DeployKind::Service && event.action == ContainerAction::Start;
    event.action == ContainerAction::Create || updates
}

/// What it is made of; of a plugin that was uploaded, its own name.
fn deployed_name(event: &ContainerEvent) -> String {
    let own = event.name.as_ref().filter(|_| event.kind == DeployKind::Plugin);
    event.image.as_ref().or(own).cloned().unwrap_or_default()
}

/// The name that a container would be made of, with the registry in front.
fn with_registry(one: &ImageUse) -> String {
    match &one.registry {
        Some(registry) => format!("{registry}/{}", one.name),
        None => one.name.clone(),
    }
}

/// `sha256:…` of `name@sha256:…`, and of a name that is an id.
fn pinned(name: &str) -> Option<String> {
    let digest = name.rsplit_once('@').map_or(name, |(_, digest)| digest);
    digest.starts_with("sha256:").then(|| digest.to_owned())
}

const MAX_CLIENTS: usize = 64;
