//! The detector: takes observations in any order, and tells what they add up to.

use std::collections::BTreeMap;

use tw_model::{
    Build, Caveat, ContainerEvent, Destination, Evidence, Finding, ImageCreation, Incident,
    Observation, RegistryAction, Timestamp,
};

use crate::Seen;
use crate::destination::Contact;
use crate::environment::Environments;
use crate::freshness::Level;
use crate::incident::incidents;
use crate::ledger::Ledger;
use crate::maker::{Maker, Source};
use crate::names::HostList;
use crate::policy::{Counters, Policy};
use crate::rules;
use crate::scene::{Lists, Scene};
use crate::window::{Attribution, Owner};

/// What the detector tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// A finding.
    Finding(Box<Finding>),
    /// What belongs together.
    Incident(Box<Incident>),
    /// A build, with its destinations.
    Build {
        /// Its environment.
        environment: String,
        /// The build; `destinations` is filled in.
        build: Box<Build>,
        /// Where it stands in the input.
        evidence: Vec<Evidence>,
    },
    /// An image creation, with its destinations.
    ImageCreation {
        /// Its environment.
        environment: String,
        /// The creation; `destinations` is filled in.
        creation: Box<ImageCreation>,
        /// Where it stands in the input.
        evidence: Vec<Evidence>,
    },
    /// An image pulled or pushed, with who asked for it and for which builds.
    Registry {
        /// Its environment.
        environment: String,
        /// The action.
        action: Box<RegistryAction>,
        /// Where it stands in the input.
        evidence: Vec<Evidence>,
    },
    /// An action on a container.
    Container {
        /// Its environment.
        environment: String,
        /// The action.
        event: Box<ContainerEvent>,
        /// Where it stands in the input.
        evidence: Vec<Evidence>,
    },
}

impl Judgement {
    /// Time and identity, by which a run's output is sorted.
    #[must_use]
    pub fn sort_key(&self) -> (Timestamp, &str) {
        match self {
            Self::Finding(finding) => (finding.timestamp, &finding.id),
            Self::Incident(incident) => (incident.started, &incident.id),
            Self::Build { build, .. } => (build.started, &build.id.0),
            Self::ImageCreation { creation, .. } => (creation.started, &creation.id.0),
            Self::Registry { action, .. } => (action.started, &action.id.0),
            Self::Container { event, .. } => {
                (event.started, event.container_id.as_deref().unwrap_or_default())
            }
        }
    }
}

/// A judgement while more may come.
#[derive(Clone, Debug, PartialEq)]
pub struct Reviewed {
    /// What can be said now.
    pub judgement: Judgement,
    /// End of the windows that it stands in: what happens later belongs to others. Records of what
    /// happened before may still be under way.
    pub settles: Timestamp,
}

/// Joins observations in event time.
///
/// Order of calls: [`push`](Self::push) for every observation. The store is asked once for each new
/// thing that matters, as of the time when it was first seen, and the answer is kept with it; of what a
/// host that is no docker host does, nothing is asked. A judgement is a pure function of what was
/// pushed: nothing depends on the order of arrival, so long as no limit was reached (see
/// [`Counters`]). [`review`](Self::review) says how things stand, any number of times;
/// [`finish`](Self::finish) tells everything, once.
#[derive(Debug)]
pub struct Detector {
    policy: Policy,
    environments: Environments,
    lists: Lists,
    ledger: Ledger,
}

impl Detector {
    /// A detector that has seen nothing.
    #[must_use]
    pub fn new(policy: Policy, environments: Environments) -> Self {
        let lists = Lists {
            public_registries: HostList::public_registries(),
            allowed_registries: HostList::from_patterns(&policy.registry_allow_list),
            multi_tenant: HostList::multi_tenant(),
            proxies: HostList::from_patterns(&policy.proxies),
        };
        Self { policy, environments, lists, ledger: Ledger::new() }
    }

    /// Has the store asked about everything at once, whether it matters or not. Needed where what is
    /// recorded meanwhile counts for all times, as with a baseline that is being learned: otherwise
    /// everything would be known by the time it is judged. Costs a question for each new thing.
    #[must_use]
    pub const fn asking_at_once(mut self) -> Self {
        self.ledger.asks_at_once = true;
        self
    }

    /// Takes one observation. `sink` is for what is told at once; at present nothing is.
    pub fn push(
        &mut self,
        observation: Observation,
        seen: &mut dyn Seen,
        _sink: &mut dyn FnMut(Judgement),
    ) {
        self.ledger.push(observation, &self.policy, &self.environments, seen);
    }

    /// Everything that can be said now, in the order of time and identity, while more may come: for
    /// one who tells findings as they come. Cost: a pass over all that is remembered.
    pub fn review(&mut self, seen: &mut dyn Seen) -> Vec<Reviewed> {
        self.ledger.conclude(&self.policy, &self.environments, seen);
        let (reviewed, findings_lost, destinations_lost) = self.judge();
        self.ledger.counters.findings_lost = findings_lost;
        self.ledger.counters.destinations_lost = destinations_lost;
        reviewed
    }

    /// End of input: tells builds, image creations, registry and container actions, findings and incidents, in
    /// the order of their time and identity.
    pub fn finish(&mut self, seen: &mut dyn Seen, sink: &mut dyn FnMut(Judgement)) {
        for reviewed in self.review(seen) {
            sink(reviewed.judgement);
        }
    }

    /// What was done and left out so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.ledger.counters
    }

    /// Everything that can be said now.
    fn judge(&self) -> (Vec<Reviewed>, u64, u64) {
        let scene = Scene::new(&self.ledger, &self.policy, &self.environments, &self.lists);
        let found = rules::judge(&scene);
        let findings_lost = found.lost;
        let mut drafts = found.into_sorted();
        let incidents = incidents(&scene, &mut drafts);
        let mut all = Vec::new();
        let destinations_lost = self.makers(&scene, &mut all);
        for transfer in &scene.transfers {
            let judgement = Judgement::Registry {
                environment: self.environments.name(transfer.environment).to_owned(),
                action: Box::new(transfer.action.clone()),
                evidence: transfer.evidence.clone(),
            };
            all.push(Reviewed { judgement, settles: transfer.action.started });
        }
        for held in self.ledger.containers.values().filter(|held| !held.value.is_refused()) {
            let judgement = Judgement::Container {
                environment: self.environments.name(held.environment).to_owned(),
                event: Box::new(held.value.clone()),
                evidence: held.evidence.clone(),
            };
            all.push(Reviewed { judgement, settles: held.value.ended });
        }
        let mut settled: BTreeMap<String, Timestamp> = BTreeMap::new();
        for draft in drafts {
            let windows = draft.owners.iter().filter_map(|owner| scene.maker(*owner));
            let ends = windows.map(|maker| self.window_end(maker)).max();
            let settles =
                ends.map_or(draft.finding.timestamp, |end| end.max(draft.finding.timestamp));
            let of_incident = settled.entry(draft.finding.incident.clone()).or_insert(settles);
            *of_incident = settles.max(*of_incident);
            all.push(Reviewed { judgement: Judgement::Finding(Box::new(draft.finding)), settles });
        }
        for incident in incidents {
            let settles = settled.get(&incident.id).copied().unwrap_or(incident.ended);
            all.push(Reviewed { judgement: Judgement::Incident(Box::new(incident)), settles });
        }
        all.sort_by(|a, b| a.judgement.sort_key().cmp(&b.judgement.sort_key()));
        (all, findings_lost, destinations_lost)
    }

    fn window_end(&self, maker: &Maker<'_>) -> Timestamp {
        let ended = maker.ended.max(maker.started);
        let longest = maker.started.plus(self.policy.inferred_window_max);
        let ended = if maker.is_inferred() { ended.min(longest) } else { ended };
        ended.plus(self.policy.time_window)
    }

    fn makers(&self, scene: &Scene<'_>, all: &mut Vec<Reviewed>) -> u64 {
        let mut lost = 0;
        let certain = scene.makers.iter().enumerate().filter(|(_, maker)| !maker.is_doubtful());
        for (index, maker) in certain {
            let (destinations, left_out) = destinations(scene, Owner::Maker(index));
            lost += left_out;
            let environment = self.environments.name(maker.environment).to_owned();
            let judgement = match maker.source {
                Source::Build(held) => {
                    let mut build = Box::new(held.value.clone());
                    build.destinations = destinations;
                    add_opaque_proxy(&mut build.caveats, scene, index);
                    Judgement::Build { environment, build, evidence: held.evidence.clone() }
                }
                Source::Creation(held) => {
                    let mut creation = Box::new(held.value.clone());
                    creation.destinations = destinations;
                    add_opaque_proxy(&mut creation.caveats, scene, index);
                    Judgement::ImageCreation {
                        environment,
                        creation,
                        evidence: held.evidence.clone(),
                    }
                }
            };
            all.push(Reviewed { judgement, settles: self.window_end(maker) });
        }
        lost
    }
}

/// Where a maker's window holds a conversation with a proxy that could not be read, the list of its
/// destinations is not whole. A known proxy makes no finding that could say so.
fn add_opaque_proxy(caveats: &mut Vec<Caveat>, scene: &Scene<'_>, maker: usize) {
    let hidden = |contact: &Contact<'_>| {
        contact.via_proxy.is_none() && contact.caveats.contains(&Caveat::Proxied)
    };
    let is_hidden = scene.contacts_of(Owner::Maker(maker)).any(|(contact, _)| hidden(contact));
    if is_hidden && !caveats.contains(&Caveat::Proxied) {
        caveats.push(Caveat::Proxied);
        caveats.sort_unstable();
    }
}

/// Every destination inside an owner's windows, known or not, one entry for each address and port.
fn destinations(scene: &Scene<'_>, owner: Owner) -> (Vec<Destination>, u64) {
    let mut list: Vec<Destination> = Vec::new();
    let mut lost = 0;
    for (contact, attribution) in scene.contacts_of(owner) {
        let Some(ip) = contact.ip else { continue };
        if let Some(known) = list.iter_mut().find(|d| d.ip == ip && d.port == contact.port) {
            extend(known, contact, attribution);
        } else if list.len() < scene.policy.limits.destinations_per_build {
            let mut destination = Destination {
                ip,
                port: contact.port,
                names: Vec::new(),
                bytes_in: 0,
                bytes_out: 0,
                first: contact.at,
                known: contact.freshness.level == Level::Known,
                named: false,
                urls: Vec::new(),
                sha256: Vec::new(),
            };
            extend(&mut destination, contact, attribution);
            list.push(destination);
        } else {
            lost += 1;
        }
    }
    (list, lost)
}

fn extend(destination: &mut Destination, contact: &Contact<'_>, attribution: &Attribution) {
    let [sent, received] = contact.connection.payload_bytes;
    destination.bytes_out = destination.bytes_out.saturating_add(sent);
    destination.bytes_in = destination.bytes_in.saturating_add(received);
    destination.named |= attribution.named;
    for name in &contact.names {
        if destination.names.len() < MAX_NAMES && !destination.names.contains(name) {
            destination.names.push(name.clone());
        }
    }
    for exchange in &contact.exchanges {
        if let Some(url) = &exchange.url
            && destination.urls.len() < MAX_URLS
        {
            destination.urls.push(url.clone());
            destination.sha256.extend(exchange.sha256.clone());
        }
    }
}

const MAX_NAMES: usize = 16;
const MAX_URLS: usize = 64;
