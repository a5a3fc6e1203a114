//! `registry-new`: while an image is made, pulled or run, the host speaks to a registry that is
//! neither known, nor allow-listed, nor public. T1204.003; never low, and no T1612 of its own.

use std::collections::BTreeSet;

use tw_model::{Axis, Client, Endpoint, FindingDestination, Novelty, Route, Rule, Scope, Severity};

use crate::account::{client, finding_id, unseen};
use crate::destination::{Contact, Level, Registry};
use crate::draft::{Draft, Drafts, merge_evidence};
use crate::scene::Scene;
use crate::text::{list, printable};
use crate::window::{Attribution, Owner, Phase};

pub(super) fn judge(scene: &Scene<'_>, drafts: &mut Drafts) {
    for (contact, attribution) in &scene.contacts {
        let unfamiliar = contact.registry == Registry::Unfamiliar
            && contact.freshness.level > Level::Host
            && !attribution.as_ref().is_some_and(|a| a.named);
        let Some(trigger) =
            unfamiliar.then(|| trigger(scene, contact, attribution.as_ref())).flatten()
        else {
            continue;
        };
        drafts.add(draft(scene, contact, &trigger));
    }
}

/// Who had the host speak to the registry.
struct Trigger<'a> {
    environment: crate::environment::EnvironmentId,
    daemon: Endpoint,
    caller: Endpoint,
    owners: BTreeSet<Owner>,
    title: String,
    evidence: &'a [tw_model::Evidence],
}

fn trigger<'a>(
    scene: &Scene<'a>,
    contact: &Contact<'_>,
    attribution: Option<&Attribution>,
) -> Option<Trigger<'a>> {
    let owner = attribution.and_then(|a| a.owners.first().map(|o| (*o, a.phase)));
    if let Some((owner, Phase::Make)) = owner {
        let view = scene.owner_view(owner, Phase::Make, contact.at)?;
        return Some(Trigger {
            environment: view.environment,
            daemon: view.daemon,
            caller: Endpoint::new(view.client, view.client_port),
            owners: BTreeSet::from([owner]),
            title: view.title,
            evidence: view.evidence,
        });
    }
    let pulls = scene.ledger.calls.values().filter(|held| {
        let call = &held.value;
        matches!(call.route, Route::ImagePull | Route::ImagePush)
            && call.started <= contact.at
            && contact.at <= call.ended.plus(scene.policy.time_window)
            && scene.hosts.find(scene.environments, held.environment, call.daemon.ip)
                == Some(contact.host)
    });
    let held = pulls.max_by_key(|held| (held.value.started, held.value.id))?;
    let pushes = held.value.route == Route::ImagePush;
    Some(Trigger {
        environment: held.environment,
        daemon: held.value.daemon,
        caller: held.value.client,
        owners: BTreeSet::new(),
        title: if pushes { "a push".to_owned() } else { "a pull".to_owned() },
        evidence: &held.evidence,
    })
}

fn draft(scene: &Scene<'_>, contact: &Contact<'_>, trigger: &Trigger<'_>) -> Draft {
    let caller = scene.caller(trigger.environment, trigger.caller.ip, trigger.daemon.ip);
    let environment = scene.environments.name(trigger.environment).to_owned();
    let place = contact.ip.map_or_else(
        || contact.names.first().map_or_else(String::new, |n| n.name.clone()),
        |ip| Endpoint::new(ip, contact.port).to_string(),
    );
    let repositories: BTreeSet<&str> =
        contact.exchanges.iter().filter_map(|x| repository_of(&x.target)).collect();
    let repositories: Vec<&str> = repositories.into_iter().collect();
    let of = if repositories.is_empty() {
        String::new()
    } else {
        format!(" (repository {})", list(&repositories, 3))
    };
    let severity = if caller.is_new() { Severity::High } else { Severity::Medium };
    let mut summary = format!(
        "During {} that {} asked the daemon at {} for, the host spoke to the registry at {}{of} from {} on. It is neither known here, nor on the allow list, nor on the list of public registries of {}, or its name is not borne out by DNS.",
        trigger.title,
        trigger.caller.ip,
        trigger.daemon,
        printable(&place, 120),
        contact.at,
        scene.lists.public_registries.as_of()
    );
    if let Some(sentence) = unseen(&contact.caveats) {
        summary.push(' ');
        summary.push_str(&sentence);
    }
    let mut evidence = Vec::new();
    merge_evidence(&mut evidence, &contact.sighting.evidence);
    merge_evidence(&mut evidence, trigger.evidence);
    let builds =
        trigger.owners.iter().filter_map(|o| scene.maker(*o)).map(|m| m.id.clone()).collect();
    let subject = contact.ip.map_or_else(|| place.clone(), |ip| ip.to_string());
    let finding = tw_model::Finding {
        id: finding_id(Rule::RegistryNew, &environment, trigger.daemon.ip, &subject),
        incident: String::new(),
        environment,
        timestamp: contact.at,
        rule: Rule::RegistryNew,
        title: format!(
            "Docker host {} used an unfamiliar registry at {}",
            trigger.daemon.ip,
            printable(&place, 120)
        ),
        summary,
        severity,
        verdict: None,
        techniques: vec!["T1204.003".to_owned()],
        docker_host: trigger.daemon.ip,
        client: Some::<Client>(client(trigger.caller.ip, trigger.caller.port)),
        destination: Some(FindingDestination {
            ip: contact.ip,
            port: Some(contact.port),
            names: contact.names.clone(),
            country: None,
            asn: None,
            via_proxy: contact.via_proxy.clone(),
        }),
        novelty: Some(novelty(contact)),
        builds,
        caveats: contact.caveats.iter().copied().collect(),
        evidence,
    };
    Draft {
        finding,
        host: contact.host,
        clients: BTreeSet::from([trigger.caller.ip]),
        owners: trigger.owners.clone(),
        last: contact.connection.last,
    }
}

fn novelty(contact: &Contact<'_>) -> Novelty {
    let fresh = &contact.freshness;
    let mut axes = fresh.axes.clone();
    if fresh.level == Level::Environment {
        axes.push(Axis::Registry);
    }
    Novelty {
        axes,
        scope: Scope::Environment,
        first_seen: fresh.first_seen.map(|(at, _)| at),
        first_seen_by: fresh.first_seen.and_then(|(_, by)| by),
        watched_since: fresh.watched_since,
        baseline: fresh.baseline,
    }
}

/// `k8s/pause` of `/v2/k8s/pause/manifests/3.9`.
pub(crate) fn repository_of(target: &str) -> Option<&str> {
    let path = target.split(['?', '#']).next()?.strip_prefix("/v2/")?;
    let end = ["/manifests/", "/blobs/", "/tags/list", "/referrers/"]
        .iter()
        .filter_map(|p| path.find(p))
        .min()?;
    path.get(..end).filter(|name| !name.is_empty())
}
