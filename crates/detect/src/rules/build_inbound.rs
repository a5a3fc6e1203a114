//! `build-inbound`: somebody opens a connection *to* a docker host, or a container of it, while an image is
//! built there, on a port that nothing answered on before. What a step of the build takes in that way
//! is no download of the host's. T1612, without a destination.
//!
//! A host has services of its own. A port that was used before the build is one of them; so, likely, is
//! one that is used after it, and one to which nothing of the build points.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tw_model::{
    Build, Caveat, Connection, ConnectionState, Endpoint, Opener, Protocol, Rule, Severity,
    Timestamp,
};

use crate::draft::{Draft, Drafts, MAX_CONVERSATIONS, merge_evidence};
use crate::environment::EnvironmentId;
use crate::host::HostId;
use crate::maker::{Maker, Source};
use crate::plain::{Plain, standing};
use crate::scene::Scene;
use crate::sighting::Sighting;
use crate::text::{bytes, moment};

pub(super) fn judge(scene: &Scene<'_>, drafts: &mut Drafts) {
    let mut by_host: BTreeMap<HostId, Vec<usize>> = BTreeMap::new();
    for (index, maker) in scene.makers.iter().enumerate() {
        if matches!(maker.source, Source::Build(_)) && !maker.is_inferred() {
            by_host.entry(maker.host).or_default().push(index);
        }
    }
    if by_host.is_empty() {
        return;
    }
    for ((host, service), visits) in visits(scene, &by_host) {
        let makers = by_host.get(&host).map_or(&[][..], Vec::as_slice);
        judge_port(scene, makers, service, &visits, drafts);
    }
}

/// A connection to a docker host.
struct Visit<'a> {
    connection: &'a Connection,
    sighting: &'a Sighting,
    /// The build that was running, the latest where there are several.
    during: Option<usize>,
}

type Visits<'a> = BTreeMap<(HostId, Endpoint), Vec<Visit<'a>>>;

/// Connections to docker hosts on which images were built, by address and port, in the order of time.
fn visits<'a>(scene: &Scene<'a>, by_host: &BTreeMap<HostId, Vec<usize>>) -> Visits<'a> {
    let mut visits = Visits::new();
    for sighting in scene.ledger.inbound() {
        let Some(c) = sighting.connection.as_ref().filter(|c| is_opened(c)) else { continue };
        let to = Endpoint::new(c.responder.ip.to_canonical(), c.responder.port);
        let environment = scene.environments.id_of(to.ip, c.tag);
        let Some(host) = scene.hosts.find(scene.environments, environment, to.ip) else { continue };
        let Some(makers) = by_host.get(&host) else { continue };
        let own = scene.hosts.addresses(host).contains(&c.opener.ip.to_canonical());
        if own || is_api(scene, environment, to) {
            continue;
        }
        let during = running(scene, makers, c.first);
        visits.entry((host, to)).or_default().push(Visit { connection: c, sighting, during });
    }
    visits
        .values_mut()
        .for_each(|list| list.sort_by_key(|v| (v.connection.first, v.connection.id)));
    visits
}

fn is_opened(c: &Connection) -> bool {
    let stands = !matches!(c.state, ConnectionState::Attempted | ConnectionState::Refused);
    c.protocol == Protocol::TCP && stands && c.opener_known != Opener::ByPorts
}

/// The API itself, and what a swarm's nodes say to each other.
fn is_api(scene: &Scene<'_>, environment: EnvironmentId, to: Endpoint) -> bool {
    scene.ledger.daemon_ports.contains(&(environment, to.ip, to.port))
        || scene.policy.docker_ports.contains(&to.port)
        || SWARM_PORTS.contains(&to.port)
}

/// The build that ran at `at` and was started last.
fn running(scene: &Scene<'_>, makers: &[usize], at: Timestamp) -> Option<usize> {
    let maker = |index: usize| scene.makers.get(index);
    let begun = makers.partition_point(|i| maker(*i).is_some_and(|m| m.started <= at));
    let latest = makers.get(..begun)?.iter().rev().take(MAX_OPEN);
    latest.copied().find(|i| maker(*i).is_some_and(|m| at <= m.ended))
}

fn judge_port(
    scene: &Scene<'_>,
    makers: &[usize],
    service: Endpoint,
    visits: &[Visit<'_>],
    drafts: &mut Drafts,
) {
    let forgotten = scene.ledger.inbound_ports.get(&(service.ip, service.port)).copied();
    let forgotten = forgotten.map(|(first, _)| first);
    let forgotten = forgotten.filter(|first| running(scene, makers, *first).is_none());
    let quiet = visits.iter().filter(|visit| visit.during.is_none());
    let quiet = quiet.map(|visit| visit.connection.first);
    let (first, last) = (quiet.clone().chain(forgotten).min(), quiet.max());
    let mut by_maker: BTreeMap<usize, Vec<&Visit<'_>>> = BTreeMap::new();
    for visit in visits {
        if let Some(index) = visit.during {
            by_maker.entry(index).or_default().push(visit);
        }
    }
    for (index, visits) in by_maker {
        let Some(maker) = scene.makers.get(index) else { continue };
        if first.is_some_and(|at| at < maker.started) {
            continue;
        }
        let after = last.is_some_and(|at| at > maker.ended.plus(scene.policy.time_window));
        tell(scene, (index, maker), service, &visits, after, drafts);
    }
}

fn tell(
    scene: &Scene<'_>,
    (index, maker): (usize, &Maker<'_>),
    service: Endpoint,
    visits: &[&Visit<'_>],
    after: bool,
    drafts: &mut Drafts,
) {
    let (Source::Build(held), Some(visit)) = (maker.source, visits.first()) else { return };
    let caller = scene.caller(maker.environment, maker.client, maker.daemon.ip);
    let tie = tie(&held.value, maker.daemon.ip, service);
    let mut severity = match (&tie, caller.is_new()) {
        (Some(_), true) => Severity::High,
        (Some(_), false) => Severity::Medium,
        (None, _) => Severity::Low,
    };
    if after || caller.is_known_builder {
        severity = severity.lowered();
    }
    let c = visit.connection;
    let peer = c.opener.ip.to_canonical();
    let peers: BTreeSet<IpAddr> =
        visits.iter().map(|visit| visit.connection.opener.ip.to_canonical()).collect();
    let others = match (peers.len(), visits.len()) {
        (1, 1) => String::new(),
        (1, times) => format!(" It did so {times} times."),
        (addresses, times) => {
            format!(" There were {times} such connections, from {addresses} addresses.")
        }
    };
    let sum = |index: usize| {
        let each = visits.iter().filter_map(|visit| visit.connection.payload_bytes.get(index));
        bytes(each.fold(0, |sum, count| sum.saturating_add(*count)))
    };
    let place = match service.ip == maker.daemon.ip.to_canonical() {
        true => format!("port {}", service.port),
        false => format!("port {} of {}", service.port, service.ip),
    };
    let title = format!(
        "{peer} connected to {place} on docker host {} during {}",
        maker.daemon.ip,
        maker.title()
    );
    let used = if after {
        "It was used after the build too, as a service of the host would be."
    } else {
        "It was used at no other time."
    };
    let summary = format!(
        "{} asked the Docker API at {} for {}. While it ran, at {}, {peer} connected to port {} of {}.{others} {} went in and {} came out. Nothing was seen to use that port before. {used} {} The caller {}.",
        maker.client,
        maker.daemon,
        maker.title(),
        moment(c.first),
        service.port,
        service.ip,
        sum(0),
        sum(1),
        tie.unwrap_or("Nothing that could be read of the build points to it."),
        standing(&caller)
    );
    let mut plain = Plain::of_maker((index, maker), Rule::BuildInbound, severity, title, summary);
    plain.subject = service.to_string();
    plain.at = c.first;
    plain.last = visits.iter().map(|visit| visit.connection.last).max().unwrap_or(c.last);
    plain.caveats.extend(visits.iter().flat_map(|visit| caveats(visit.connection)));
    let mut evidence = Vec::new();
    for visit in visits.iter().take(MAX_TOLD) {
        merge_evidence(&mut evidence, &visit.sighting.evidence);
    }
    merge_evidence(&mut evidence, maker.evidence);
    plain.evidence = &evidence;
    let visits = visits.iter().take(MAX_CONVERSATIONS).map(|visit| visit.connection.into());
    drafts.add(Draft { conversations: visits.collect(), ..plain.into_draft(scene) });
}

/// What of the build points to that port.
fn tie(build: &Build, daemon: IpAddr, service: Endpoint) -> Option<&'static str> {
    let port = service.port.to_string();
    let texts = build.dockerfile.iter().chain(&build.steps).take(MAX_TEXTS);
    if texts.into_iter().any(|text| names(text, &port)) {
        return Some("The build names that port.");
    }
    if build.network_mode.as_deref() == Some("host") {
        return Some("The build was run in the host's own network.");
    }
    let is_other = service.ip != daemon.to_canonical();
    (is_other && is_container(service.ip)).then_some("The address is a container's own.")
}

/// Docker takes its networks from 172.17.0.0/16 on.
fn is_container(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if matches!(v4.octets(), [172, 17..=31, _, _]))
}

/// Does the number stand there by itself?
fn names(text: &str, port: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == port)
}

fn caveats(c: &Connection) -> BTreeSet<Caveat> {
    [
        (c.midstream, Caveat::Midstream),
        (c.gap_bytes > 0, Caveat::Gaps),
        (c.one_direction(), Caveat::OneDirection),
        (c.opener_known != Opener::Seen, Caveat::OpenerInferred),
    ]
    .into_iter()
    .filter_map(|(is_so, caveat)| is_so.then_some(caveat))
    .collect()
}

/// Management, gossip, and data of overlay networks (Docker Engine, "Open protocols and ports between
/// the hosts").
const SWARM_PORTS: [u16; 3] = [2377, 4789, 7946];
const MAX_OPEN: usize = 64;
const MAX_TOLD: usize = 4;
const MAX_TEXTS: usize = 1_024;
