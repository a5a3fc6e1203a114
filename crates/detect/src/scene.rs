//! One judgement's view of everything: hosts, makers, lives, contacts and who they belong to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tw_model::{
    ApiCall, CallId, Caveat, ContainerAction, DeployKind, Endpoint, Evidence, FlowId, Timestamp,
};

use crate::Knowledge;
use crate::destination::{Contact, Reading, Registry};
use crate::environment::{EnvironmentId, Environments};
use crate::freshness::{Level, level};
use crate::host::{HostId, HostMap};
use crate::image::image_name;
use crate::ledger::{Held, Ledger};
use crate::life::{Life, lives};
use crate::maker::{Deployed, Maker, makers};
use crate::names::HostList;
use crate::policy::Policy;
use crate::transfer::{Joining, Transfer, asked_registries, known_registries, was_asked};
use crate::window::{Attribution, Owner, Phase, Windows};

/// The lists that contacts are judged by.
#[derive(Clone, Debug)]
pub(crate) struct Lists {
    pub(crate) public_registries: HostList,
    pub(crate) allowed_registries: HostList,
    pub(crate) multi_tenant: HostList,
    pub(crate) proxies: HostList,
}

/// Everything, joined.
pub(crate) struct Scene<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) policy: &'a Policy,
    pub(crate) environments: &'a Environments,
    pub(crate) lists: &'a Lists,
    pub(crate) hosts: HostMap,
    pub(crate) makers: Vec<Maker<'a>>,
    pub(crate) lives: Vec<Life<'a>>,
    pub(crate) contacts: Vec<(Contact<'a>, Option<Attribution>)>,
    /// Images pulled and pushed.
    pub(crate) transfers: Vec<Transfer<'a>>,
    pub(crate) transfers_by_flow: BTreeMap<FlowId, usize>,
    pub(crate) transfers_by_call: BTreeMap<CallId, usize>,
    pub(crate) plugins_by_call: BTreeMap<CallId, usize>,
    /// Containers that were not made of an image built here, by their image.
    pub(crate) lives_by_image: BTreeMap<(HostId, String), Vec<usize>>,
    /// Indices of contacts by owner, and of lives and calls by who acted.
    pub(crate) contacts_by_owner: BTreeMap<Owner, Vec<usize>>,
    pub(crate) lives_by_client: BTreeMap<IpAddr, BTreeSet<usize>>,
    pub(crate) calls_by_client: BTreeMap<IpAddr, Vec<&'a Held<ApiCall>>>,
}

/// How a caller stands with a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) level: Level,
    pub(crate) is_known_builder: bool,
    /// Outside the networks of the environment.
    pub(crate) outside: bool,
    pub(crate) watched_since: Option<Timestamp>,
    pub(crate) baseline: bool,
    pub(crate) first_seen: Option<Timestamp>,
}

impl Caller {
    pub(crate) fn is_new(&self) -> bool {
        self.level == Level::Environment
    }

    /// New, or unknown and from outside: worth a word where it does what only users should.
    pub(crate) fn is_strange(&self) -> bool {
        self.is_new() || (self.level == Level::Unknown && self.outside)
    }
}

/// What a finding says of the owner of a window.
#[derive(Clone, Debug)]
pub(crate) struct OwnerView<'a> {
    pub(crate) environment: EnvironmentId,
    pub(crate) daemon: Endpoint,
    pub(crate) client: IpAddr,
    pub(crate) client_port: u16,
    pub(crate) started: Timestamp,
    pub(crate) title: String,
    pub(crate) caveats: BTreeSet<Caveat>,
    pub(crate) inferred: bool,
    pub(crate) doubtful: bool,
    /// JA4 of the client, where the build was inferred.
    pub(crate) ja4: Option<&'a str>,
    pub(crate) deployed: Deployed,
    /// A commit: its window is the life of the container that it froze, and lies before it.
    pub(crate) is_commit: bool,
    pub(crate) evidence: &'a [Evidence],
}

impl<'a> Scene<'a> {
    pub(crate) fn new(
        ledger: &'a Ledger,
        policy: &'a Policy,
        environments: &'a Environments,
        lists: &'a Lists,
    ) -> Self {
        let hosts = HostMap::new(&ledger.daemons, &ledger.links, environments);
        let mut makers = makers(ledger, &hosts, environments, policy.time_window);
        let lives = lives(ledger, &hosts, environments, &mut makers, policy.deploy_window);
        let asked_registries = asked_registries(ledger, &hosts, environments, policy);
        let known_registries = known_registries(ledger);
        let base_registries = makers.iter().flat_map(|m| m.registries.iter().cloned()).collect();
        let reading = Reading {
            ledger,
            policy,
            environments,
            hosts: &hosts,
            public_registries: &lists.public_registries,
            allowed_registries: &lists.allowed_registries,
            multi_tenant: &lists.multi_tenant,
            proxies: &lists.proxies,
            base_registries: &base_registries,
            asked_registries: &asked_registries,
            known_registries: &known_registries,
        };
        let contacts = reading.contacts();
        let windows = Windows::new(hosts.len(), &makers, &lives, policy);
        let contacts: Vec<_> = contacts
            .into_iter()
            .map(|mut contact| {
                let attribution = windows.attribute(&contact);
                let by_call = contact.registry != Registry::No
                    && was_asked(
                        &asked_registries,
                        contact.host,
                        contact.ip,
                        &contact.names,
                        contact.at,
                    );
                // What a pull or push was asked for is no part of a build that happens to be open.
                let attribution = attribution.filter(|a| a.named || !by_call);
                let owners = attribution.iter().flat_map(|a| &a.owners);
                let mut makers = owners.filter_map(|owner| maker_of(&makers, *owner));
                if makers.any(|maker| maker.has_opaque_proxy(&contact)) {
                    contact.caveats.insert(Caveat::Proxied);
                }
                (contact, attribution)
            })
            .collect();
        let joining = Joining {
            ledger,
            policy,
            environments,
            hosts: &hosts,
            makers: &makers,
            contacts: &contacts,
        };
        let transfers = joining.transfers();
        let mut scene = Self {
            ledger,
            policy,
            environments,
            lists,
            hosts,
            makers,
            lives,
            contacts,
            transfers,
            transfers_by_flow: BTreeMap::new(),
            transfers_by_call: BTreeMap::new(),
            plugins_by_call: BTreeMap::new(),
            lives_by_image: BTreeMap::new(),
            contacts_by_owner: BTreeMap::new(),
            lives_by_client: BTreeMap::new(),
            calls_by_client: BTreeMap::new(),
        };
        scene.index();
        scene
    }

    fn index(&mut self) {
        for (i, (_, attribution)) in self.contacts.iter().enumerate() {
            for owner in attribution.iter().flat_map(|a| &a.owners) {
                self.contacts_by_owner.entry(*owner).or_default().push(i);
            }
        }
        for (i, transfer) in self.transfers.iter().enumerate() {
            let action = &transfer.action;
            self.transfers_by_flow.extend(action.flows.iter().map(|flow| (*flow, i)));
            self.transfers_by_call.extend(action.call.map(|call| (call, i)));
        }
        for (i, life) in self.lives.iter().enumerate() {
            if let (None, Some(image)) = (life.built_by, life.image()) {
                self.lives_by_image.entry((life.host, image_name(image))).or_default().push(i);
            }
            for held in &life.events {
                if held.value.kind == DeployKind::Plugin {
                    self.plugins_by_call.insert(held.value.call, i);
                }
                self.lives_by_client.entry(held.value.client).or_default().insert(i);
            }
        }
        for held in self.ledger.calls.values() {
            self.calls_by_client.entry(held.value.client.ip).or_default().push(held);
        }
    }

    /// Contacts that belong to this owner, with how, in the order of time.
    pub(crate) fn contacts_of(
        &self,
        owner: Owner,
    ) -> impl Iterator<Item = (&Contact<'a>, &Attribution)> {
        let indices = self.contacts_by_owner.get(&owner).into_iter().flatten();
        indices.filter_map(|i| {
            let (contact, attribution) = self.contacts.get(*i)?;
            Some((contact, attribution.as_ref()?))
        })
    }

    pub(crate) fn caller(
        &self,
        environment: EnvironmentId,
        client: IpAddr,
        daemon: IpAddr,
    ) -> Caller {
        let answers = self.ledger.callers.get(&(environment, client, daemon));
        let answer = answers.map(|a| &a.caller);
        let first_seen = match answer.map(|a| &a.environment) {
            Some(Knowledge::Touched { first_seen, .. }) => Some(*first_seen),
            _ => None,
        };
        Caller {
            level: answer.map_or(Level::Unknown, level),
            is_known_builder: answers.is_some_and(|a| a.builder.environment == Knowledge::Known),
            outside: !self.environments.has(environment, client),
            watched_since: answer.and_then(|a| a.watched_since),
            baseline: answer.is_some_and(|a| a.baseline),
            first_seen,
        }
    }

    /// The plugin that this call installed.
    pub(crate) fn plugin_of_call(&self, call: CallId) -> Option<Owner> {
        self.plugins_by_call.get(&call).map(|index| Owner::Life(*index))
    }

    pub(crate) fn maker(&self, owner: Owner) -> Option<&Maker<'a>> {
        maker_of(&self.makers, owner)
    }

    /// What to say of the owner of a window that was open at `at`.
    pub(crate) fn owner_view(
        &self,
        owner: Owner,
        phase: Phase,
        at: Timestamp,
    ) -> Option<OwnerView<'a>> {
        match owner {
            Owner::Maker(index) => self.makers.get(index).map(maker_view),
            Owner::Life(index) => self.lives.get(index).and_then(|life| life_view(life, phase, at)),
        }
    }
}

fn maker_of<'m, 'a>(makers: &'m [Maker<'a>], owner: Owner) -> Option<&'m Maker<'a>> {
    match owner {
        Owner::Maker(index) => makers.get(index),
        Owner::Life(_) => None,
    }
}

fn maker_view<'a>(maker: &Maker<'a>) -> OwnerView<'a> {
    let mut caveats: BTreeSet<Caveat> = maker.caveats.iter().copied().collect();
    if !maker.end_seen {
        caveats.insert(Caveat::EndUnseen);
    }
    OwnerView {
        environment: maker.environment,
        daemon: maker.daemon,
        client: maker.client,
        client_port: maker.client_port,
        started: maker.started,
        title: maker.title(),
        caveats,
        inferred: maker.is_inferred(),
        doubtful: maker.is_doubtful(),
        ja4: maker.inference().and_then(|inference| inference.ja4.as_deref()),
        deployed: maker.deployed,
        is_commit: maker.commit_of().is_some(),
        evidence: maker.evidence,
    }
}

fn life_view<'a>(life: &Life<'a>, phase: Phase, at: Timestamp) -> Option<OwnerView<'a>> {
    let wanted = if phase == Phase::Exec { ContainerAction::Exec } else { ContainerAction::Start };
    let begun = |e: &&&Held<tw_model::ContainerEvent>| e.value.started <= at;
    let matching = life.events.iter().rev().filter(begun).find(|e| e.value.action == wanted);
    let held = matching.copied().or_else(|| life.first())?;
    let what = if phase == Phase::Exec { "an exec in" } else { "a run of" };
    Some(OwnerView {
        environment: held.environment,
        daemon: held.value.daemon,
        client: held.value.client,
        client_port: held.value.client_port,
        started: held.value.started,
        title: format!("{what} {}", life.title()),
        caveats: BTreeSet::new(),
        inferred: false,
        doubtful: false,
        ja4: None,
        deployed: Deployed::default(),
        is_commit: false,
        evidence: &held.evidence,
    })
}
