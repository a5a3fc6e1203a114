//! The learner: which of what was seen may be remembered as known. It is strict, for what it
//! learns can silence the detector.
//!
//! A destination is learned only from a connection that was opened from inside, whose opening was
//! seen, and that carried payload both ways. A SYN, a scan, a reset, an inbound caller and a
//! connection joined in mid-stream teach nothing about destinations.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;

use tw_model::{
    ApiCall, AppProtocol, Build, Connection, ConnectionState, FlowId, Frontend, HttpExchange,
    ImageCreation, KeyedHash, NameAnswer, Observation, ObservationBody, Opener, Outcome,
    RegistryAction, RegistryVerb, RegistryVia, Timestamp, TlsHello, Via,
};

use crate::Policy;
use crate::destination::is_download;
use crate::environment::{EnvironmentId, Environments};
use crate::host::{HostAddress, is_unicast};
use crate::names::{HostList, host_of, names_of, normalised, tenant_of};
use crate::rules::repository_of;
use crate::sighting::is_distribution;
use crate::{Fact, Key};

/// Turns observations into facts that may be remembered. Feed it after the detector.
#[derive(Debug)]
pub struct Learner {
    environments: Environments,
    multi_tenant: HostList,
    lessons: Lessons,
    /// Names by address and by who asked.
    names: HashMap<HostAddress, Vec<(IpAddr, Box<str>)>, KeyedHash>,
    /// The addresses that have names, the oldest first.
    named: VecDeque<HostAddress>,
    /// Who answers DNS: its own questions are those of the hosts that ask it.
    resolvers: HashSet<HostAddress, KeyedHash>,
    /// Daemons are watched hosts even outside every network.
    daemons: HashSet<HostAddress, KeyedHash>,
    /// Ports that a Docker API is expected on.
    docker_ports: Vec<u16>,
}

/// What is pending of one connection.
#[derive(Debug, Default)]
struct Lesson {
    /// Learned: who, when it was opened, and what it was seen in.
    learned: Option<(EnvironmentId, IpAddr, Timestamp, Via)>,
    /// Names that SNI or Host gave before it was learned.
    names: Vec<String>,
    tenants: Vec<String>,
    registries: Vec<Registry>,
}

/// Lessons by connection.
#[derive(Debug, Default)]
struct Lessons {
    flows: HashMap<FlowId, Lesson, KeyedHash>,
    /// Connections that had lessons, the oldest first.
    begun: VecDeque<FlowId>,
    /// Connections that ended, the latest last.
    ended: VecDeque<FlowId>,
}

impl Lessons {
    /// The lesson of a connection; where there are too many, that which began first goes.
    fn of(&mut self, flow: FlowId) -> &mut Lesson {
        if !self.flows.contains_key(&flow) {
            self.begun.push_back(flow);
            if self.begun.len() > MAX_FLOWS
                && let Some(oldest) = self.begun.pop_front()
            {
                self.flows.remove(&oldest);
            }
        }
        self.flows.entry(flow).or_default()
    }

    /// What belongs to a connection may come after its end, but not long after.
    fn end(&mut self, flow: FlowId) {
        if !self.flows.contains_key(&flow) {
            return;
        }
        self.ended.push_back(flow);
        if self.ended.len() > MAX_ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.flows.remove(&oldest);
        }
    }
}

/// A registry that answered: "host:port", and "host:port/repository" and digest where there are.
type Registry = (String, Option<String>, Option<String>);

impl Learner {
    /// A learner that has seen nothing.
    #[must_use]
    pub fn new(environments: Environments) -> Self {
        Self {
            environments,
            multi_tenant: HostList::multi_tenant(),
            lessons: Lessons::default(),
            names: HashMap::default(),
            named: VecDeque::new(),
            resolvers: HashSet::default(),
            daemons: HashSet::default(),
            docker_ports: Policy::default().docker_ports,
        }
    }

    /// The same with other ports that a Docker API is expected on.
    #[must_use]
    pub fn with_docker_ports(self, docker_ports: Vec<u16>) -> Self {
        Self { docker_ports, ..self }
    }

    /// May this connection teach, as far as it is seen in flow records? Of packets any may.
    #[must_use]
    pub fn may_learn_of(&self, c: &Connection) -> bool {
        self.may_tell(self.environments.id_of(c.opener.ip, c.tag), c)
    }

    /// Takes one observation and gives what may be remembered of it. The same fact may be given
    /// more than once.
    pub fn push(&mut self, observation: &Observation, sink: &mut dyn FnMut(Fact<'_>)) {
        match &observation.body {
            ObservationBody::Connection(c) => {
                self.connection(c, sink);
                if c.ended {
                    self.lessons.end(c.id);
                }
            }
            ObservationBody::NameAnswer(answer) => self.name_answer(answer, observation.at, sink),
            ObservationBody::Tls(hello) => self.hello(hello, sink),
            ObservationBody::Http(x) => self.exchange(x, sink),
            ObservationBody::ApiCall(call) => self.api_call(call, sink),
            ObservationBody::Build(build) => self.build(build, sink),
            ObservationBody::ImageCreation(creation) => self.creation(creation, sink),
            ObservationBody::Registry(action) => self.registry(action, sink),
            ObservationBody::Container(_)
            | ObservationBody::FlowRecord(_)
            | ObservationBody::TlsShape(_)
            | ObservationBody::ClientAuth(_)
            | ObservationBody::Anomaly(_) => {}
        }
    }

    fn is_inside(&self, environment: EnvironmentId, ip: IpAddr) -> bool {
        self.environments.has(environment, ip)
            || self.daemons.contains(&(environment, ip.to_canonical()))
    }

    /// Records teach only if all who exported them may.
    fn may_tell(&self, environment: EnvironmentId, c: &Connection) -> bool {
        let mut exporters = c.exported.iter().flat_map(|exported| &exported.exporters);
        exporters.all(|ip| self.environments.may_teach(environment, *ip))
    }

    fn connection(&mut self, c: &Connection, sink: &mut dyn FnMut(Fact<'_>)) {
        self.unread_caller(c, sink);
        let environment = self.environments.id_of(c.opener.ip, c.tag);
        let host = c.opener.ip.to_canonical();
        if !teaches(c) || !self.is_inside(environment, host) || !self.may_tell(environment, c) {
            return;
        }
        let lesson = self.lessons.of(c.id);
        let through = c.tunnel.as_ref().and_then(|(authority, _)| host_of(authority));
        if let Some((authority, _)) = through
            && authority.parse::<IpAddr>().is_err()
        {
            keep(&mut lesson.names, authority);
        }
        if lesson.learned.is_some() {
            lesson.tell_if_learned(&self.environments, sink);
            return;
        }
        lesson.learned = Some((environment, host, c.first, c.via));
        let name = self.environments.name(environment);
        let ip = c.responder.ip.to_canonical();
        sink(Fact { environment: name, host, key: Key::Address(ip), at: c.first, via: c.via });
        let asked = self.names.get(&(environment, ip)).map_or(&[][..], Vec::as_slice);
        let own = asked.iter().any(|(client, _)| *client == host);
        let is_its = |client: IpAddr| {
            client == host || (!own && self.resolvers.contains(&(environment, client)))
        };
        for (_, known) in asked.iter().filter(|(client, _)| is_its(*client)) {
            sink(Fact { environment: name, host, key: Key::Name(known), at: c.first, via: c.via });
        }
        lesson.tell(name, host, (c.first, c.via), sink);
    }

    /// In flow records, and inside TLS that nobody can read, a caller of a Docker API is who had a
    /// conversation with one. Whether anything was built on it is not seen, so no builder is learned.
    fn unread_caller(&self, c: &Connection, sink: &mut dyn FnMut(Fact<'_>)) {
        let opaque = c.app == Some(AppProtocol::Tls) && c.ended;
        let unread = c.via == Via::Netflow || opaque;
        if !unread || !self.docker_ports.contains(&c.responder.port) || !teaches(c) {
            return;
        }
        let daemon = c.responder.ip.to_canonical();
        let environment = self.environments.id_of(daemon, c.tag);
        if !self.is_inside(environment, daemon) || !self.may_tell(environment, c) {
            return;
        }
        sink(Fact {
            environment: self.environments.name(environment),
            host: daemon,
            key: Key::Caller { client: c.opener.ip, daemon: c.responder.ip },
            // Secrets may come late, and then tell of a call before this.
            at: if opaque { c.last } else { c.first },
            via: c.via,
        });
    }

    fn name_answer(&mut self, answer: &NameAnswer, at: Timestamp, sink: &mut dyn FnMut(Fact<'_>)) {
        let environment = self.environments.id_of(answer.client.ip, answer.tag);
        let host = answer.client.ip.to_canonical();
        let names = names_of(answer);
        let Some(asked) = names.first().filter(|_| self.is_inside(environment, host)) else {
            return;
        };
        if self.resolvers.len() < MAX_RESOLVERS {
            self.resolvers.insert((environment, answer.server.ip.to_canonical()));
        }
        let name = self.environments.name(environment);
        for ip in answer.addresses.iter().take(MAX_ADDRESSES).map(IpAddr::to_canonical) {
            let key = Key::NameAddress(asked, ip);
            sink(Fact { environment: name, host, key, at, via: Via::Packets });
            let known = self.names.entry((environment, ip)).or_insert_with(|| {
                self.named.push_back((environment, ip));
                Vec::new()
            });
            let is_new = |(client, name): &(IpAddr, Box<str>)| *client != host || **name != **asked;
            if known.len() < MAX_NAMES && known.iter().all(is_new) {
                known.push((host, asked.as_str().into()));
            }
            if self.named.len() > MAX_ADDRESSES_NAMED
                && let Some(oldest) = self.named.pop_front()
            {
                self.names.remove(&oldest);
            }
        }
    }

    fn hello(&mut self, hello: &TlsHello, sink: &mut dyn FnMut(Fact<'_>)) {
        let Some(sni) = hello.sni.as_deref().and_then(normalised) else { return };
        let lesson = self.lessons.of(hello.flow);
        keep(&mut lesson.names, sni);
        lesson.tell_if_learned(&self.environments, sink);
    }

    fn exchange(&mut self, x: &HttpExchange, sink: &mut dyn FnMut(Fact<'_>)) {
        let Some((authority, port)) = x.host.as_deref().and_then(host_of) else { return };
        if x.status.is_none() {
            return;
        }
        let lesson = self.lessons.of(x.flow);
        if x.proxy.is_none()
            && is_distribution(&x.target)
            && x.status.is_some_and(is_registry_answer)
        {
            let registry = format!("{authority}:{}", port.unwrap_or(x.server.port));
            let repository = repository_of(&x.target).map(|name| format!("{registry}/{name}"));
            let digest = digest_of(&x.target).map(str::to_owned);
            keep(&mut lesson.registries, (registry, repository, digest));
        }
        if authority.parse::<IpAddr>().is_err() {
            if self.multi_tenant.has(&authority) {
                keep(&mut lesson.tenants, tenant_of(&authority, &x.target));
            }
            keep(&mut lesson.names, authority);
        }
        lesson.tell_if_learned(&self.environments, sink);
    }

    fn api_call(&mut self, call: &ApiCall, sink: &mut dyn FnMut(Fact<'_>)) {
        if !call.certain || !call.status.is_some_and(is_success) {
            return;
        }
        let daemon = call.daemon.ip.to_canonical();
        let environment = self.environments.id_of(daemon, call.tag);
        if self.daemons.len() < MAX_DAEMONS {
            self.daemons.insert((environment, daemon));
        }
        let key = Key::Caller { client: call.client.ip, daemon: call.daemon.ip };
        sink(Fact {
            environment: self.environments.name(environment),
            host: call.daemon.ip,
            key,
            at: call.started,
            via: Via::Packets,
        });
    }

    fn build(&self, build: &Build, sink: &mut dyn FnMut(Fact<'_>)) {
        let answered = build.outcome == Outcome::Unknown && build.end_seen;
        if build.frontend != Frontend::Inferred && (build.outcome == Outcome::Succeeded || answered)
        {
            let environment = self.environments.of(build.daemon.ip, build.tag);
            builder(environment, build.client, build.daemon.ip, build.ended, sink);
        }
    }

    /// What a registry gave is learned with the connections that carried it; of an image that only
    /// the daemon tells of, its digest.
    fn registry(&mut self, action: &RegistryAction, sink: &mut dyn FnMut(Fact<'_>)) {
        if !action.confirmed || action.failed {
            return;
        }
        let pulled = action.action == RegistryVerb::Pull;
        let digests = [&action.manifest_digest, &action.index_digest, &action.config_digest];
        let digests = digests.into_iter().flatten().filter(|_| pulled);
        if action.via == RegistryVia::Api {
            let environment = self.environments.of(action.docker_host, action.tag);
            let (host, at) = (action.docker_host, action.started);
            let via = Via::Packets;
            digests.for_each(|d| sink(Fact { environment, host, key: Key::Digest(d), at, via }));
            return;
        }
        let registry = &action.registry;
        let repository = format!("{registry}/{}", action.repository);
        let mut facts = vec![(registry.clone(), Some(repository), None)];
        facts.extend(digests.map(|digest| (registry.clone(), None, Some(digest.clone()))));
        for flow in action.flows.iter().take(MAX_FLOWS_OF_ONE_IMAGE) {
            let lesson = self.lessons.of(*flow);
            facts.iter().for_each(|fact| keep(&mut lesson.registries, fact.clone()));
            lesson.tell_if_learned(&self.environments, sink);
        }
    }

    fn creation(&self, creation: &ImageCreation, sink: &mut dyn FnMut(Fact<'_>)) {
        let answered = creation.outcome == Outcome::Unknown && creation.end_seen;
        if creation.outcome == Outcome::Succeeded || answered {
            let environment = self.environments.of(creation.daemon.ip, creation.tag);
            builder(environment, creation.client, creation.daemon.ip, creation.ended, sink);
        }
    }
}

/// Keeps what is not there yet, as far as there is room.
fn keep<T: PartialEq>(list: &mut Vec<T>, new: T) {
    if list.len() < MAX_NAMES && !list.contains(&new) {
        list.push(new);
    }
}

fn builder(
    environment: &str,
    client: IpAddr,
    daemon: IpAddr,
    at: Timestamp,
    sink: &mut dyn FnMut(Fact<'_>),
) {
    for key in [Key::Caller { client, daemon }, Key::Builder { client, daemon }] {
        sink(Fact { environment, host: daemon, key, at, via: Via::Packets });
    }
}

impl Lesson {
    fn tell_if_learned(&mut self, environments: &Environments, sink: &mut dyn FnMut(Fact<'_>)) {
        if let Some((environment, host, at, via)) = self.learned {
            self.tell(environments.name(environment), host, (at, via), sink);
        }
    }

    fn tell(
        &mut self,
        environment: &str,
        host: IpAddr,
        (at, via): (Timestamp, Via),
        sink: &mut dyn FnMut(Fact<'_>),
    ) {
        let mut fact = |key: Key<'_>| sink(Fact { environment, host, key, at, via });
        self.names.iter().for_each(|name| fact(Key::Name(name)));
        self.tenants.iter().for_each(|tenant| fact(Key::Tenant(tenant)));
        for (registry, repository, digest) in &self.registries {
            fact(Key::Registry(registry));
            if let Some(repository) = repository {
                fact(Key::Repository(repository));
            }
            if let Some(digest) = digest {
                fact(Key::Digest(digest));
            }
        }
        self.names.clear();
        self.tenants.clear();
        self.registries.clear();
    }
}

/// A conversation that was opened, answered, and carried payload both ways. Many exporters give both
/// directions of a flow the same times: where a service answers a port that systems draw theirs from,
/// the ports are believed.
fn teaches(c: &Connection) -> bool {
    let lasted = matches!(
        c.state,
        ConnectionState::Established | ConnectionState::Closed | ConnectionState::Reset
    );
    let opener_is_sure = match c.via {
        Via::Packets => c.opener_known == Opener::Seen,
        Via::Netflow => c.opener_known == Opener::Seen || c.opener.port >= EPHEMERAL,
    };
    lasted
        && opener_is_sure
        && !c.midstream
        && c.both_ways()
        && is_download(c)
        && is_unicast(c.responder.ip)
}

const fn is_success(status: u16) -> bool {
    status == 101 || matches!(status, 200..=299)
}

/// A registry answers with success, or asks for a token.
const fn is_registry_answer(status: u16) -> bool {
    is_success(status) || matches!(status, 307 | 401)
}

/// `sha256:…` of `/v2/name/manifests/sha256:…`.
fn digest_of(target: &str) -> Option<&str> {
    let path = target.split(['?', '#']).next()?;
    let (_, reference) = path.rsplit_once("/manifests/")?;
    reference.starts_with("sha256:").then_some(reference)
}

/// Least port that Linux draws from by default (`ip_local_port_range`); others begin higher.
const EPHEMERAL: u16 = 32_768;
const MAX_FLOWS: usize = 65_536;
const MAX_ENDED: usize = 4_096;
const MAX_DAEMONS: usize = 16_384;
const MAX_RESOLVERS: usize = 4_096;
const MAX_NAMES: usize = 32;
const MAX_FLOWS_OF_ONE_IMAGE: usize = 4;
const MAX_ADDRESSES: usize = 64;
const MAX_ADDRESSES_NAMED: usize = 65_536;
