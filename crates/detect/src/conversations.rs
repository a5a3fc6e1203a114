//! Conversations that an incident is made of: the calls of its callers, what its builds and containers
//! contacted, and the registries that took part.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tw_model::{CallId, Conversation, Endpoint, FlowId, Protocol, Timestamp};

use crate::draft::Draft;
use crate::maker::Source;
use crate::scene::Scene;
use crate::window::Owner;

/// Conversations of one incident; those that are found first stay.
const MAX_CONVERSATIONS: usize = 4_096;
/// Names of one incident.
const MAX_NAMES: usize = 1_024;
const UNKNOWN: Timestamp = Timestamp::from_nanos(i64::MIN);

/// What makes an incident.
pub(crate) struct Part<'s, 'a> {
    pub(crate) scene: &'s Scene<'a>,
    pub(crate) members: &'s [&'s Draft],
    pub(crate) owners: &'s BTreeSet<Owner>,
    pub(crate) clients: &'s BTreeSet<IpAddr>,
}

/// Conversations by who spoke, with when.
#[derive(Default)]
struct Found(BTreeMap<(Endpoint, Endpoint, Protocol), (Timestamp, Timestamp)>);

impl Part<'_, '_> {
    /// All of them, what the incident is about before what its callers did besides.
    pub(crate) fn conversations(&self, span: (Timestamp, Timestamp)) -> Vec<Conversation> {
        let mut found = Found::default();
        self.members.iter().flat_map(|d| &d.conversations).for_each(|c| found.add(*c));
        for owner in self.owners {
            self.making(*owner, &mut found);
            let contacts = self.scene.contacts_of(*owner);
            contacts.for_each(|(contact, _)| found.add(contact.connection.into()));
        }
        self.lives(&mut found);
        self.transfers(span, &mut found);
        self.calls(span, &mut found);
        found.sorted()
    }

    /// Names of what was contacted, and of what was named and not contacted.
    pub(crate) fn names(&self) -> Vec<String> {
        let contacts = self.owners.iter().flat_map(|owner| self.scene.contacts_of(*owner));
        let contacted = contacts.flat_map(|(contact, _)| &contact.names);
        let told = self.members.iter().filter_map(|d| d.finding.destination.as_ref());
        let told = told.flat_map(|destination| &destination.names);
        let names: BTreeSet<&str> =
            told.chain(contacted).map(|name| name.name.as_str()).take(MAX_NAMES).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// The calls that made an image.
    fn making(&self, owner: Owner, found: &mut Found) {
        let Some(maker) = self.scene.maker(owner) else { return };
        let client = Endpoint::new(maker.client, maker.client_port);
        found.called(client, maker.daemon, maker.ended);
        match maker.source {
            Source::Build(held) => held.value.calls.iter().for_each(|id| self.call(*id, found)),
            Source::Creation(held) => self.call(held.value.call, found),
        }
    }

    /// What was done with containers.
    fn lives(&self, found: &mut Found) {
        let own = self.owners.iter().filter_map(|owner| match owner {
            Owner::Life(index) => Some(*index),
            Owner::Maker(_) => None,
        });
        let clients = self.clients.iter().filter_map(|c| self.scene.lives_by_client.get(c));
        let made = clients.flatten().copied().filter(|index| {
            let built_by = self.scene.lives.get(*index).and_then(|life| life.built_by);
            built_by.is_some_and(|maker| self.owners.contains(&Owner::Maker(maker)))
        });
        for life in own.chain(made).filter_map(|index| self.scene.lives.get(index)) {
            for held in &life.events {
                let event = &held.value;
                let client = Endpoint::new(event.client, event.client_port);
                found.called(client, event.daemon, event.ended);
            }
        }
    }

    /// Images that its makers pulled or pushed, or its callers asked for.
    fn transfers(&self, span: (Timestamp, Timestamp), found: &mut Found) {
        let host = self.members.first().map(|d| d.host);
        let here = self.scene.transfers.iter().filter(|t| t.host.is_some() && t.host == host);
        for transfer in here {
            let action = &transfer.action;
            let asked = action.client.is_some_and(|client| self.clients.contains(&client))
                && self.is_near(action.started, span);
            let made = transfer.made_by.is_some_and(|i| self.owners.contains(&Owner::Maker(i)));
            if asked || made || transfer.owners.iter().any(|owner| self.owners.contains(owner)) {
                action.flows.iter().for_each(|flow| self.flow(*flow, found));
            }
        }
    }

    /// What its callers asked of its host meanwhile.
    fn calls(&self, span: (Timestamp, Timestamp), found: &mut Found) {
        let host = self.members.first().map(|d| d.host);
        let calls = self.clients.iter().filter_map(|client| self.scene.calls_by_client.get(client));
        for held in calls.flatten().filter(|held| self.is_near(held.value.started, span)) {
            let daemon = held.value.daemon.ip;
            let of = self.scene.hosts.find(self.scene.environments, held.environment, daemon);
            if of == host {
                let call = &held.value;
                found.called(call.client, call.daemon, call.ended);
            }
        }
    }

    fn is_near(&self, at: Timestamp, (started, ended): (Timestamp, Timestamp)) -> bool {
        let slack = self.scene.policy.deploy_window;
        at >= started.minus(slack) && at <= ended.plus(slack)
    }

    fn call(&self, id: CallId, found: &mut Found) {
        if let Some(held) = self.scene.ledger.calls.get(&id) {
            let call = &held.value;
            found.called(call.client, call.daemon, call.ended);
        }
    }

    fn flow(&self, flow: FlowId, found: &mut Found) {
        if let Some(connection) = self.scene.ledger.connection_of(flow) {
            found.add(connection.into());
        }
    }
}

impl Found {
    fn add(&mut self, conversation: Conversation) {
        let Conversation { ends: (low, high), protocol, first, last } = conversation;
        let room = self.0.len() < MAX_CONVERSATIONS;
        let key = (low, high, protocol);
        if let Some((from, to)) = self.0.get_mut(&key) {
            (*from, *to) = ((*from).min(first), (*to).max(last));
        } else if room {
            self.0.insert(key, (first, last));
        }
    }

    /// When a call's connection began is not told; keys and credentials are at its begin.
    fn called(&mut self, client: Endpoint, daemon: Endpoint, ended: Timestamp) {
        self.add(Conversation::between(client, daemon, Protocol::TCP, (UNKNOWN, ended)));
    }

    fn sorted(self) -> Vec<Conversation> {
        let mut conversations: Vec<Conversation> = self
            .0
            .into_iter()
            .map(|((low, high, protocol), span)| Conversation::between(low, high, protocol, span))
            .collect();
        conversations.sort_unstable_by_key(|c| (c.first, *c));
        conversations
    }
}
