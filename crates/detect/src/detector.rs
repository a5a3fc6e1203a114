//! The detector: takes observations in any order, and tells what they add up to.

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
use crate::maker::Source;
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

/// Joins observations in event time.
///
/// Order of calls: [`push`](Self::push) for every observation. The store is asked once for each new
/// thing that matters, as of the time when it was first seen, and the answer is kept with it; of what a
/// host that is no docker host does, nothing is asked. A judgement is a pure function of what was
/// pushed: nothing depends on the order of arrival, so long as no limit was reached (see
/// [`Counters`]). [`finish`](Self::finish) tells everything, once.
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

    /// Time passed without an observation. At present nothing is told before the end.
    pub fn advance(
        &mut self,
        _now: Timestamp,
        _seen: &mut dyn Seen,
        _sink: &mut dyn FnMut(Judgement),
    ) {
    }

    /// End of input: tells builds, image creations, registry and container actions, findings and incidents, in
    /// the order of their time and identity.
    pub fn finish(&mut self, seen: &mut dyn Seen, sink: &mut dyn FnMut(Judgement)) {
        self.ledger.conclude(&self.policy, &self.environments, seen);
        let (judgements, findings_lost, destinations_lost) = self.judge();
        self.ledger.counters.findings_lost = findings_lost;
        self.ledger.counters.destinations_lost = destinations_lost;
        for judgement in judgements {
            sink(judgement);
        }
    }

    /// What was done and left out so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.ledger.counters
    }

    /// Everything that can be said now.
    fn judge(&self) -> (Vec<Judgement>, u64, u64) {
        let scene = Scene::new(&self.ledger, &self.policy, &self.environments, &self.lists);
        let found = rules::judge(&scene);
        let findings_lost = found.lost;
        let mut drafts = found.into_sorted();
        let incidents = incidents(&scene, &mut drafts);
        let mut judgements = Vec::new();
        let destinations_lost = self.makers(&scene, &mut judgements);
        judgements.extend(scene.transfers.iter().map(|transfer| Judgement::Registry {
            environment: self.environments.name(transfer.environment).to_owned(),
            action: Box::new(transfer.action.clone()),
            evidence: transfer.evidence.clone(),
        }));
        for held in self.ledger.containers.values() {
            judgements.push(Judgement::Container {
                environment: self.environments.name(held.environment).to_owned(),
                event: Box::new(held.value.clone()),
                evidence: held.evidence.clone(),
            });
        }
        judgements.extend(drafts.into_iter().map(|d| Judgement::Finding(Box::new(d.finding))));
        judgements.extend(incidents.into_iter().map(|i| Judgement::Incident(Box::new(i))));
        judgements.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        (judgements, findings_lost, destinations_lost)
    }

    fn makers(&self, scene: &Scene<'_>, judgements: &mut Vec<Judgement>) -> u64 {
        let mut lost = 0;
        let certain = scene.makers.iter().enumerate().filter(|(_, maker)| !maker.is_doubtful());
        for (index, maker) in certain {
            let (destinations, left_out) = destinations(scene, Owner::Maker(index));
            lost += left_out;
            let environment = self.environments.name(maker.environment).to_owned();
            judgements.push(match maker.source {
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
            });
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
