//! Transfers: images on their way between docker hosts and registries. What host and registry said
//! to each other, and what was asked of a Docker API, are one transfer where both were seen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tw_model::{
    AppProtocol, CallId, DestinationName, Evidence, FlowId, RegistryAction, RegistryVerb,
    RegistryVia, Timestamp,
};

use crate::Knowledge;
use crate::destination::{Contact, Registry};
use crate::draft::merge_evidence;
use crate::environment::{EnvironmentId, Environments};
use crate::host::{HostId, HostMap};
use crate::image::image_name;
use crate::ledger::{HeldAction, ImageAnswers, Ledger};
use crate::life::{Images, images_by_name};
use crate::maker::Maker;
use crate::names::host_of;
use crate::policy::Policy;
use crate::text::{bytes, printable};
use crate::window::{Attribution, Owner, Phase};

/// One image, one way, once.
#[derive(Clone, Debug)]
pub(crate) struct Transfer<'a> {
    pub(crate) action: RegistryAction,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) environment: EnvironmentId,
    /// Absent where the host is no docker host that we know.
    pub(crate) host: Option<HostId>,
    pub(crate) answers: &'a ImageAnswers,
    /// Makers that pulled it, or whose build was open when it was pushed.
    pub(crate) owners: BTreeSet<Owner>,
    /// Of a push: who made the image here.
    pub(crate) made_by: Option<usize>,
}

impl Transfer<'_> {
    /// The image's name in the one spelling that all names are compared in.
    pub(crate) fn image(&self) -> String {
        image_name(&full_name(&self.action))
    }

    /// `k8s/pause:3.9`, for a sentence.
    pub(crate) fn shown(&self) -> String {
        let action = &self.action;
        let name = match action.reference.as_deref() {
            Some(digest) if digest.contains(':') => format!("{}@{digest}", action.repository),
            Some(tag) => format!("{}:{tag}", action.repository),
            None => action.repository.clone(),
        };
        printable(&name, 160)
    }

    /// What happened, in one sentence without a full stop.
    pub(crate) fn sentence(&self) -> String {
        let action = &self.action;
        let (verb, from) = match action.action {
            RegistryVerb::Pull => ("pulled", "from"),
            RegistryVerb::Push => ("pushed", "to"),
        };
        let registry = printable(&action.registry, 120);
        let mut text = format!("The host {verb} {} {from} the registry {registry}", self.shown());
        if action.tls == Some(true) {
            text.push_str(" over TLS");
        }
        let mut details = Vec::new();
        if let Some(digest) = &action.manifest_digest {
            details.push(format!("manifest {digest}"));
        }
        if !action.layers.is_empty() {
            let moved = action.layers.iter().filter(|layer| layer.transferred).count();
            details.push(format!("{moved} of {} layers transferred", action.layers.len()));
        }
        if action.bytes > 0 {
            details.push(bytes(action.bytes));
        }
        if !details.is_empty() {
            text.push_str(&format!(" ({})", details.join(", ")));
        }
        text
    }
}

/// Name as a caller of the API would write it.
fn full_name(action: &RegistryAction) -> String {
    let registry = action.registry.strip_suffix(":443").unwrap_or(&action.registry);
    let repository = &action.repository;
    match action.reference.as_deref() {
        Some(digest) if digest.contains(':') => format!("{registry}/{repository}@{digest}"),
        Some(tag) => format!("{registry}/{repository}:{tag}"),
        None => format!("{registry}/{repository}"),
    }
}

/// What transfers are joined from.
pub(crate) struct Joining<'j, 'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) policy: &'j Policy,
    pub(crate) environments: &'j Environments,
    pub(crate) hosts: &'j HostMap,
    pub(crate) makers: &'j [Maker<'a>],
    pub(crate) contacts: &'j [(Contact<'a>, Option<Attribution>)],
}

/// API actions by host and repository, and which of them the registry protocol showed too.
#[derive(Default)]
struct Asked<'a> {
    by_repository: BTreeMap<(HostId, &'a str), Vec<&'a HeldAction>>,
    joined: BTreeSet<CallId>,
}

impl<'a> Joining<'_, 'a> {
    /// All transfers in the order of their start.
    pub(crate) fn transfers(&self) -> Vec<Transfer<'a>> {
        let mut asked = Asked::default();
        for held in self.ledger.registry_actions.values() {
            if let (RegistryVia::Api, Some(host)) = (held.held.value.via, self.host_of(held)) {
                let key = (host, held.held.value.repository.as_str());
                asked.by_repository.entry(key).or_default().push(held);
            }
        }
        let flows: BTreeMap<FlowId, &(Contact<'a>, Option<Attribution>)> =
            self.contacts.iter().map(|contact| (contact.0.flow, contact)).collect();
        let images = images_by_name(self.makers);
        let mut transfers = Vec::new();
        for held in self.ledger.registry_actions.values() {
            if held.held.value.via == RegistryVia::Registry {
                transfers.push(self.spoken(held, &flows, &mut asked));
            }
        }
        for held in asked.by_repository.values().flatten() {
            let action = &held.held.value;
            let is_joined = action.call.is_some_and(|call| asked.joined.contains(&call));
            if !is_joined && (action.confirmed || !action.failed) {
                transfers.push(self.only_asked(held));
            }
        }
        for transfer in &mut transfers {
            self.note_maker(&images, transfer);
        }
        transfers.sort_by(|a, b| {
            (a.action.started, &a.action.id).cmp(&(b.action.started, &b.action.id))
        });
        transfers
    }

    fn host_of(&self, held: &HeldAction) -> Option<HostId> {
        let held = &held.held;
        self.hosts.find(self.environments, held.environment, held.value.docker_host)
    }

    /// A transfer that the registry protocol shows.
    fn spoken(
        &self,
        held: &'a HeldAction,
        flows: &BTreeMap<FlowId, &(Contact<'a>, Option<Attribution>)>,
        asked: &mut Asked<'a>,
    ) -> Transfer<'a> {
        let mut transfer = self.blank(held);
        let call = transfer.host.and_then(|host| {
            let key = (host, held.held.value.repository.as_str());
            let same = asked.by_repository.get(&key)?.iter().filter(|call| {
                let end = call.held.value.ended.plus(self.policy.time_window);
                is_same(&held.held.value, &call.held.value, end)
            });
            same.max_by_key(|call| (call.held.value.started, &call.held.value.id)).copied()
        });
        if let Some(call) = call {
            asked.joined.extend(call.held.value.call);
            transfer.take_call(call);
            return transfer;
        }
        let attributions = held.held.value.flows.iter().filter_map(|flow| flows.get(flow));
        let owners = attributions
            .filter_map(|(_, attribution)| attribution.as_ref())
            .filter(|attribution| attribution.phase == Phase::Make)
            .flat_map(|attribution| attribution.owners.iter().copied());
        transfer.owners = owners.collect();
        self.note_makers(&mut transfer);
        transfer
    }

    /// What is pushed may have been made here.
    fn note_maker(&self, images: &Images, transfer: &mut Transfer<'_>) {
        let action = &transfer.action;
        let Some(host) = transfer.host.filter(|_| action.action == RegistryVerb::Push) else {
            return;
        };
        let id = action.config_digest.as_deref();
        let name = full_name(action);
        transfer.made_by = images.made_before(host, id, &name, action.started, self.makers);
        if let Some(maker) = transfer.made_by.and_then(|index| self.makers.get(index))
            && !action.builds.contains(maker.id)
        {
            transfer.action.builds.push(maker.id.clone());
        }
    }

    /// A build's pull was asked for by who asked for the build.
    fn note_makers(&self, transfer: &mut Transfer<'_>) {
        let action = &mut transfer.action;
        for owner in &transfer.owners {
            let Owner::Maker(index) = owner else { continue };
            let Some(maker) = self.makers.get(*index) else { continue };
            action.builds.push(maker.id.clone());
            if action.client.is_none() {
                action.client = Some(maker.client);
                action.client_port = maker.client_port;
                action.daemon = Some(maker.daemon);
            }
        }
    }

    /// A transfer of which only the API tells: the registry was spoken to over TLS, or out of sight.
    fn only_asked(&self, held: &'a HeldAction) -> Transfer<'a> {
        let mut transfer = self.blank(held);
        let action = &mut transfer.action;
        let end = action.ended.plus(self.policy.time_window);
        let begin = self.contacts.partition_point(|(contact, _)| contact.at < action.started);
        let during = self.contacts.iter().skip(begin).take_while(|(c, _)| c.at <= end);
        let mut during = during.map(|(contact, _)| contact).take(MAX_CONTACTS);
        let is_opaque = |contact: &Contact<'_>| {
            Some(contact.host) == transfer.host
                && contact.registry != Registry::No
                && contact.connection.app == Some(AppProtocol::Tls)
        };
        if during.any(is_opaque) {
            action.tls = Some(true);
        }
        transfer
    }

    fn blank(&self, held: &'a HeldAction) -> Transfer<'a> {
        Transfer {
            action: held.held.value.clone(),
            evidence: held.held.evidence.clone(),
            environment: held.held.environment,
            host: self.host_of(held),
            answers: &held.answers,
            owners: BTreeSet::new(),
            made_by: None,
        }
    }
}

impl Transfer<'_> {
    fn take_call(&mut self, call: &HeldAction) {
        let asked = &call.held.value;
        let action = &mut self.action;
        action.client = asked.client;
        action.client_port = asked.client_port;
        action.daemon = asked.daemon;
        action.call = asked.call;
        action.confirmed |= asked.confirmed;
        action.failed |= asked.failed;
        if action.manifest_digest.is_none() {
            action.manifest_digest.clone_from(&asked.manifest_digest);
        }
        let by_digest = action.reference.as_deref().is_none_or(|name| name.contains(':'));
        if by_digest && asked.reference.is_some() {
            action.reference.clone_from(&asked.reference);
        }
        merge_evidence(&mut self.evidence, &call.held.evidence);
    }
}

/// Is what was spoken what was asked for? The name may have been asked for without its port.
fn is_same(spoken: &RegistryAction, asked: &RegistryAction, asked_until: Timestamp) -> bool {
    let registry = spoken.registry == asked.registry
        || asked.registry.strip_suffix(":443").is_some_and(|host| {
            spoken.registry.strip_prefix(host).is_some_and(|port| port.starts_with(':'))
        });
    let digests = [&spoken.manifest_digest, &spoken.index_digest];
    let reference = match (&spoken.reference, &asked.reference) {
        (Some(name), Some(tag)) => {
            // What resolved the tag may not have been captured.
            let by_digest = name.contains(':') && asked.manifest_digest.is_none();
            name == tag || by_digest
        }
        _ => true,
    } || digests.iter().any(|d| d.is_some() && **d == asked.manifest_digest);
    registry
        && reference
        && spoken.action == asked.action
        && asked.started <= spoken.started
        && spoken.started <= asked_until
}

/// When a docker host was asked to pull from or push to a registry, by its name or address.
pub(crate) type AskedRegistries = BTreeMap<(HostId, String), Vec<(Timestamp, Timestamp)>>;

/// Which registries the daemons were asked to speak to, and when.
pub(crate) fn asked_registries(
    ledger: &Ledger,
    hosts: &HostMap,
    environments: &Environments,
    policy: &Policy,
) -> AskedRegistries {
    let mut asked = AskedRegistries::new();
    for held in ledger.registry_actions.values().map(|held| &held.held) {
        let action = &held.value;
        let host = hosts.find(environments, held.environment, action.docker_host);
        let name = host_of(&action.registry);
        if let (RegistryVia::Api, Some(host), Some((name, _))) = (action.via, host, name) {
            let window = (action.started, action.ended.plus(policy.time_window));
            let windows = asked.entry((host, name)).or_default();
            if windows.len() < MAX_WINDOWS {
                windows.push(window);
            }
        }
    }
    asked
}

/// Was a daemon of this host just asked for an image from there, or to push one?
pub(crate) fn was_asked(
    asked: &AskedRegistries,
    host: HostId,
    ip: Option<IpAddr>,
    names: &[DestinationName],
    at: Timestamp,
) -> bool {
    let is_open = |name: String| {
        let windows = asked.get(&(host, name));
        windows.into_iter().flatten().any(|(from, to)| (*from..=*to).contains(&at))
    };
    !asked.is_empty()
        && (ip.is_some_and(|ip| is_open(ip.to_string()))
            || names.iter().any(|n| is_open(n.name.clone())))
}

/// Registries, by name and port, that the store knew when they were first spoken to.
pub(crate) fn known_registries(ledger: &Ledger) -> BTreeSet<(String, u16)> {
    let spoken = ledger.registry_actions.values().filter(|held| {
        held.held.value.via == RegistryVia::Registry
            && held.answers.registry.environment == Knowledge::Known
    });
    spoken
        .filter_map(|held| host_of(&held.held.value.registry))
        .filter_map(|(host, port)| Some((host, port?)))
        .collect()
}

const MAX_CONTACTS: usize = 4_096;
const MAX_WINDOWS: usize = 256;
