//! What the ledger keeps of traffic: connections, exchanges on them, and names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use tw_model::{
    Connection, Evidence, FlowId, HttpExchange, NameAnswer, NameOrigin, NetworkTag, Protocol,
    Timestamp, TlsHello, Transport, Via,
};

use super::recent::{Named, Told};
use super::{Held, Inquiry, Ledger, stretch, upsert};
use crate::Key;
use crate::destination::{has_carried, is_service};
use crate::environment::{EnvironmentId, Environments};
use crate::freshness::{Level, level};
use crate::host::{HostAddress, HostMap, is_unicast};
use crate::names::{NameRecord, Standing, host_of, names_of, normalised, tenant_of};
use crate::policy::Policy;
use crate::shape::builds_in_records;
use crate::sighting::{Exchange, Requested, Sighting};

impl Ledger {
    /// Of a connection that nobody asks for nothing is read but its link-layer addresses.
    pub(super) fn connection_told(
        &mut self,
        c: Connection,
        evidence: Vec<Evidence>,
        policy: &Policy,
        inquiry: &mut Inquiry<'_>,
    ) {
        self.links.insert(&c, &policy.limits, &mut self.counters);
        if !has_carried(&c) || self.is_of_no_use(&c) {
            return;
        }
        if c.via == Via::Netflow && policy.docker_ports.contains(&c.responder.port) {
            let environment = environment_of_daemon(&c, inquiry);
            self.records_of_api(&c, &evidence, environment, policy, inquiry);
        }
        if self.is_read_at_once(c.id) {
            self.connection(c, &evidence, inquiry);
        } else if let Some(told) = self.recent.told(c.id) {
            told.update(c, evidence);
        }
    }

    pub(super) fn exchange_told(
        &mut self,
        mut x: Box<HttpExchange>,
        evidence: Vec<Evidence>,
        policy: &Policy,
        inquiry: &mut Inquiry<'_>,
    ) {
        if self.is_read_at_once(x.flow) {
            self.exchange(&x, &evidence, policy, inquiry);
            return;
        }
        // Not looked at here, and there are many of them.
        (x.user_agent, x.location, x.host_field) = (None, None, None);
        if let Some(told) = self.recent.told(x.flow)
            && !told.exchange(x, evidence, policy.limits.exchanges_per_connection)
        {
            self.counters.exchanges_lost += 1;
        }
    }

    pub(super) fn hello_told(&mut self, hello: TlsHello, at: Timestamp, inquiry: &mut Inquiry<'_>) {
        let Some(named) = Named::of(&hello, at) else { return };
        if self.is_read_at_once(hello.flow) {
            self.hello(hello.flow, &named, inquiry);
        } else if let Some(told) = self.recent.told(hello.flow)
            && told.hello.is_none()
        {
            told.hello = Some(Box::new(named));
        }
    }

    /// What a resolver answers and what an exporter exports is no download, and there is much of it. What
    /// DNS says comes apart from the conversation that says it.
    fn is_of_no_use(&self, c: &Connection) -> bool {
        let stays_so = c.ended || c.protocol == Protocol::UDP && c.app.is_some();
        stays_so && is_service(c) && !self.recent.has(c.id) && !self.is_read_at_once(c.id)
    }

    fn is_read_at_once(&self, flow: FlowId) -> bool {
        self.asks_at_once || self.held.contains_key(&flow) || self.late.contains_key(&flow)
    }

    /// Reads what was told of a connection, which matters after all.
    fn promote(&mut self, told: Told, policy: &Policy, inquiry: &mut Inquiry<'_>) {
        let Told { flow, connection, evidence, hello, exchanges } = told;
        if let Some(c) = connection {
            self.connection(c, &evidence, inquiry);
        }
        if let Some(named) = hello {
            self.hello(flow, &named, inquiry);
        }
        for (exchange, evidence) in exchanges {
            self.exchange(&exchange, &evidence, policy, inquiry);
        }
    }

    /// Connections matter that a docker host opened or took, and those that tell what is at a place
    /// where docker hosts may go.
    pub(super) fn promote_what_matters(&mut self, policy: &Policy, inquiry: &mut Inquiry<'_>) {
        let environments = inquiry.environments;
        let hosts = HostMap::new(&self.daemons, &self.links, environments);
        let is_host = |ip: IpAddr, c: &Connection| {
            let ip = ip.to_canonical();
            hosts.may_have(ip) || environments.alias(environments.id_of(ip, c.tag), ip).is_some()
        };
        let matters = |told: &Told| {
            let ends = |c: &Connection| is_host(c.opener.ip, c) || is_host(c.responder.ip, c);
            told.connection.as_ref().is_some_and(ends) || told.tells_of_its_place()
        };
        for told in self.recent.take(matters) {
            self.promote(told, policy, inquiry);
        }
    }

    fn connection(&mut self, c: Connection, evidence: &[Evidence], inquiry: &mut Inquiry<'_>) {
        let (environment, host) = self.judged_for(c.opener.ip, c.tag, inquiry.environments);
        let sighting = sighting(&mut self.held, &mut self.late, c.id);
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
            self.build(build, evidence, policy, inquiry);
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

    fn exchange(
        &mut self,
        x: &HttpExchange,
        evidence: &[Evidence],
        policy: &Policy,
        inquiry: &mut Inquiry<'_>,
    ) {
        let known = self.held.get(&x.flow);
        let tag = known.and_then(|s| s.connection.as_ref()).map(|c| c.tag).unwrap_or_default();
        let (environment, host) = self.judged_for(x.client.ip, tag, inquiry.environments);
        let sighting = sighting(&mut self.held, &mut self.late, x.flow);
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
        let names: Arc<[String]> = names_of(answer).into();
        if names.is_empty() {
            return;
        }
        let client = answer.client.ip.to_canonical();
        if !answer.addresses.is_empty() {
            self.names.note(inquiry.environments.id_of(client, answer.tag), at);
        }
        for ip in answer.addresses.iter().take(MAX_ADDRESSES) {
            let record = NameRecord::new(client, answer.tag, at, Arc::clone(&names));
            self.names.insert(ip.to_canonical(), record, &policy.limits, &mut self.counters);
        }
        if self.asks_at_once {
            let addresses = answer.addresses.iter().take(MAX_ADDRESSES);
            self.settle_names_of(addresses.map(IpAddr::to_canonical).collect(), inquiry);
        }
    }

    /// Asks how the names stood that DNS gave the responders of connections that matter.
    pub(super) fn settle_names(&mut self, inquiry: &mut Inquiry<'_>) {
        let connections = self.held.values().filter_map(|sighting| sighting.connection.as_ref());
        self.settle_names_of(connections.map(|c| c.responder.ip.to_canonical()).collect(), inquiry);
    }

    fn settle_names_of(&mut self, addresses: BTreeSet<IpAddr>, inquiry: &mut Inquiry<'_>) {
        let mut names = std::mem::take(&mut self.names);
        let mut settled = Vec::new();
        for ip in addresses {
            for record in names.unsettled(ip) {
                let (environment, client) =
                    self.judged_for(record.client, record.tag, inquiry.environments);
                let Some(asked) = record.names.first() else { continue };
                let name = inquiry.ask(environment, client, Key::Name(asked), record.at);
                let mapping =
                    inquiry.ask(environment, client, Key::NameAddress(asked, ip), record.at);
                record.standing = Some(Box::new(Standing { environment, client, name, mapping }));
                settled.push((environment, record.at));
            }
        }
        // A container's answers are of its host's environment.
        settled.into_iter().for_each(|(environment, at)| names.note(environment, at));
        self.names = names;
    }

    fn hello(&mut self, flow: FlowId, named: &Named, inquiry: &mut Inquiry<'_>) {
        let Named { client, server, ref name, at } = *named;
        let known = self.held.get(&flow);
        let tag = known.and_then(|s| s.connection.as_ref()).map(|c| c.tag).unwrap_or_default();
        let (environment, host) = self.judged_for(client, tag, inquiry.environments);
        let sighting = sighting(&mut self.held, &mut self.late, flow);
        if sighting.sni.is_none() {
            let name = String::from(&**name);
            let asked = inquiry.name(environment, host, name, NameOrigin::Sni, server, at);
            sighting.sni = Some(Box::new(asked));
        }
    }

    /// Keeps the table of recent connections within its limit: what lies in a window of its docker
    /// host matters, the rest is forgotten, oldest first.
    pub(super) fn forget(&mut self, policy: &Policy, inquiry: &mut Inquiry<'_>) {
        while self.recent.len() > policy.limits.recent_connections {
            let Some(told) = self.recent.pop_oldest() else { return };
            let Some(told) = self.keep_inbound(told, policy, inquiry) else { continue };
            if !told.connection.as_ref().is_some_and(|c| self.is_in_a_window(c)) {
                self.keep_late(told, policy, inquiry);
            } else if self.held.len() < policy.limits.held_connections {
                self.promote(told, policy, inquiry);
            } else {
                self.counters.connections_lost += 1;
            }
        }
        while self.late.len() > policy.limits.late_connections {
            self.late.pop_first();
            self.counters.late_lost += 1;
        }
        if !self.asks_at_once {
            return;
        }
        let limits = &policy.limits;
        while self.held.len() > limits.recent_connections.saturating_add(limits.held_connections) {
            let Some((_, sighting)) = self.held.pop_first() else { return };
            if sighting.connection.is_some_and(|c| self.is_in_a_window(&c)) {
                self.counters.connections_lost += 1;
            } else {
                self.counters.connections_forgotten += 1;
            }
        }
    }

    /// Keeps what flow records tell of a connection outside every window that a later record may open,
    /// or forgets it.
    fn keep_late(&mut self, told: Told, policy: &Policy, inquiry: &mut Inquiry<'_>) {
        let flow = told.flow;
        if told.connection.as_ref().is_some_and(|c| c.via == Via::Netflow) {
            self.promote(told, policy, inquiry);
            let Some(sighting) = self.held.remove(&flow) else { return };
            if is_worth_waiting_for(&sighting, inquiry.environments) {
                self.late.insert(flow, sighting);
                return;
            }
        }
        self.counters.connections_forgotten += 1;
    }

    /// Keeps a connection to a daemon's host apart, so that a flood of them pushes no download out;
    /// gives back what is none.
    fn keep_inbound(
        &mut self,
        told: Told,
        policy: &Policy,
        inquiry: &mut Inquiry<'_>,
    ) -> Option<Told> {
        let inbound = |c: &&Connection| {
            let (from, to) = (c.opener.ip.to_canonical(), c.responder.ip.to_canonical());
            self.daemon_ips.contains(&to) && !self.daemon_ips.contains(&from)
        };
        let Some(c) = told.connection.as_ref().filter(inbound) else { return Some(told) };
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
            let flow = told.flow;
            self.promote(told, policy, inquiry);
            self.inbound.extend(self.held.remove(&flow).map(|sighting| (flow, sighting)));
        } else {
            self.counters.inbound_lost += 1;
        }
        None
    }

    fn is_in_a_window(&self, c: &Connection) -> bool {
        let opener = c.opener.ip.to_canonical();
        let stretch = stretch(c.first);
        let is_watched = |ip: &IpAddr| self.watched.contains(&(*ip, stretch));
        is_watched(&opener) || self.links.tied_to(opener).iter().any(is_watched)
    }
}

fn environment_of_daemon(c: &Connection, inquiry: &Inquiry<'_>) -> EnvironmentId {
    inquiry.environments.id_of(c.responder.ip.to_canonical(), c.tag)
}

type Table = BTreeMap<FlowId, Box<Sighting>>;

/// The connection where it stands, or a new one among those that matter.
fn sighting<'a>(held: &'a mut Table, late: &'a mut Table, id: FlowId) -> &'a mut Sighting {
    match late.get_mut(&id) {
        Some(sighting) => sighting,
        None => held.entry(id).or_default(),
    }
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
