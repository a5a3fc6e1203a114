//! `api-exposed`: a Docker API does in clear what it is asked, and asks nobody who they are. From outside
//! the environment's networks high, from inside medium; one finding for each daemon and day. T1133.
//!
//! A daemon looks at no `Authorization` field: a caller that sends one is only told a step lower, unless
//! the daemon was seen to refuse who sent none. TLS, be it without client certificates, is no finding.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tw_model::{
    ApiCall, Caveat, Endpoint, Evidence, Outcome, Rule, Severity, Software, Timestamp, Transport,
};

use crate::draft::{Drafts, merge_evidence};
use crate::environment::EnvironmentId;
use crate::maker::Source;
use crate::plain::Plain;
use crate::scene::Scene;
use crate::text::{list, printable};

/// A daemon, and the day (UTC) of which is told.
type Subject = (EnvironmentId, Endpoint, i64);

pub(super) fn judge(scene: &Scene<'_>, drafts: &mut Drafts) {
    let guarded = guarded(scene);
    let others = other_servers(scene);
    let mut exposures: BTreeMap<Subject, Exposure<'_>> = BTreeMap::new();
    for access in accesses(scene) {
        let daemon = (access.environment, access.daemon);
        if others.contains(&daemon) || (access.credentials && guarded.contains(&daemon)) {
            continue;
        }
        let subject = (access.environment, access.daemon, access.at.utc_day());
        exposures.entry(subject).or_default().take(access);
    }
    for ((environment, daemon, _), exposure) in &exposures {
        tell(scene, *environment, *daemon, exposure, drafts);
    }
}

/// A call in clear that was answered as asked.
struct Access<'a> {
    environment: EnvironmentId,
    daemon: Endpoint,
    client: Endpoint,
    outside: bool,
    credentials: bool,
    /// The request was seen.
    asked: bool,
    at: Timestamp,
    last: Timestamp,
    what: String,
    software: Option<&'a Software>,
    evidence: &'a [Evidence],
}

impl Access<'_> {
    fn severity(&self) -> Severity {
        let base = if self.outside { Severity::High } else { Severity::Medium };
        if self.credentials { base.lowered() } else { base }
    }
}

/// All that one daemon let in on one day.
#[derive(Default)]
struct Exposure<'a> {
    /// The gravest, of these the first.
    lead: Option<Access<'a>>,
    count: usize,
    callers: BTreeSet<IpAddr>,
    outside: BTreeSet<IpAddr>,
    what: Vec<String>,
    software: Software,
    evidence: Vec<Evidence>,
}

impl<'a> Exposure<'a> {
    fn take(&mut self, access: Access<'a>) {
        self.count += 1;
        if self.callers.len() < MAX_CALLERS {
            self.callers.insert(access.client.ip);
        }
        if access.outside && self.outside.len() < MAX_CALLERS {
            self.outside.insert(access.client.ip);
        }
        if self.what.len() < MAX_CALLS && !self.what.contains(&access.what) {
            self.what.push(access.what.clone());
            merge_evidence(&mut self.evidence, access.evidence);
        }
        if let Some(software) = access.software {
            let Software { server, version, .. } = software;
            self.software.server = self.software.server.take().or_else(|| server.clone());
            self.software.version = self.software.version.take().or_else(|| version.clone());
        }
        let rank = |a: &Access<'_>| (std::cmp::Reverse(a.severity()), a.at, a.client);
        if self.lead.as_ref().is_none_or(|lead| rank(&access) < rank(lead)) {
            self.lead = Some(access);
        }
    }
}

fn tell(
    scene: &Scene<'_>,
    environment: EnvironmentId,
    daemon: Endpoint,
    exposure: &Exposure<'_>,
    drafts: &mut Drafts,
) {
    let Some(lead) = &exposure.lead else { return };
    let Some(host) = scene.hosts.find(scene.environments, environment, daemon.ip) else { return };
    let from = if lead.outside { ", which is outside the environment's networks," } else { "" };
    let asked = match (lead.credentials, lead.asked) {
        (true, _) => "with credentials that nothing shows to be looked at",
        (false, true) => "without credentials",
        (false, false) => "as far as its answers show",
    };
    let title =
        format!("The Docker API at {daemon} serves {}{from} in clear, {asked}", lead.client.ip);
    let caveats = (!lead.asked).then_some(Caveat::OneDirection).into_iter().collect();
    let day = lead.at.to_string();
    let plain = Plain {
        rule: Rule::ApiExposed,
        subject: format!("{} {}", daemon.port, day.get(..10).unwrap_or(&day)),
        environment,
        host,
        docker_host: daemon.ip,
        client: lead.client.ip,
        client_port: lead.client.port,
        at: lead.at,
        // The day's other calls may be parts of other incidents.
        last: lead.last,
        severity: lead.severity(),
        techniques: vec!["T1133"],
        title,
        summary: summary(daemon, exposure, lead),
        about_caller: false,
        builds: Vec::new(),
        caveats,
        owner: None,
        evidence: &exposure.evidence,
    };
    drafts.add(plain.into_draft(scene));
}

fn summary(daemon: Endpoint, exposure: &Exposure<'_>, lead: &Access<'_>) -> String {
    let day = lead.at.to_string();
    let callers: Vec<String> = exposure.callers.iter().map(ToString::to_string).collect();
    let count = match exposure.count {
        1 => "1 call".to_owned(),
        count => format!("{count} calls"),
    };
    let mut summary = format!(
        "On {} (UTC) the daemon at {daemon} answered {count} from {} in clear: {}.",
        day.get(..10).unwrap_or(&day),
        list(&callers, 5),
        list(&exposure.what, 6)
    );
    let outside: Vec<String> = exposure.outside.iter().map(ToString::to_string).collect();
    summary.push_str(&match outside.as_slice() {
        [] => " All of them are inside the environment's networks.".to_owned(),
        all if all.len() == callers.len() => {
            " Nobody of them is inside the environment's networks.".to_owned()
        }
        some => format!(" Outside the environment's networks: {}.", list(some, 5)),
    });
    let software = &exposure.software;
    match (&software.server, &software.version) {
        (Some(server), _) => {
            summary.push_str(&format!(" It calls itself {}.", printable(server, 80)));
        }
        (None, Some(version)) => {
            summary.push_str(&format!(" Its version is {}.", printable(version, 80)));
        }
        (None, None) => {}
    }
    summary.push_str(" Whoever reaches such an API commands its host.");
    summary
}

/// Calls, and builds that were asked for over gRPC alone.
fn accesses<'a>(scene: &Scene<'a>) -> impl Iterator<Item = Access<'a>> {
    let outside = |environment, client: IpAddr| !scene.environments.has(environment, client);
    let calls = scene.ledger.calls.values().filter(|held| is_open(&held.value));
    let calls = calls.map(move |held| {
        let call = &held.value;
        Access {
            environment: held.environment,
            daemon: canonical(call.daemon),
            client: canonical(call.client),
            outside: outside(held.environment, call.client.ip),
            credentials: call.credentials,
            asked: !call.method.is_empty(),
            at: call.started,
            last: call.ended,
            what: words_for(call),
            software: call.software.as_deref(),
            evidence: &held.evidence,
        }
    });
    let builds = scene.makers.iter().filter_map(move |maker| {
        let Source::Build(held) = maker.source else { return None };
        let build = &held.value;
        let called = build.calls.iter().any(|call| scene.ledger.calls.contains_key(call));
        let served = maker.outcome == Outcome::Succeeded && !build.tls;
        let open = build.transport == Transport::Grpc && served && !called;
        open.then(|| Access {
            environment: maker.environment,
            daemon: canonical(maker.daemon),
            client: canonical(Endpoint::new(maker.client, maker.client_port)),
            outside: outside(maker.environment, maker.client),
            credentials: false,
            asked: true,
            at: maker.started,
            last: maker.ended,
            what: "a build over gRPC".to_owned(),
            software: None,
            evidence: maker.evidence,
        })
    });
    calls.chain(builds)
}

/// Answered as asked, or handed the connection over (101), in clear.
fn is_open(call: &ApiCall) -> bool {
    !call.tls && call.status.is_some_and(|status| status == 101 || (200..300).contains(&status))
}

/// What was asked, names left out.
fn words_for(call: &ApiCall) -> String {
    let route = format!("{:?}", call.route);
    match call.method.as_str() {
        "" => "a request that was not captured".to_owned(),
        method if call.path.len() <= MAX_PATH => {
            format!("{} {}", printable(method, 16), printable(&call.path, MAX_PATH))
        }
        method => format!("{} {route}", printable(method, 16)),
    }
}

/// Daemons that were seen to refuse who sent no credentials.
fn guarded(scene: &Scene<'_>) -> BTreeSet<(EnvironmentId, Endpoint)> {
    let refused = |call: &ApiCall| !call.credentials && call.status == Some(401);
    let calls = scene.ledger.calls.values().filter(|held| refused(&held.value));
    calls.map(|held| (held.environment, canonical(held.value.daemon))).collect()
}

/// Servers on a daemon's port that call themselves something else in every answer, and of which
/// nothing else shows that they are a daemon.
fn other_servers(scene: &Scene<'_>) -> BTreeSet<(EnvironmentId, Endpoint)> {
    let mut standing: BTreeMap<(EnvironmentId, Endpoint), bool> = BTreeMap::new();
    for held in scene.ledger.calls.values().filter(|held| held.value.status.is_some()) {
        let key = (held.environment, canonical(held.value.daemon));
        let other = held.value.software.as_deref().is_some_and(is_other);
        *standing.entry(key).or_insert(true) &= other;
    }
    let made = scene.makers.iter().map(|m| (m.environment, canonical(m.daemon)));
    let lived = scene.lives.iter().filter_map(|life| life.first());
    let lived = lived.map(|held| (held.environment, canonical(held.value.daemon)));
    let acted: BTreeSet<_> = made.chain(lived).collect();
    let all = standing.into_iter().filter(|(_, other)| *other).map(|(daemon, _)| daemon);
    all.filter(|daemon| !acted.contains(daemon)).collect()
}

fn is_other(software: &Software) -> bool {
    let daemon = |server: &str| server.starts_with("Docker/") || server.starts_with("Libpod/");
    software.api_version.is_none()
        && software.version.is_none()
        && software.server.as_deref().is_some_and(|server| !daemon(server))
}

const fn canonical(endpoint: Endpoint) -> Endpoint {
    Endpoint::new(endpoint.ip.to_canonical(), endpoint.port)
}

const MAX_CALLERS: usize = 1_024;
const MAX_CALLS: usize = 16;
const MAX_PATH: usize = 60;
