//! Containers, services and plugins, each from its first action to its last.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tw_model::{ContainerAction, ContainerEvent, DeployKind, Evidence, Risk};

use super::inventory::ContainerUse;
use crate::draft::merge_evidence;

/// How later actions may name it.
type Name = (String, IpAddr, DeployKind, String);

/// Counts actions on containers.
#[derive(Debug)]
pub(super) struct Containers {
    list: Vec<ContainerUse>,
    names: BTreeMap<Name, usize>,
    limit: usize,
    lost: u64,
}

impl Containers {
    pub(super) const fn new(limit: usize) -> Self {
        Self { list: Vec::new(), names: BTreeMap::new(), limit, lost: 0 }
    }

    pub(super) fn act(&mut self, environment: &str, event: &ContainerEvent, evidence: &[Evidence]) {
        let host = event.daemon.ip.to_canonical();
        let called = [event.container_id.as_deref(), event.name.as_deref()];
        let names: Vec<Name> = called
            .into_iter()
            .flatten()
            .map(|name| {
                let name = name.trim_start_matches('/').to_owned();
                (environment.to_owned(), host, event.kind, name)
            })
            .collect();
        // A name is free for another once its container was removed: a creation is a new one.
        let known = names.iter().find_map(|name| self.names.get(name).copied());
        let same = known.filter(|index| {
            let created = self.list.get(*index).is_some_and(|one| one.created);
            event.action != ContainerAction::Create || !created
        });
        let index = match same {
            Some(index) => index,
            None if self.list.len() >= self.limit => {
                self.lost = self.lost.saturating_add(1);
                return;
            }
            None => {
                self.list.push(blank(environment, host, event));
                self.list.len().saturating_sub(1)
            }
        };
        for name in names {
            self.names.insert(name, index);
        }
        if let Some(one) = self.list.get_mut(index) {
            note(one, event, evidence);
        }
    }

    pub(super) fn finish(mut self) -> (Vec<ContainerUse>, u64) {
        self.list.sort_by(|a, b| {
            (&a.environment, a.docker_host, a.first, &a.id, &a.name).cmp(&(
                &b.environment,
                b.docker_host,
                b.first,
                &b.id,
                &b.name,
            ))
        });
        (self.list, self.lost)
    }
}

fn blank(environment: &str, docker_host: IpAddr, event: &ContainerEvent) -> ContainerUse {
    ContainerUse {
        environment: environment.to_owned(),
        kind: event.kind,
        docker_host,
        id: None,
        name: None,
        image: None,
        user: None,
        created: false,
        started: false,
        execs: 0,
        risks: Vec::new(),
        clients: BTreeSet::new(),
        first: event.started,
        last: event.ended,
        evidence: Vec::new(),
    }
}

fn note(one: &mut ContainerUse, event: &ContainerEvent, evidence: &[Evidence]) {
    let made = event.action == ContainerAction::Create;
    one.id = one.id.take().or_else(|| event.container_id.clone());
    one.name = one.name.take().or_else(|| event.name.clone());
    one.image = one.image.take().or_else(|| event.image.clone());
    if event.action != ContainerAction::Exec {
        one.user = one.user.take().or_else(|| event.user.clone());
    }
    one.created |= made;
    let runs = event.action == ContainerAction::Start;
    one.started |= runs || (made && event.kind == DeployKind::Service);
    one.execs = one.execs.saturating_add(u64::from(event.action == ContainerAction::Exec));
    let risks: BTreeSet<Risk> = one.risks.iter().chain(&event.risks).copied().collect();
    one.risks = risks.into_iter().collect();
    if one.clients.len() < MAX_CLIENTS {
        one.clients.insert(event.client.to_canonical());
    }
    one.first = one.first.min(event.started);
    one.last = one.last.max(event.ended);
    merge_evidence(&mut one.evidence, evidence);
}

const MAX_CLIENTS: usize = 64;
