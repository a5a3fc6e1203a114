//! `api-recon`: somebody who is strange to the daemon looks around: several different reads within
//! a few minutes. A client that does what clients do (ping, version, then its work) is none. T1613.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tw_model::{ApiCall, Route, Rule};

use crate::draft::Drafts;
use crate::environment::EnvironmentId;
use crate::ledger::Held;
use crate::plain::{Plain, severity_by_caller, standing};
use crate::scene::Scene;

type ByCaller<'a> = BTreeMap<(EnvironmentId, IpAddr, IpAddr), Vec<&'a Held<ApiCall>>>;

pub(super) fn judge(scene: &Scene<'_>, drafts: &mut Drafts) {
    let mut by_caller: ByCaller<'_> = BTreeMap::new();
    for held in scene.ledger.calls.values().filter(|h| is_look(h.value.route)) {
        let key = (held.environment, held.value.client.ip, held.value.daemon.ip);
        by_caller.entry(key).or_default().push(held);
    }
    let workers = workers(scene);
    for ((environment, client, daemon), mut calls) in by_caller {
        let caller = scene.caller(environment, client, daemon);
        let Some(host) = scene.hosts.find(scene.environments, environment, daemon) else {
            continue;
        };
        if !caller.is_strange() {
            continue;
        }
        calls.sort_by_key(|h| (h.value.started, h.value.id));
        let least = if workers.contains(&(environment, client, daemon)) {
            MIN_LOOKS_OF_A_WORKER
        } else {
            MIN_LOOKS
        };
        let Some(looks) = first_burst(&calls, least) else { continue };
        let (Some(first), Some(last)) = (looks.first(), looks.last()) else { continue };
        let routes: BTreeSet<&str> = looks.iter().map(|h| words_for(h.value.route)).collect();
        let routes: Vec<&str> = routes.into_iter().collect();
        let plain = Plain {
            rule: Rule::ApiRecon,
            subject: client.to_string(),
            environment,
            host,
            docker_host: daemon,
            client,
            client_port: first.value.client.port,
            at: first.value.started,
            last: last.value.ended,
            severity: severity_by_caller(&caller),
            techniques: vec!["T1613"],
            title: format!("{client} explored the Docker API of {daemon}"),
            summary: format!(
                "From {} on, {client} read {} from the Docker API at {} within minutes. The caller {}.",
                crate::text::moment(first.value.started),
                crate::text::list(&routes, 8),
                first.value.daemon,
                standing(&caller)
            ),
            about_caller: true,
            builds: Vec::new(),
            caveats: BTreeSet::new(),
            owner: None,
            evidence: &first.evidence,
        };
        drafts.add(plain.into_draft(scene));
    }
}

/// Who did anything but read. Who works has reasons to look first.
fn workers(scene: &Scene<'_>) -> BTreeSet<(EnvironmentId, IpAddr, IpAddr)> {
    let reads = |method: &str| matches!(method, "GET" | "HEAD" | "");
    let calls = scene.ledger.calls.values();
    calls
        .filter(|held| !reads(&held.value.method))
        .map(|held| (held.environment, held.value.client.ip, held.value.daemon.ip))
        .collect()
}

/// The first calls within `BURST` of each other of which `least` are different.
fn first_burst<'s, 'a>(
    calls: &'s [&'a Held<ApiCall>],
    least: usize,
) -> Option<&'s [&'a Held<ApiCall>]> {
    for (start, first) in calls.iter().enumerate() {
        let rest = calls.get(start..)?;
        let end = rest.partition_point(|h| h.value.started <= first.value.started.plus(BURST));
        let burst = rest.get(..end)?;
        let different: BTreeSet<Route> = burst.iter().map(|h| h.value.route).collect();
        if different.len() >= least {
            return Some(burst);
        }
    }
    None
}

/// Reads that tell an intruder what is there. `/_ping` is every client's greeting.
const fn is_look(route: Route) -> bool {
    matches!(
        route,
        Route::Version
            | Route::Info
            | Route::ContainerList
            | Route::ImageList
            | Route::Network
            | Route::Volume
            | Route::Swarm
            | Route::Service
            | Route::Secret
            | Route::Plugin
    )
}

const fn words_for(route: Route) -> &'static str {
    match route {
        Route::Version => "the version",
        Route::Info => "the system information",
        Route::ContainerList => "the list of containers",
        Route::ImageList => "the list of images",
        Route::Network => "networks",
        Route::Volume => "volumes",
        Route::Swarm => "the swarm",
        Route::Service => "services",
        Route::Secret => "secrets",
        Route::Plugin => "plugins",
        _ => "other things",
    }
}

const BURST: Duration = Duration::from_secs(600);
const MIN_LOOKS: usize = 2;
const MIN_LOOKS_OF_A_WORKER: usize = 3;
