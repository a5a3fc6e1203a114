//! `registry-new`: while an image is made, pulled or run, the host speaks to a registry that is
//! neither known, nor allow-listed, nor public. T1204.003; never low, and no T1612 of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tw_model::{
    Axis, Caveat, Client, Endpoint, FindingDestination, Novelty, Route, Rule, Scope, Severity,
};

use crate::account::{client, finding_id, unseen};
use crate::destination::{Contact, Registry};
use crate::draft::{Draft, Drafts, merge_evidence};
use crate::environment::EnvironmentId;
use crate::freshness::Level;
use crate::scene::Scene;
use crate::text::{list, printable};
use crate::window::{Attribution, Owner, Phase};

pub(super) fn judge(scene: &Scene<'_>, drafts: &mut Drafts) {
    let mut found: BTreeMap<Subject, (Trigger<'_>, Vec<&Contact<'_>>)> = BTreeMap::new();
    for (contact, attribution) in &scene.contacts {
        let unfamiliar = contact.registry == Registry::Unfamiliar
            && contact.freshness.level > Level::Host
            && !attribution.as_ref().is_some_and(|a| a.named);
        if !unfamiliar {
            continue;
        }
        let Some(trigger) = trigger(scene, contact, attribution.as_ref()) else { continue };
        let subject = (trigger.environment, trigger.daemon.ip, subject_of(contact));
        match found.get_mut(&subject) {
            Some((first, contacts)) => {
                first.owners.extend(trigger.owners);
                contacts.push(contact);
            }
            None => {
                found.insert(subject, (trigger, vec![contact]));
            }
        }
    }
    for ((_, _, subject), (trigger, contacts)) in &found {
        drafts.extend(draft(scene, subject, contacts, trigger));
    }
}

/// What tells one finding from another: environment, docker host, and the registry's address, or
/// its name where a proxy was asked for it.
type Subject = (EnvironmentId, IpAddr, String);

fn subject_of(contact: &Contact<'_>) -> String {
    let name = || contact.names.first().map_or_else(String::new, |n| n.name.clone());
    contact.ip.map_or_else(name, |ip| ip.to_string())
}

/// Who had the host speak to the registry.
struct Trigger<'a> {
    environment: EnvironmentId,
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

fn draft(
    scene: &Scene<'_>,
    subject: &str,
    contacts: &[&Contact<'_>],
    trigger: &Trigger<'_>,
) -> Option<Draft> {
    let contact = contacts.first()?;
    let caller = scene.caller(trigger.environment, trigger.caller.ip, trigger.daemon.ip);
    let environment = scene.environments.name(trigger.environment).to_owned();
    let place = match contact.ip {
        Some(ip) => Endpoint::new(ip, contact.port).to_string(),
        None => subject.to_owned(),
    };
    let exchanges = contacts.iter().flat_map(|c| &c.exchanges);
    let repositories: BTreeSet<&str> = exchanges.filter_map(|x| repository_of(&x.target)).collect();
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
    let caveats: BTreeSet<Caveat> =
        contacts.iter().flat_map(|c| c.caveats.iter().copied()).collect();
    if let Some(sentence) = unseen(&caveats) {
        summary.push(' ');
        summary.push_str(&sentence);
    }
    let mut evidence = Vec::new();
    for contact in contacts {
        merge_evidence(&mut evidence, &contact.sighting.evidence);
    }
    merge_evidence(&mut evidence, trigger.evidence);
    let builds =
        trigger.owners.iter().filter_map(|o| scene.maker(*o)).map(|m| m.id.clone()).collect();
    let finding = tw_model::Finding {
        id: finding_id(Rule::RegistryNew, &environment, trigger.daemon.ip, subject),
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
        caveats: caveats.into_iter().collect(),
        evidence,
    };
    Some(Draft {
        host: contact.host,
        clients: BTreeSet::from([trigger.caller.ip]),
        owners: trigger.owners.clone(),
        last: contacts.iter().map(|c| c.connection.last).max().unwrap_or(finding.timestamp),
        finding,
    })
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
