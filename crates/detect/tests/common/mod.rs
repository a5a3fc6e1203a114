//! A small world in virtual time: observations by the second, and a store with fixed answers.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses a part of it")]

use std::collections::BTreeSet;
use std::net::IpAddr;

use tw_detect::{Answer, Detector, Environments, Judgement, Key, Knowledge, Policy, Seen};
use tw_model::*;

pub const HOST: &str = "10.10.1.5";
pub const ATTACKER: &str = "198.51.100.23";
pub const CI: &str = "10.10.2.20";
pub const EVIL: &str = "203.0.113.77";

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Seconds of virtual time, to the millisecond.
pub fn at(seconds: f64) -> Timestamp {
    let millis = format!("{:.0}", (1_795_550_000.0 + seconds) * 1000.0).parse::<i64>().unwrap();
    Timestamp::from_nanos(millis * 1_000_000)
}

/// A store with fixed answers, as text: `address 192.0.2.80`, `name x`, `mapped x 192.0.2.1`,
/// `caller C D`, `builder C D`, `registry x`, `tenant x`.
#[derive(Clone, Debug, Default)]
pub struct Store {
    pub known: BTreeSet<String>,
    /// Known to the environment, not to the asking host.
    pub elsewhere: BTreeSet<String>,
    /// Touched, with when and by whom.
    pub touched: Vec<(String, Timestamp, IpAddr)>,
    pub no_baseline: bool,
    pub down: bool,
    /// Answers only for this environment, if set.
    pub only: Option<String>,
    pub asked: Vec<String>,
}

impl Store {
    /// A baseline: the CI server builds on the host and fetches from a mirror.
    pub fn baseline() -> Self {
        Self::default().know(&[
            "address 192.0.2.80",
            "name mirror.example",
            "mapped mirror.example 192.0.2.80",
            "address 10.10.3.50",
            "name registry.corp.example",
            "registry registry.corp.example:5000",
            &format!("caller {CI} {HOST}"),
            &format!("builder {CI} {HOST}"),
        ])
    }

    pub fn know(mut self, keys: &[&str]) -> Self {
        self.known.extend(keys.iter().map(|k| (*k).to_owned()));
        self
    }
}

fn text(key: Key<'_>) -> String {
    match key {
        Key::Address(ip) => format!("address {ip}"),
        Key::Name(name) => format!("name {name}"),
        Key::NameAddress(name, ip) => format!("mapped {name} {ip}"),
        Key::Caller { client, daemon } => format!("caller {client} {daemon}"),
        Key::Builder { client, daemon } => format!("builder {client} {daemon}"),
        Key::Registry(name) => format!("registry {name}"),
        Key::Repository(name) => format!("repository {name}"),
        Key::Digest(digest) => format!("digest {digest}"),
        Key::Tenant(tenant) => format!("tenant {tenant}"),
    }
}

impl Seen for Store {
    fn ask(
        &mut self,
        environment: &str,
        _host: IpAddr,
        question: Key<'_>,
        _at: Timestamp,
    ) -> Answer {
        let key = text(question);
        self.asked.push(key.clone());
        let here = self.only.as_ref().is_none_or(|only| only == environment);
        let (environment, host) = if self.down {
            (Knowledge::Unavailable, Knowledge::Unavailable)
        } else if here && self.known.contains(&key) {
            (Knowledge::Known, Knowledge::Known)
        } else if here && self.elsewhere.contains(&key) {
            (Knowledge::Known, Knowledge::Never)
        } else if let Some((_, first_seen, by)) = self.touched.iter().find(|(k, ..)| *k == key) {
            let touched = Knowledge::Touched { first_seen: *first_seen, first_seen_by: Some(*by) };
            (touched, Knowledge::Never)
        } else if self.no_baseline {
            (Knowledge::Unwatched, Knowledge::Unwatched)
        } else {
            (Knowledge::Never, Knowledge::Never)
        };
        let baseline = !self.no_baseline && !self.down;
        Answer {
            environment,
            host,
            watched_since: Some(at(-864_000.0)),
            baseline,
            error_probability: 0.0,
        }
    }
}

pub fn observe(seconds: f64, number: u64, body: ObservationBody) -> Observation {
    let at = at(seconds);
    Observation { at, evidence: vec![Evidence::frame(SourceId(0), number, at)], body }
}

pub fn endpoint(address: &str, port: u16) -> Endpoint {
    Endpoint::new(ip(address), port)
}

/// A connection that the docker host opened and that brought 1,000 bytes.
pub fn connection(id: u64, from: &str, to: &str, port: u16, start: f64) -> Connection {
    Connection {
        id: FlowId(id),
        opener: endpoint(from, 40_000),
        responder: endpoint(to, port),
        opener_known: Opener::Seen,
        protocol: Protocol::TCP,
        app: None,
        tag: NetworkTag::default(),
        macs: None,
        first: at(start),
        last: at(start + 0.2),
        first_payload: Some(at(start + 0.1)),
        payload_bytes: [100, 1_000],
        packets: [6, 6],
        bytes: [400, 1_300],
        state: ConnectionState::Closed,
        midstream: false,
        gap_bytes: 0,
        truncated: false,
        via: Via::Packets,
        names: Vec::new(),
        tunnel: None,
        exported: None,
        ended: true,
    }
}

pub fn connect(id: u64, to: &str, port: u16, start: f64) -> Observation {
    observe(start, id, ObservationBody::Connection(connection(id, HOST, to, port, start)))
}

/// A classic build by a parsed request.
pub fn build(id: &str, client: &str, start: f64, end: f64, urls: &[&str]) -> Build {
    let ends = (endpoint(client, 50_000), endpoint(HOST, 2375));
    let how = (Frontend::Classic, Transport::Rest);
    Build {
        calls: vec![CallId { flow: FlowId(start.to_bits()), index: 0 }],
        tags: vec![format!("{id}:1")],
        base_images: vec!["alpine:3.18".into()],
        urls: urls.iter().map(|u| (*u).to_owned()).collect(),
        ended: at(end),
        end_seen: true,
        outcome: Outcome::Succeeded,
        ..Build::begun(BuildId(format!("build-{id}")), ends, NetworkTag::default(), how, at(start))
    }
}

pub fn built(build: Build) -> Observation {
    let (started, at) = (build.started, build.ended);
    let evidence = vec![Evidence::frame(SourceId(0), 7, started)];
    Observation { at, evidence, body: ObservationBody::Build(Box::new(build)) }
}

pub fn creation(id: &str, kind: CreationKind, client: &str, start: f64, end: f64) -> ImageCreation {
    ImageCreation {
        id: BuildId(format!("build-{id}")),
        call: CallId { flow: FlowId(start.to_bits()), index: 1 },
        kind,
        client: ip(client),
        client_port: 50_001,
        daemon: endpoint(HOST, 2375),
        tag: NetworkTag::default(),
        tls: false,
        user_agent: None,
        source: None,
        container: None,
        tags: vec![format!("{id}:1")],
        image_id: None,
        started: at(start),
        ended: at(end),
        end_seen: true,
        outcome: Outcome::Succeeded,
        destinations: Vec::new(),
        caveats: Vec::new(),
    }
}

pub fn created(creation: ImageCreation) -> Observation {
    let (started, at) = (creation.started, creation.ended);
    let evidence = vec![Evidence::frame(SourceId(0), 8, started)];
    Observation { at, evidence, body: ObservationBody::ImageCreation(Box::new(creation)) }
}

pub fn container(
    action: ContainerAction,
    name: &str,
    image: &str,
    client: &str,
    start: f64,
) -> ContainerEvent {
    ContainerEvent {
        call: CallId { flow: FlowId(start.to_bits()), index: 2 },
        action,
        kind: DeployKind::Container,
        daemon: endpoint(HOST, 2375),
        client: ip(client),
        client_port: 50_002,
        tag: NetworkTag::default(),
        user_agent: None,
        container_id: None,
        name: Some(name.to_owned()),
        image: Some(image.to_owned()),
        command: Vec::new(),
        urls: Vec::new(),
        privileged: false,
        binds: Vec::new(),
        pid_mode: None,
        network_mode: None,
        cap_add: Vec::new(),
        user: None,
        path: None,
        copied_bytes: None,
        stream: None,
        risks: Vec::new(),
        started: at(start),
        ended: at(start + 0.1),
        status: Some(204),
    }
}

pub fn acted(event: ContainerEvent) -> Observation {
    let at = event.started;
    let evidence = vec![Evidence::frame(SourceId(0), 9, at)];
    Observation { at, evidence, body: ObservationBody::Container(Box::new(event)) }
}

pub fn call(client: &str, route: Route, start: f64) -> Observation {
    let call = ApiCall {
        id: CallId { flow: FlowId(start.to_bits()), index: 3 },
        client: endpoint(client, 50_003),
        daemon: endpoint(HOST, 2375),
        tag: NetworkTag::default(),
        route,
        method: "GET".into(),
        path: format!("/{route:?}"),
        api_version: None,
        user_agent: None,
        credentials: false,
        software: None,
        stream: None,
        status: Some(200),
        certain: true,
        tls: false,
        started: at(start),
        ended: at(start + 0.05),
        complete: true,
    };
    observe(start, 11, ObservationBody::ApiCall(call))
}

pub fn dns(client: &str, name: &str, address: &str, when: f64) -> Observation {
    let answer = NameAnswer {
        client: endpoint(client, 33_333),
        server: endpoint("10.10.4.53", 53),
        tag: NetworkTag::default(),
        query: name.to_owned(),
        qtype: "A".into(),
        cnames: Vec::new(),
        addresses: vec![ip(address)],
        rcode: 0,
        other: Vec::new(),
    };
    observe(when, 12, ObservationBody::NameAnswer(answer))
}

/// `GET http://host/target` on a connection.
pub fn get(
    flow: u64,
    server: &str,
    port: u16,
    host: &str,
    target: &str,
    when: f64,
) -> HttpExchange {
    HttpExchange {
        decrypted: false,
        flow: FlowId(flow),
        index: 0,
        client: endpoint(HOST, 40_000),
        server: endpoint(server, port),
        method: "GET".into(),
        host: Some(host.to_owned()),
        host_field: None,
        target: target.to_owned(),
        url: Some(format!("http://{host}{target}")),
        status: Some(200),
        protocol: "HTTP/1.1",
        user_agent: None,
        content_type: None,
        location: None,
        body_bytes: 900,
        sha256: Some("ab".repeat(32)),
        executable: false,
        cut: false,
        last: true,
        complete: true,
        proxy: None,
        started: at(when),
        ended: at(when + 0.1),
    }
}

pub fn fetched(exchange: HttpExchange) -> Observation {
    let at = exchange.started;
    let evidence = vec![Evidence::frame(SourceId(0), 13, at)];
    Observation { at, evidence, body: ObservationBody::Http(Box::new(exchange)) }
}

pub fn hello(flow: u64, server: &str, sni: &str, when: f64) -> Observation {
    let hello = TlsHello {
        flow: FlowId(flow),
        client: endpoint(HOST, 40_000),
        server: endpoint(server, 443),
        sni: Some(sni.to_owned()),
        alpn: Vec::new(),
        ja4: None,
        version: None,
        quic: false,
    };
    observe(when, 14, ObservationBody::Tls(hello))
}

/// An image pulled from `registry` on these connections, as the two of them show it.
pub fn pulled(registry: &str, image: &str, flows: &[u64], when: f64) -> RegistryAction {
    let (repository, reference) = image.split_once(':').unwrap();
    let (server, _) = registry.rsplit_once(':').unwrap();
    RegistryAction {
        id: RegistryActionId(format!("registry-{registry}-{image}-{when}")),
        action: RegistryVerb::Pull,
        via: RegistryVia::Registry,
        registry: registry.to_owned(),
        registry_ip: server.parse().ok(),
        repository: repository.to_owned(),
        reference: Some(reference.to_owned()),
        manifest_digest: Some(format!("sha256:{}", "d".repeat(64))),
        index_digest: None,
        config_digest: Some(format!("sha256:{}", "c".repeat(64))),
        platform: None,
        layers: Vec::new(),
        docker_host: ip(HOST),
        client: None,
        client_port: 0,
        daemon: None,
        call: None,
        builds: Vec::new(),
        user_agent: None,
        bytes: 1_000,
        tls: Some(false),
        tag: NetworkTag::default(),
        flows: flows.iter().map(|flow| FlowId(*flow)).collect(),
        started: at(when),
        ended: at(when + 0.2),
        confirmed: true,
        failed: false,
    }
}

/// The same as a call to the daemon's API tells of it.
pub fn asked(action: &RegistryAction, client: &str, when: f64) -> RegistryAction {
    RegistryAction {
        id: RegistryActionId(format!("{}-asked", action.id.0)),
        via: RegistryVia::Api,
        registry_ip: None,
        config_digest: None,
        client: Some(ip(client)),
        client_port: 50_003,
        daemon: Some(endpoint(HOST, 2375)),
        call: Some(CallId { flow: FlowId(when.to_bits()), index: 3 }),
        bytes: 0,
        tls: None,
        flows: Vec::new(),
        started: at(when),
        ended: at(when + 0.5),
        ..action.clone()
    }
}

pub fn moved(action: &RegistryAction) -> Observation {
    let evidence = vec![Evidence::frame(SourceId(0), 15, action.started)];
    let body = ObservationBody::Registry(Box::new(action.clone()));
    Observation { at: action.ended, evidence, body }
}

/// Everything that was told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    pub findings: Vec<Finding>,
    pub incidents: Vec<Incident>,
    pub builds: Vec<Build>,
    pub creations: Vec<ImageCreation>,
    pub registries: Vec<RegistryAction>,
}

impl Told {
    pub fn of(&self, rule: Rule) -> Vec<&Finding> {
        self.findings.iter().filter(|f| f.rule == rule).collect()
    }

    /// Findings other than that an API is exposed, which every call in clear shows.
    pub fn of_others(&self) -> Vec<&Finding> {
        self.findings.iter().filter(|f| f.rule != Rule::ApiExposed).collect()
    }

    /// The only finding of that rule about an address.
    pub fn one(&self, rule: Rule) -> &Finding {
        let found: Vec<_> = self
            .of(rule)
            .into_iter()
            .filter(|f| address(f).is_some() || f.destination.is_none())
            .collect();
        assert_eq!(found.len(), 1, "{rule:?}: {found:#?}");
        found[0]
    }

    /// Pairs of docker host and destination that are said to be T1612.
    pub fn t1612(&self) -> Vec<(String, String)> {
        let t1612 = self.findings.iter().filter(|f| f.techniques.iter().any(|t| t == "T1612"));
        t1612.filter_map(|f| Some((f.docker_host.to_string(), address(f)?.to_string()))).collect()
    }
}

pub fn address(finding: &Finding) -> Option<IpAddr> {
    finding.destination.as_ref()?.ip
}

pub fn run(observations: &[Observation], store: &Store) -> Told {
    run_with(Policy::default(), Environments::default(), observations, store)
}

pub fn run_with(
    policy: Policy,
    environments: Environments,
    observations: &[Observation],
    store: &Store,
) -> Told {
    let mut detector = Detector::new(policy, environments);
    let mut store = store.clone();
    for observation in observations {
        detector.push(observation.clone(), &mut store, &mut |told| {
            panic!("nothing is told before the end: {told:?}")
        });
    }
    finish(&mut detector, &mut store)
}

pub fn finish(detector: &mut Detector, store: &mut Store) -> Told {
    let mut told = Told::default();
    detector.finish(store, &mut |judgement| match judgement {
        Judgement::Finding(f) => told.findings.push(*f),
        Judgement::Incident(i) => told.incidents.push(*i),
        Judgement::Build { build, .. } => told.builds.push(*build),
        Judgement::ImageCreation { creation, .. } => told.creations.push(*creation),
        Judgement::Registry { action, .. } => told.registries.push(*action),
        Judgement::Container { .. } => {}
    });
    told
}
