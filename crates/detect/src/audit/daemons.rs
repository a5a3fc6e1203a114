//! Daemons and their callers, folded from calls, handshakes and flow records.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tw_model::{
    ApiCall, CallId, ClientAuth, ClientCertificate, Connection, ConnectionState, Endpoint,
    Evidence, FlowId, NetworkTag, Protocol, Timestamp, TlsHello,
};

use super::AuditLimits;
use super::inventory::{
    Attempts, AuditCounters, CallerUse, Certificates, Daemon, KnownBy, TransportUse,
};
use super::operation::Operations;
use crate::draft::merge_evidence;
use crate::environment::{EnvironmentId, Environments};

/// A daemon in its environment.
type Key = (EnvironmentId, Endpoint);

/// Folds what is told of daemons.
#[derive(Debug)]
pub(super) struct Daemons {
    environments: Environments,
    docker_ports: Vec<u16>,
    limits: AuditLimits,
    list: BTreeMap<Key, Folded>,
    /// Calls that may be told again.
    calls: BTreeMap<CallId, (ApiCall, Evidence)>,
    /// Calls that were counted before their end.
    counted: BTreeSet<CallId>,
    handshakes: BTreeMap<FlowId, Handshake>,
    /// Conversations in flow records: the last word on each.
    recorded: BTreeMap<FlowId, (Connection, Evidence)>,
    attempts: BTreeMap<Key, BTreeMap<IpAddr, u64>>,
    counters: AuditCounters,
}

/// One daemon while it is being counted.
#[derive(Debug)]
struct Folded {
    daemon: Daemon,
    callers: BTreeMap<IpAddr, CallerUse>,
    lost: BTreeSet<IpAddr>,
}

/// One TLS connection.
#[derive(Debug)]
struct Handshake {
    ends: Option<(Endpoint, Endpoint)>,
    tag: NetworkTag,
    version: Option<String>,
    ja4: Option<String>,
    certificate: Option<ClientCertificate>,
    at: Timestamp,
    evidence: Option<Evidence>,
}

impl Daemons {
    pub(super) fn new(
        environments: Environments,
        docker_ports: Vec<u16>,
        limits: AuditLimits,
    ) -> Self {
        Self {
            environments,
            docker_ports,
            limits,
            list: BTreeMap::new(),
            calls: BTreeMap::new(),
            counted: BTreeSet::new(),
            handshakes: BTreeMap::new(),
            recorded: BTreeMap::new(),
            attempts: BTreeMap::new(),
            counters: AuditCounters::default(),
        }
    }

    /// A call counts where it is certain, or where a Docker API is expected on that port.
    pub(super) fn call(&mut self, call: &ApiCall, evidence: &[Evidence]) {
        let Some(first) = evidence.first() else { return };
        let counts = call.certain || self.is_docker(call.daemon);
        if self.counted.contains(&call.id) {
            return;
        }
        if !counts {
            // It proved to be none.
            self.calls.remove(&call.id);
            return;
        }
        self.calls.insert(call.id, (call.clone(), *first));
        if self.calls.len() > self.limits.open
            && let Some((id, (call, evidence))) = self.calls.pop_first()
        {
            if !call.complete {
                self.counted.insert(id);
                if self.counted.len() > self.limits.open {
                    self.counted.pop_first();
                }
            }
            self.count(&call, evidence);
        }
    }

    pub(super) fn hello(&mut self, hello: &TlsHello, at: Timestamp, evidence: &[Evidence]) {
        if hello.quic || !self.is_docker(hello.server) {
            return;
        }
        let handshake = self.handshake(hello.flow, at);
        handshake.ends = Some((hello.client, hello.server));
        handshake.version.clone_from(&hello.version);
        handshake.ja4.clone_from(&hello.ja4);
        handshake.evidence = evidence.first().copied();
        self.bound_handshakes();
    }

    pub(super) fn client_auth(&mut self, auth: &ClientAuth) {
        let handshake = self.handshake(auth.flow, Timestamp::EPOCH);
        handshake.certificate = Some(auth.certificate);
        handshake.tag = auth.tag;
        self.bound_handshakes();
    }

    /// Which network a TLS connection is on; and attempts that came to nothing.
    pub(super) fn connection(&mut self, c: &Connection) {
        if let Some(handshake) = self.handshakes.get_mut(&c.id) {
            handshake.tag = c.tag;
        }
        let in_vain = matches!(c.state, ConnectionState::Attempted | ConnectionState::Refused);
        if in_vain && c.ended && c.protocol == Protocol::TCP && self.is_docker(c.responder) {
            let key = self.key(c.responder, c.tag);
            let room = self.attempts.len() < self.limits.daemons.saturating_mul(4);
            if !room && !self.attempts.contains_key(&key) {
                return;
            }
            let from = self.attempts.entry(key).or_default();
            let ip = c.opener.ip.to_canonical();
            if from.len() < self.limits.callers_per_daemon || from.contains_key(&ip) {
                let count = from.entry(ip).or_default();
                *count = count.saturating_add(1);
            }
        }
    }

    /// A conversation that flow records tell of.
    pub(super) fn recorded(&mut self, c: &Connection, evidence: &[Evidence]) {
        let Some(first) = evidence.first() else { return };
        let spoke = c.protocol == Protocol::TCP && !c.one_direction();
        if !spoke || !self.is_docker(c.responder) {
            return;
        }
        self.recorded.insert(c.id, (c.clone(), *first));
        if self.recorded.len() > self.limits.open
            && let Some((_, (c, evidence))) = self.recorded.pop_first()
        {
            self.count_recorded(&c, evidence);
        }
    }

    pub(super) fn finish(mut self) -> (Vec<Daemon>, AuditCounters) {
        for (_, (call, evidence)) in std::mem::take(&mut self.calls) {
            self.count(&call, evidence);
        }
        for (_, handshake) in std::mem::take(&mut self.handshakes) {
            self.count_handshake(handshake);
        }
        for (_, (c, evidence)) in std::mem::take(&mut self.recorded) {
            self.count_recorded(&c, evidence);
        }
        let Self { list, attempts, environments, counters, .. } = self;
        let daemons = list.into_iter().map(|(key, folded)| {
            let Folded { mut daemon, callers, lost } = folded;
            if let Some(from) = attempts.get(&key) {
                let addresses = u64::try_from(from.len()).unwrap_or(u64::MAX);
                let count = from.values().fold(0u64, |sum, n| sum.saturating_add(*n));
                daemon.attempts = Attempts { count, addresses };
            }
            daemon.callers = callers.into_values().collect();
            daemon.callers_not_listed = u64::try_from(lost.len()).unwrap_or(u64::MAX);
            daemon
        });
        let mut daemons: Vec<Daemon> = daemons.collect();
        daemons.sort_by(|a, b| (&a.environment, a.daemon).cmp(&(&b.environment, b.daemon)));
        drop(environments);
        (daemons, counters)
    }

    fn is_docker(&self, endpoint: Endpoint) -> bool {
        self.docker_ports.contains(&endpoint.port)
    }

    fn key(&self, daemon: Endpoint, tag: NetworkTag) -> Key {
        let ip = daemon.ip.to_canonical();
        (self.environments.id_of(ip, tag), Endpoint::new(ip, daemon.port))
    }

    fn handshake(&mut self, flow: FlowId, at: Timestamp) -> &mut Handshake {
        let handshake = self.handshakes.entry(flow).or_insert_with(|| Handshake {
            ends: None,
            tag: NetworkTag::default(),
            version: None,
            ja4: None,
            certificate: None,
            at,
            evidence: None,
        });
        handshake.at = handshake.at.max(at);
        handshake
    }

    fn bound_handshakes(&mut self) {
        if self.handshakes.len() > self.limits.open
            && let Some((_, handshake)) = self.handshakes.pop_first()
        {
            self.count_handshake(handshake);
        }
    }

    fn count(&mut self, call: &ApiCall, evidence: Evidence) {
        let key = self.key(call.daemon, call.tag);
        let (from, to) = (call.started, call.ended);
        let Some((daemon, caller)) = self.of(key, call.client.ip, (from, to), evidence) else {
            return;
        };
        let answered = call.status.is_some();
        daemon.known_by =
            daemon.known_by.max(if answered { KnownBy::Answers } else { KnownBy::Requests });
        if let Some(software) = &call.software {
            note(&mut daemon.servers, software.server.as_ref());
            note(&mut daemon.versions, software.version.as_ref());
            note(&mut daemon.api_versions, software.api_version.as_ref());
        }
        daemon.operations.count(call);
        let served = call.status.is_some_and(|s| s == 101 || (200..300).contains(&s));
        let transport = &mut daemon.transport;
        add(&mut transport.clear_calls, !call.tls);
        add(&mut transport.open_calls, !call.tls && served && !call.credentials);
        add(&mut transport.tls_calls, call.tls);
        let Some(caller) = caller else { return };
        note(&mut caller.user_agents, call.user_agent.as_ref());
        caller.operations.count(call);
        add(&mut caller.clear_calls, !call.tls);
        add(&mut caller.tls_calls, call.tls);
        add(&mut caller.calls_with_credentials, call.credentials);
    }

    /// A handshake that the server answered, with a daemon or where one is expected.
    fn count_handshake(&mut self, handshake: Handshake) {
        let (Some((client, server)), Some(evidence)) = (handshake.ends, handshake.evidence) else {
            return;
        };
        let Some(version) = handshake.version else { return };
        let key = self.key(server, handshake.tag);
        let at = (handshake.at, handshake.at);
        let Some((daemon, caller)) = self.of(key, client.ip, at, evidence) else {
            self.counters.handshakes_lost = self.counters.handshakes_lost.saturating_add(1);
            return;
        };
        daemon.known_by = daemon.known_by.max(KnownBy::TlsPort);
        add(&mut daemon.transport.tls_connections, true);
        note(&mut daemon.transport.tls_versions, Some(&version));
        count_certificate(&mut daemon.client_certificates, handshake.certificate);
        let Some(caller) = caller else { return };
        add(&mut caller.tls_connections, true);
        note(&mut caller.ja4, handshake.ja4.as_ref());
        count_certificate(&mut caller.client_certificates, handshake.certificate);
    }

    fn count_recorded(&mut self, c: &Connection, evidence: Evidence) {
        let key = self.key(c.responder, c.tag);
        let Some((daemon, caller)) = self.of(key, c.opener.ip, (c.first, c.last), evidence) else {
            return;
        };
        add(&mut daemon.transport.recorded_conversations, true);
        if let Some(caller) = caller {
            add(&mut caller.recorded_conversations, true);
        }
    }

    /// The daemon and the caller, or that it is listed no more.
    fn of(
        &mut self,
        key: Key,
        client: IpAddr,
        (from, to): (Timestamp, Timestamp),
        evidence: Evidence,
    ) -> Option<(&mut Daemon, Option<&mut CallerUse>)> {
        let (environment, endpoint) = key;
        if !self.list.contains_key(&key) && self.list.len() >= self.limits.daemons {
            self.counters.daemons_lost = self.counters.daemons_lost.saturating_add(1);
            return None;
        }
        let environments = &self.environments;
        let Folded { daemon, callers, lost } = self.list.entry(key).or_insert_with(|| {
            let daemon = blank(environments.name(environment).to_owned(), endpoint, from);
            Folded { daemon, callers: BTreeMap::new(), lost: BTreeSet::new() }
        });
        widen(&mut daemon.first, &mut daemon.last, (from, to));
        note_place(&mut daemon.evidence, evidence);
        let client = client.to_canonical();
        if !callers.contains_key(&client) && callers.len() >= self.limits.callers_per_daemon {
            self.counters.callers_lost = self.counters.callers_lost.saturating_add(1);
            if lost.len() < MAX_LOST {
                lost.insert(client);
            }
            return Some((daemon, None));
        }
        let caller = callers.entry(client).or_insert_with(|| {
            let network = environments.network_of(environment, client);
            blank_caller(client, network.map(|network| network.to_string()), from)
        });
        widen(&mut caller.first, &mut caller.last, (from, to));
        note_place(&mut caller.evidence, evidence);
        Some((daemon, Some(caller)))
    }
}

fn blank(environment: String, daemon: Endpoint, at: Timestamp) -> Daemon {
    Daemon {
        environment,
        daemon,
        known_by: KnownBy::FlowRecords,
        servers: BTreeSet::new(),
        versions: BTreeSet::new(),
        api_versions: BTreeSet::new(),
        transport: TransportUse::default(),
        client_certificates: Certificates::default(),
        callers: Vec::new(),
        callers_not_listed: 0,
        operations: Operations::default(),
        attempts: Attempts::default(),
        first: at,
        last: at,
        mitigations: Vec::new(),
        evidence: Vec::new(),
    }
}

fn blank_caller(ip: IpAddr, network: Option<String>, at: Timestamp) -> CallerUse {
    CallerUse {
        ip,
        outside: network.is_none(),
        network,
        user_agents: BTreeSet::new(),
        ja4: BTreeSet::new(),
        operations: Operations::default(),
        clear_calls: 0,
        calls_with_credentials: 0,
        tls_calls: 0,
        tls_connections: 0,
        client_certificates: Certificates::default(),
        recorded_conversations: 0,
        first: at,
        last: at,
        evidence: Vec::new(),
    }
}

fn count_certificate(counts: &mut Certificates, shown: Option<ClientCertificate>) {
    let slot = match shown {
        Some(ClientCertificate::Given) => &mut counts.given,
        Some(ClientCertificate::Withheld) => &mut counts.withheld,
        Some(ClientCertificate::Asked) => &mut counts.asked,
        Some(ClientCertificate::NotAsked) => &mut counts.not_asked,
        None => &mut counts.unknown,
    };
    add(slot, true);
}

const fn add(count: &mut u64, one: bool) {
    if one {
        *count = count.saturating_add(1);
    }
}

fn widen(first: &mut Timestamp, last: &mut Timestamp, (from, to): (Timestamp, Timestamp)) {
    *first = (*first).min(from);
    *last = (*last).max(to);
}

fn note(set: &mut BTreeSet<String>, text: Option<&String>) {
    if let Some(text) = text
        && set.len() < MAX_WORDS
        && !set.contains(text)
    {
        set.insert(text.clone());
    }
}

/// The first few places.
fn note_place(list: &mut Vec<Evidence>, evidence: Evidence) {
    let earlier = list.last().is_none_or(|last| evidence.timestamp < last.timestamp);
    if list.len() < MAX_PLACES || earlier {
        merge_evidence(list, &[evidence]);
        list.truncate(MAX_PLACES);
    }
}

const MAX_WORDS: usize = 16;
const MAX_PLACES: usize = 4;
const MAX_LOST: usize = 65_536;
