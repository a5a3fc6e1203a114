//! What the ledger keeps of traffic: connections, exchanges on them, and names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tw_model::{
    Connection, Evidence, FlowId, HttpExchange, NameAnswer, NameOrigin, NetworkTag, Protocol,
    Timestamp, TlsHello, Transport, Via,
};

use super::{Held, Inquiry, Ledger, stretch, upsert};
use crate::Key;
use crate::destination::has_carried;
use crate::environment::{EnvironmentId, Environments};
use crate::freshness::{Level, level};
use crate::host::{HostAddress, is_unicast};
use crate::names::{NameRecord, host_of, names_of, normalised, tenant_of};
use crate::policy::Policy;
use crate::shape::builds_in_records;
use crate::sighting::{Exchange, Requested, Sighting};

impl Ledger {
    pub(super) fn connection(
        &mut self,
        c: &Connection,
        evidence: &[Evidence],
        policy: &Policy,
        inquiry: &mut Inquiry<'_>,
    ) {
        self.links.insert(c, &policy.limits, &mut self.counters);
        if !has_carried(c) {
            return;
        }
        let (environment, host) = self.judged_for(c.opener.ip, c.tag, inquiry.environments);
        let sighting = sighting([&mut self.recent, &mut self.held, &mut self.late], c.id);
        sighting.environment = Some(environment);
        let other = |known: &Connection| known.responder.ip != c.responder.ip;
        let turned = sighting.connection.as_ref().is_some_and(other);
        if (sighting.address.is_none() || turned) && is_unicast(c.responder.ip) {
            let key = Key::Address(c.responder.ip.to_canonical());
            sighting.address = Some(inquiry.ask(environment, host, key, c.first));
        }
        for given in c.names.iter().take(MAX_NAMES) {
            let Some(name) = normalised(&given.name) else { continue };
            if sighting.names.iter().any(|n| n.name == name && n.origin == given.from) {
                continue;
            }
            if sighting.names.len() < MAX_NAMES {
                let asked =
                    inquiry.name(environment, host, name, given.from, c.responder.ip, c.first);
                sighting.names.push(asked);
            }
        }
        if sighting.tunnel.is_none()
            && let Some((host_name, port)) = c.tunnel.as_ref().and_then(|(to, _)| host_of(to))
        {
            let key = match host_name.parse() {
                Ok(ip) => Key::Address(ip),
                Err(_) => Key::Name(&host_name),
            };
            let standing = inquiry.ask(environment, host, key, c.first);
            sighting.tunnel = Some(Requested { host: host_name, port, standing });
        }
        sighting.update(c, evidence);
        if c.via == Via::Netflow && policy.docker_ports.contains(&c.responder.port) {
            self.records_of_api(c, evidence, environment_of_daemon(c, inquiry), policy, inquiry);
        }
    }

    /// Keeps what records tell of a conversation with a Docker API: it may be, or be part of, a build.
    fn records_of_api(
        &mut self,
        c: &Connection,
        evidence: &[Evidence],
        environment: EnvironmentId,
        policy: &Policy,
        inquiry: &mut Inquiry<'_>,
    ) {
        if c.protocol != Protocol::TCP || c.one_direction() {
            return;
        }
        self.caller((environment, c.opener.ip, c.responder.ip), c.first, policy, inquiry);
        self.watch(c.responder.ip, c.first, c.last.plus(policy.deploy_window));
        let held = Held { value: c.clone(), evidence: evidence.to_vec(), environment };
        let newer = |old: &Connection| (c.ended, c.last) >= (old.ended, old.last);
        self.counters.calls_lost +=
            upsert(&mut self.api_records, c.id, held, policy.limits.calls, newer);
    }

    /// Takes the builds that records show of conversations that nobody could read, in place of those that they showed before: what looked like
    /// one may have been a piece of something else.
    pub(super) fn infer_from_records(&mut self, policy: &Policy, inquiry: &mut Inquiry<'_>) {
        self.builds.retain(|_, held| held.value.transport != Transport::Flow);
        let read: BTreeSet<_> =
            self.calls.values().map(|held| (held.value.client, held.value.daemon)).collect();
        let unread = self
            .api_records
            .values()
            .filter(|held| !read.contains(&(held.value.opener, held.value.responder)));
        for (build, evidence) in builds_in_records(unread) {
            self.build(&build, &evidence, policy, inquiry);
        }
    }

    /// Environment and host that an address is judged for: those of the daemon that the link layer
    /// or the configuration ties it to, else its own.
    pub(super) fn judged_for(
        &self,
        ip: IpAddr,
        tag: NetworkTag,
        environments: &Environments,
    ) -> HostAddress {
        let ip = ip.to_canonical();
        let environment = environments.id_of(ip, tag);
        if self.daemons.contains(&(environment, ip)) {
            return (environment, ip);
        }
        if let Some(host) = environments.alias(environment, ip) {
            return (environment, host);
        }
        for other in self.links.tied_to(ip) {
            let address = (environments.id_of(other, tag), other);
            if self.daemons.contains(&address) {
                return address;
            }
        }
        (environment, ip)
    }

    pub(super) fn exchange(
        &mut self,
        x: &HttpExchange,
        evidence: &[Evidence],
        policy: &Policy,
        inquiry: &mut Inquiry<'_>,
    ) {
        let known = self.recent.get(&x.flow).or_else(|| self.held.get(&x.flow));
        let tag = known.and_then(|s| s.connection.as_ref()).map(|c| c.tag).unwrap_or_default();
        let (environment, host) = self.judged_for(x.client.ip, tag, inquiry.environments);
        let sighting = sighting([&mut self.recent, &mut self.held, &mut self.late], x.flow);
        if let Some(known) = sighting.exchanges.get_mut(&x.index) {
            known.update(Exchange::new(x, evidence));
            return;
        }
        if sighting.exchanges.len() >= policy.limits.exchanges_per_connection {
            self.counters.exchanges_lost += 1;
            return;
        }
        let mut exchange = Exchange::new(x, evidence);
        if let Some((authority, _)) = x.host.as_deref().and_then(host_of) {
            if let Ok(ip) = authority.parse::<IpAddr>() {
                let ip = ip.to_canonical();
                if exchange.proxied {
                    let standing = inquiry.ask(environment, host, Key::Address(ip), x.started);
                    exchange.address = Some((ip, standing));
                }
            } else {
                if self.multi_tenant.has(&authority) {
                    let tenant = tenant_of(&authority, &x.target);
                    exchange.tenant =
                        Some(inquiry.ask(environment, host, Key::Tenant(&tenant), x.started));
                }
                let ip = x.server.ip;
                exchange.name = Some(inquiry.name(
                    environment,
                    host,
                    authority,
                    NameOrigin::Http,
                    ip,
                    x.started,
                ));
            }
        }
        sighting.exchanges.insert(x.index, Box::new(exchange));
    }

    pub(super) fn name_answer(
        &mut self,
        answer: &NameAnswer,
        at: Timestamp,
        policy: &Policy,
        inquiry: &mut Inquiry<'_>,
    ) {
        let names = names_of(answer);
        let Some(asked) = names.first() else { return };
        let (environment, client) =
            self.judged_for(answer.client.ip, answer.tag, inquiry.environments);
        let name = inquiry.ask(environment, client, Key::Name(asked), at);
        for ip in answer.addresses.iter().take(MAX_ADDRESSES) {
            let ip = ip.to_canonical();
            let mapping = inquiry.ask(environment, client, Key::NameAddress(asked, ip), at);
            let record = NameRecord {
                environment,
                client,
                at,
                last: at,
                names: names.clone(),
                name: name.clone(),
                mapping,
            };
            self.names.insert(ip, record, &policy.limits, &mut self.counters);
        }
    }

    pub(super) fn hello(&mut self, hello: &TlsHello, at: Timestamp, inquiry: &mut Inquiry<'_>) {
        let Some(name) = hello.sni.as_deref().and_then(normalised) else { return };
        let known = self.recent.get(&hello.flow).or_else(|| self.held.get(&hello.flow));
        let tag = known.and_then(|s| s.connection.as_ref()).map(|c| c.tag).unwrap_or_default();
        let (environment, host) = self.judged_for(hello.client.ip, tag, inquiry.environments);
        let sighting = sighting([&mut self.recent, &mut self.held, &mut self.late], hello.flow);
        if sighting.sni.is_none() {
            let server = hello.server.ip;
            let asked = inquiry.name(environment, host, name, NameOrigin::Sni, server, at);
            sighting.sni = Some(Box::new(asked));
        }
    }

    /// Keeps the table of recent connections within its limit: what lies in a window of its docker
    /// host is held longer, the rest is forgotten, oldest first.
    pub(super) fn forget(&mut self, policy: &Policy, environments: &Environments) {
        while self.recent.len() > policy.limits.recent_connections {
            let Some((id, sighting)) = self.recent.pop_first() else { return };
            let Some(sighting) = self.keep_inbound(id, sighting, policy) else { continue };
            if !self.is_in_a_window(&sighting) {
                if is_worth_waiting_for(&sighting, environments) {
                    self.late.insert(id, sighting);
                } else {
                    self.counters.connections_forgotten += 1;
                }
            } else if self.held.len() < policy.limits.held_connections {
                self.held.insert(id, sighting);
            } else {
                self.counters.connections_lost += 1;
            }
        }
        while self.late.len() > policy.limits.late_connections {
            self.late.pop_first();
            self.counters.late_lost += 1;
        }
    }

    /// Keeps a connection to a daemon's host apart, so that a flood of them pushes no download out;
    /// gives back what is none.
    fn keep_inbound(
        &mut self,
        id: FlowId,
        sighting: Box<Sighting>,
        policy: &Policy,
    ) -> Option<Box<Sighting>> {
        let inbound = |c: &&Connection| {
            let (from, to) = (c.opener.ip.to_canonical(), c.responder.ip.to_canonical());
            self.daemon_ips.contains(&to) && !self.daemon_ips.contains(&from)
        };
        let Some(c) = sighting.connection.as_ref().filter(inbound) else { return Some(sighting) };
        let (to, first) = (c.responder.ip.to_canonical(), c.first);
        let limit = policy.limits.inbound_connections;
        let room = self.inbound_ports.len() < limit;
        match self.inbound_ports.get_mut(&(to, c.responder.port)) {
            Some((from, until)) => (*from, *until) = ((*from).min(first), (*until).max(first)),
            None if room => {
                self.inbound_ports.insert((to, c.responder.port), (first, first));
            }
            None => self.counters.inbound_lost += 1,
        }
        if !self.watched.contains(&(to, stretch(first))) {
            self.counters.connections_forgotten += 1;
        } else if self.inbound.len() < limit {
            self.inbound.insert(id, sighting);
        } else {
            self.counters.inbound_lost += 1;
        }
        None
    }

    fn is_in_a_window(&self, sighting: &Sighting) -> bool {
        let Some(c) = sighting.connection.as_ref() else { return false };
        let opener = c.opener.ip.to_canonical();
        let tied = self.links.tied_to(opener);
        let stretch = stretch(c.first);
        std::iter::once(&opener).chain(&tied).any(|ip| self.watched.contains(&(*ip, stretch)))
    }
}

fn environment_of_daemon(c: &Connection, inquiry: &Inquiry<'_>) -> EnvironmentId {
    inquiry.environments.id_of(c.responder.ip.to_canonical(), c.tag)
}

type Table = BTreeMap<FlowId, Box<Sighting>>;

/// The connection where it stands, or a new one among the recent.
fn sighting([recent, held, late]: [&mut Table; 3], id: FlowId) -> &mut Sighting {
    if let Some(sighting) = held.get_mut(&id) {
        return sighting;
    }
    if let Some(sighting) = late.get_mut(&id) {
        return sighting;
    }
    recent.entry(id).or_default()
}

/// May a record that comes later make it a build's? Of packets nothing comes later, and what is known or
/// was opened from outside is no finding.
fn is_worth_waiting_for(sighting: &Sighting, environments: &Environments) -> bool {
    let Some(c) = sighting.connection.as_ref().filter(|c| c.via == Via::Netflow) else {
        return false;
    };
    let known = sighting.address.as_ref().is_some_and(|answer| level(answer) == Level::Known);
    let inside = sighting.environment.is_some_and(|id| environments.has(id, c.opener.ip));
    !known && inside
}

const MAX_NAMES: usize = 16;
const MAX_ADDRESSES: usize = 64;
