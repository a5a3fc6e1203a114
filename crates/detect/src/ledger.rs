//! Everything that the join needs to know, within limits: observations by identity, with the
//! store's answers as they were when each thing was first seen.

mod recent;
mod registry;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tw_model::{
    ApiCall, Build, BuildId, CallId, Connection, ContainerEvent, Evidence, FlowId, ImageCreation,
    NameOrigin, NetworkTag, Observation, ObservationBody, RegistryActionId, Timestamp,
};

use crate::environment::{EnvironmentId, Environments};
use crate::host::{HostAddress, LinkTable};
use crate::names::{HostList, NameTable, host_of};
use crate::policy::{Counters, Policy};
use crate::shape;
use crate::sighting::{Asked, Sighting};
use crate::{Answer, Key, Seen};

use recent::Recent;
pub(crate) use registry::{HeldAction, ImageAnswers};

/// A value with where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Held<T> {
    pub(crate) value: T,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) environment: EnvironmentId,
}

/// How a caller stood when it was first seen calling this daemon.
#[derive(Clone, Debug)]
pub(crate) struct CallerAnswers {
    pub(crate) caller: Answer,
    pub(crate) builder: Answer,
}

/// A host that a build names, and how it stood when the build was first seen.
#[derive(Clone, Debug)]
pub(crate) struct NamedHost {
    pub(crate) host: String,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) standing: Answer,
}

/// The pair that a caller's standing is kept for.
pub(crate) type CallerPair = (EnvironmentId, IpAddr, IpAddr);

/// All tables.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) calls: BTreeMap<CallId, Held<ApiCall>>,
    /// Conversations with a Docker API that flow records tell of.
    api_records: BTreeMap<FlowId, Held<Connection>>,
    pub(crate) builds: BTreeMap<BuildId, Held<Build>>,
    pub(crate) creations: BTreeMap<BuildId, Held<ImageCreation>>,
    pub(crate) containers: BTreeMap<CallId, Held<ContainerEvent>>,
    pub(crate) registry_actions: BTreeMap<RegistryActionId, HeldAction>,
    recent: Recent,
    /// Is the store asked at once, whatever matters?
    pub(crate) asks_at_once: bool,
    pub(crate) held: BTreeMap<FlowId, Box<Sighting>>,
    /// Of flow records, to what is not known.
    pub(crate) late: BTreeMap<FlowId, Box<Sighting>>,
    pub(crate) names: NameTable,
    pub(crate) links: LinkTable,
    pub(crate) callers: BTreeMap<CallerPair, CallerAnswers>,
    pub(crate) named_hosts: BTreeMap<BuildId, Vec<NamedHost>>,
    pub(crate) daemons: BTreeSet<HostAddress>,
    pub(crate) daemon_ports: BTreeSet<(EnvironmentId, IpAddr, u16)>,
    daemon_ips: BTreeSet<IpAddr>,
    /// Connections to daemons' hosts inside a window, kept beyond the recent ones.
    inbound: BTreeMap<FlowId, Box<Sighting>>,
    /// When the ports of daemons' hosts were used first and last, by connections that are forgotten.
    pub(crate) inbound_ports: BTreeMap<(IpAddr, u16), (Timestamp, Timestamp)>,
    /// Stretches of time in which a daemon address had a window; to know what not to forget.
    watched: BTreeSet<(IpAddr, i64)>,
    multi_tenant: HostList,
    pub(crate) counters: Counters,
}

/// The store, asked and counted.
struct Inquiry<'a> {
    seen: &'a mut dyn Seen,
    environments: &'a Environments,
    count: u64,
}

impl Inquiry<'_> {
    fn ask(
        &mut self,
        environment: EnvironmentId,
        host: IpAddr,
        key: Key<'_>,
        at: Timestamp,
    ) -> Answer {
        self.count += 1;
        self.seen.ask(self.environments.name(environment), host, key, at)
    }

    fn name(
        &mut self,
        environment: EnvironmentId,
        host: IpAddr,
        name: String,
        origin: NameOrigin,
        ip: IpAddr,
        at: Timestamp,
    ) -> Asked {
        let standing = self.ask(environment, host, Key::Name(&name), at);
        let mapping = self.ask(environment, host, Key::NameAddress(&name, ip), at);
        Asked { name, origin, standing, mapping }
    }
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            calls: BTreeMap::new(),
            api_records: BTreeMap::new(),
            builds: BTreeMap::new(),
            creations: BTreeMap::new(),
            containers: BTreeMap::new(),
            registry_actions: BTreeMap::new(),
            recent: Recent::default(),
            asks_at_once: false,
            held: BTreeMap::new(),
            late: BTreeMap::new(),
            names: NameTable::default(),
            links: LinkTable::default(),
            callers: BTreeMap::new(),
            named_hosts: BTreeMap::new(),
            daemons: BTreeSet::new(),
            daemon_ports: BTreeSet::new(),
            daemon_ips: BTreeSet::new(),
            inbound: BTreeMap::new(),
            inbound_ports: BTreeMap::new(),
            watched: BTreeSet::new(),
            multi_tenant: HostList::multi_tenant(),
            counters: Counters::default(),
        }
    }

    /// The connection of that identity, if it matters.
    pub(crate) fn connection_of(&self, flow: FlowId) -> Option<&Connection> {
        self.held.get(&flow).or_else(|| self.late.get(&flow))?.connection.as_ref()
    }

    /// All connections that matter.
    pub(crate) fn sightings(&self) -> impl Iterator<Item = (&FlowId, &Sighting)> {
        self.held.iter().chain(&self.late).map(|(id, sighting)| (id, &**sighting))
    }

    /// What is remembered of connections to docker hosts, and of others.
    pub(crate) fn inbound(&self) -> impl Iterator<Item = &Sighting> {
        let kept = self.inbound.values().map(|sighting| &**sighting);
        kept.chain(self.sightings().map(|(_, sighting)| sighting))
    }

    pub(crate) fn push(
        &mut self,
        observation: Observation,
        policy: &Policy,
        environments: &Environments,
        seen: &mut dyn Seen,
    ) {
        self.counters.observations += 1;
        let mut inquiry = Inquiry { seen, environments, count: 0 };
        let Observation { at, evidence, body } = observation;
        match body {
            ObservationBody::ApiCall(call) => self.api_call(call, evidence, policy, &mut inquiry),
            ObservationBody::Build(build) => self.build(*build, evidence, policy, &mut inquiry),
            ObservationBody::ImageCreation(creation) => {
                self.creation(*creation, evidence, policy, &mut inquiry);
            }
            ObservationBody::Container(event) => {
                self.container(*event, evidence, policy, &mut inquiry);
            }
            ObservationBody::Registry(action) => {
                self.registry(*action, evidence, policy, &mut inquiry);
            }
            ObservationBody::Connection(c) => {
                self.connection_told(c, evidence, policy, &mut inquiry);
            }
            ObservationBody::Http(x) => self.exchange_told(x, evidence, policy, &mut inquiry),
            ObservationBody::NameAnswer(answer) => {
                self.name_answer(&answer, at, policy, &mut inquiry);
            }
            ObservationBody::Tls(hello) => self.hello_told(hello, at, &mut inquiry),
            ObservationBody::TlsShape(shape) => {
                if let Some(build) = shape::inferred(&shape) {
                    self.build(build, evidence, policy, &mut inquiry);
                }
            }
            ObservationBody::ClientAuth(_)
            | ObservationBody::FlowRecord(_)
            | ObservationBody::Anomaly(_) => {}
        }
        self.forget(policy, &mut inquiry);
        self.counters.questions += inquiry.count;
    }

    /// What can only be said of everything together: builds that records show, which connections
    /// matter, and how the names of their responders stood.
    pub(crate) fn conclude(
        &mut self,
        policy: &Policy,
        environments: &Environments,
        seen: &mut dyn Seen,
    ) {
        let mut inquiry = Inquiry { seen, environments, count: 0 };
        self.infer_from_records(policy, &mut inquiry);
        self.promote_what_matters(policy, &mut inquiry);
        self.settle_names(&mut inquiry);
        self.counters.questions += inquiry.count;
    }

    /// A call counts where it is certain, or where a Docker API is expected on that port.
    fn api_call(
        &mut self,
        call: ApiCall,
        evidence: Vec<Evidence>,
        policy: &Policy,
        inquiry: &mut Inquiry<'_>,
    ) {
        if !call.certain && !policy.docker_ports.contains(&call.daemon.port) {
            return;
        }
        let environment = self.daemon(call.daemon.ip, call.daemon.port, call.tag, inquiry);
        let pair = (environment, call.client.ip, call.daemon.ip);
        self.caller(pair, call.started, policy, inquiry);
        let (id, age) = (call.id, (call.complete, call.ended));
        let held = Held { value: call, evidence, environment };
        let newer = |old: &ApiCall| age >= (old.complete, old.ended);
        self.counters.calls_lost += upsert(&mut self.calls, id, held, policy.limits.calls, newer);
    }

    fn daemon(
        &mut self,
        ip: IpAddr,
        port: u16,
        tag: NetworkTag,
        inquiry: &Inquiry<'_>,
    ) -> EnvironmentId {
        let ip = ip.to_canonical();
        let environment = inquiry.environments.id_of(ip, tag);
        if self.daemons.len() < MAX_DAEMONS {
            self.daemons.insert((environment, ip));
            self.daemon_ports.insert((environment, ip, port));
            self.daemon_ips.insert(ip);
        }
        environment
    }

    fn caller(
        &mut self,
        pair: CallerPair,
        at: Timestamp,
        policy: &Policy,
        inquiry: &mut Inquiry<'_>,
    ) {
        if self.callers.contains_key(&pair) {
            return;
        }
        if self.callers.len() >= policy.limits.callers {
            self.counters.callers_lost += 1;
            return;
        }
        let (environment, client, daemon) = pair;
        let caller = inquiry.ask(environment, daemon, Key::Caller { client, daemon }, at);
        let builder = inquiry.ask(environment, daemon, Key::Builder { client, daemon }, at);
        self.callers.insert(pair, CallerAnswers { caller, builder });
    }

    fn build(
        &mut self,
        build: Build,
        evidence: Vec<Evidence>,
        policy: &Policy,
        inquiry: &mut Inquiry<'_>,
    ) {
        let environment = self.daemon(build.daemon.ip, build.daemon.port, build.tag, inquiry);
        self.caller((environment, build.client, build.daemon.ip), build.started, policy, inquiry);
        self.watch(build.daemon.ip, build.started, build.ended.plus(policy.deploy_window));
        let urls = build.urls.iter().chain(build.remote.as_ref());
        self.name_hosts(&build.id, urls, environment, build.daemon.ip, build.started, inquiry);
        let (id, age) = (build.id.clone(), (build.end_seen, build.ended));
        let held = Held { value: build, evidence, environment };
        let newer = |old: &Build| age >= (old.end_seen, old.ended);
        let lost = upsert(&mut self.builds, id, held, policy.limits.builds, newer);
        self.counters.builds_lost += lost;
    }

    fn creation(
        &mut self,
        creation: ImageCreation,
        evidence: Vec<Evidence>,
        policy: &Policy,
        inquiry: &mut Inquiry<'_>,
    ) {
        let environment =
            self.daemon(creation.daemon.ip, creation.daemon.port, creation.tag, inquiry);
        let pair = (environment, creation.client, creation.daemon.ip);
        self.caller(pair, creation.started, policy, inquiry);
        self.watch(creation.daemon.ip, creation.started, creation.ended.plus(policy.deploy_window));
        let urls = creation.source.iter().filter(|source| *source != "-");
        self.name_hosts(
            &creation.id,
            urls,
            environment,
            creation.daemon.ip,
            creation.started,
            inquiry,
        );
        let (id, age) = (creation.id.clone(), (creation.end_seen, creation.ended));
        let held = Held { value: creation, evidence, environment };
        let newer = |old: &ImageCreation| age >= (old.end_seen, old.ended);
        let lost = upsert(&mut self.creations, id, held, policy.limits.builds, newer);
        self.counters.builds_lost += lost;
    }

    fn container(
        &mut self,
        event: ContainerEvent,
        evidence: Vec<Evidence>,
        policy: &Policy,
        inquiry: &mut Inquiry<'_>,
    ) {
        let environment = self.daemon(event.daemon.ip, event.daemon.port, event.tag, inquiry);
        self.caller((environment, event.client, event.daemon.ip), event.started, policy, inquiry);
        self.watch(event.daemon.ip, event.started, event.ended.plus(policy.deploy_window));
        let (id, age) = (event.call, (event.status.is_some(), event.ended));
        let held = Held { value: event, evidence, environment };
        let newer = |old: &ContainerEvent| age >= (old.status.is_some(), old.ended);
        let lost = upsert(&mut self.containers, id, held, policy.limits.containers, newer);
        self.counters.containers_lost += lost;
    }

    /// Notes that connections of this daemon's host matter from `start` to `end`.
    fn watch(&mut self, daemon: IpAddr, start: Timestamp, end: Timestamp) {
        let stretches = stretch(start)..=stretch(end);
        for stretch in stretches.take(MAX_STRETCHES_OF_ONE_WINDOW) {
            self.watched.insert((daemon.to_canonical(), stretch));
        }
        while self.watched.len() > MAX_STRETCHES {
            self.watched.pop_first();
        }
    }

    fn name_hosts<'a>(
        &mut self,
        id: &BuildId,
        urls: impl Iterator<Item = &'a String>,
        environment: EnvironmentId,
        daemon: IpAddr,
        at: Timestamp,
        inquiry: &mut Inquiry<'_>,
    ) {
        while self.named_hosts.len() > MAX_NAMED_BUILDS {
            self.named_hosts.pop_first();
        }
        let list = self.named_hosts.entry(id.clone()).or_default();
        for (host, _) in urls.take(MAX_URLS).filter_map(|url| host_of(url)) {
            if list.len() >= MAX_NAMED_HOSTS || list.iter().any(|named| named.host == host) {
                continue;
            }
            let ip = host.parse::<IpAddr>().ok();
            let key = ip.map_or(Key::Name(&host), Key::Address);
            let standing = inquiry.ask(environment, daemon, key, at);
            list.push(NamedHost { ip, standing, host });
        }
    }
}

/// Puts `held` in unless what is there tells more; returns how many were pushed out by the limit.
fn upsert<K: Ord, T>(
    table: &mut BTreeMap<K, Held<T>>,
    key: K,
    held: Held<T>,
    limit: usize,
    newer: impl FnOnce(&T) -> bool,
) -> u64 {
    match table.get_mut(&key) {
        Some(old) => {
            if newer(&old.value) {
                *old = held;
            }
        }
        None => {
            table.insert(key, held);
        }
    }
    let mut lost = 0;
    while table.len() > limit {
        table.pop_first();
        lost += 1;
    }
    lost
}

/// Which stretch of five minutes a time lies in.
fn stretch(at: Timestamp) -> i64 {
    at.as_nanos().div_euclid(300_000_000_000)
}

const MAX_STRETCHES: usize = 262_144;
const MAX_STRETCHES_OF_ONE_WINDOW: usize = 8_192;
const MAX_DAEMONS: usize = 16_384;
const MAX_URLS: usize = 1_024;
const MAX_NAMED_BUILDS: usize = 16_384;
const MAX_NAMED_HOSTS: usize = 64;
