//! `registry-new`: while an image is made, pulled or run, the host speaks to a registry that is
//! neither known, nor allow-listed, nor public. T1204.003; never low, and no T1612 of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tw_model::{
    ApiCall, Axis, Caveat, Client, DeployKind, Endpoint, FindingDestination, Novelty, RegistryVerb,
    Route, Rule, Scope, Severity,
};

use crate::account::{client, finding_id, unseen};
use crate::destination::{Claimed, Contact, Doubt, Registry};
use crate::draft::{Draft, Drafts, MAX_CONVERSATIONS, merge_evidence};
use crate::environment::EnvironmentId;
use crate::freshness::{Level, level};
use crate::host::HostId;
use crate::scene::Scene;
use crate::text::{list, printable};
use crate::transfer::Transfer;
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
        if is_given_the_benefit(scene, contact, &trigger) {
            continue;
        }
        let subject = (trigger.environment, trigger.daemon.ip, subject_of(contact));
        match found.get_mut(&subject) {
            Some((first, contacts)) => {
                first.owners.extend(trigger.owners);
                first.transfers.extend(trigger.transfers);
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

/// A name that nothing could bear out, in a build by somebody who builds here every day: where the name
/// service is out of sight, every pull looks like this. Anybody else's is told.
fn is_given_the_benefit(scene: &Scene<'_>, contact: &Contact<'_>, trigger: &Trigger<'_>) -> bool {
    let claimed = contact.claimed.as_ref();
    claimed.is_some_and(|claimed| claimed.doubt == Doubt::Unverifiable)
        && scene.caller(trigger.environment, trigger.caller.ip, trigger.daemon.ip).is_known_builder
}

/// Who had the host speak to the registry.
struct Trigger<'a> {
    environment: EnvironmentId,
    daemon: Endpoint,
    caller: Endpoint,
    owners: BTreeSet<Owner>,
    title: String,
    evidence: &'a [tw_model::Evidence],
    /// Indices of the transfers that were seen to be part of it.
    transfers: BTreeSet<usize>,
    /// The host was asked to push.
    pushes: bool,
}

fn trigger<'a>(
    scene: &Scene<'a>,
    contact: &Contact<'_>,
    attribution: Option<&Attribution>,
) -> Option<Trigger<'a>> {
    let spoken = scene.transfers_by_flow.get(&contact.flow).copied();
    let owner = attribution.and_then(|a| a.owners.first().map(|o| (*o, a.phase)));
    let asks = |(owner, phase): &(Owner, Phase)| *phase == Phase::Make || is_service(scene, *owner);
    if let Some((owner, phase)) = owner.filter(asks) {
        let view = scene.owner_view(owner, phase, contact.at)?;
        return Some(Trigger {
            environment: view.environment,
            daemon: view.daemon,
            caller: Endpoint::new(view.client, view.client_port),
            owners: BTreeSet::from([owner]),
            title: view.title,
            evidence: view.evidence,
            transfers: spoken.into_iter().collect(),
            pushes: false,
        });
    }
    let pulls = scene.ledger.calls.values().filter(|held| {
        let call = &held.value;
        (matches!(call.route, Route::ImagePull | Route::ImagePush) || is_plugin_pull(call))
            && call.started <= contact.at
            && contact.at <= call.ended.plus(scene.policy.time_window)
            && scene.hosts.find(scene.environments, held.environment, call.daemon.ip)
                == Some(contact.host)
    });
    let held = pulls.max_by_key(|held| (held.value.started, held.value.id))?;
    let pushes = held.value.route == Route::ImagePush;
    let asked = scene.transfers_by_call.get(&held.value.id).copied();
    let what = asked.and_then(|index| scene.transfers.get(index)).map(Transfer::shown);
    let what = what.map_or_else(String::new, |image| format!(" of {image}"));
    Some(Trigger {
        environment: held.environment,
        daemon: held.value.daemon,
        caller: held.value.client,
        owners: scene.plugin_of_call(held.value.id).into_iter().collect(),
        title: match held.value.route {
            Route::ImagePush => format!("a push{what}"),
            Route::Plugin => format!("an installation of a plugin{what}"),
            _ => format!("a pull{what}"),
        },
        evidence: &held.evidence,
        transfers: spoken.into_iter().chain(asked).collect(),
        pushes,
    })
}

/// A service: what its nodes pull is asked for by no call of its own.
fn is_service(scene: &Scene<'_>, owner: Owner) -> bool {
    let Owner::Life(index) = owner else { return false };
    scene.lives.get(index).is_some_and(|life| life.kind() == DeployKind::Service)
}

/// Docker Engine API v1.43, PluginPull, PluginUpgrade, and GetPluginPrivileges, for which the daemon
/// reads the plugin's configuration.
fn is_plugin_pull(call: &ApiCall) -> bool {
    let path = call.path.as_str();
    let pulls = matches!(path, "/plugins/pull" | "/plugins/privileges");
    call.route == Route::Plugin && (pulls || path.ends_with("/upgrade"))
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
    let of = subject_words(scene, contacts, trigger);
    let runs = runs(scene, contact.host, trigger);
    let severity = if caller.is_new() { Severity::High } else { Severity::Medium };
    let mut summary = format!(
        "During {} that {} asked the daemon at {} for, the host spoke to the registry at {}{of} from {} on. {}",
        trigger.title,
        trigger.caller.ip,
        trigger.daemon,
        printable(&place, 120),
        crate::text::moment(contact.at),
        why(scene, contacts)
    );
    if !runs.is_empty() {
        summary.push_str(started(scene, &runs));
    }
    let caveats = caveats(contacts);
    if let Some(sentence) = unseen(&caveats) {
        summary.push(' ');
        summary.push_str(&sentence);
    }
    let mut evidence = Vec::new();
    for contact in contacts {
        merge_evidence(&mut evidence, &contact.sighting.evidence);
    }
    merge_evidence(&mut evidence, trigger.evidence);
    for transfer in transfers(scene, trigger) {
        merge_evidence(&mut evidence, &transfer.evidence);
    }
    let technique = if trigger.pushes { "T1525" } else { "T1204.003" };
    let deployed = (!runs.is_empty()).then_some("T1610");
    let builds =
        trigger.owners.iter().filter_map(|o| scene.maker(*o)).map(|m| m.id.clone()).collect();
    let finding = tw_model::Finding {
        id: finding_id(Rule::RegistryNew, &environment, trigger.daemon.ip, subject),
        incident: String::new(),
        environment,
        timestamp: contact.at,
        rule: Rule::RegistryNew,
        title: format!(
            "Docker host {} used {} at {}",
            trigger.daemon.ip,
            match contact.freshness.level {
                Level::Unknown => "a registry of which nothing is known,",
                _ => "an unfamiliar registry",
            },
            printable(&place, 120)
        ),
        summary,
        severity,
        verdict: None,
        techniques: [technique].into_iter().chain(deployed).map(str::to_owned).collect(),
        docker_host: trigger.daemon.ip,
        client: Some::<Client>(client(trigger.caller.ip, trigger.caller.port)),
        destination: Some(destination(contact)),
        novelty: Some(novelty(scene, contact, trigger)),
        builds,
        caveats: caveats.into_iter().collect(),
        evidence,
    };
    Some(Draft {
        host: contact.host,
        clients: BTreeSet::from([trigger.caller.ip]),
        owners: trigger.owners.iter().copied().chain(runs).collect(),
        conversations: contacts
            .iter()
            .take(MAX_CONVERSATIONS)
            .map(|c| c.connection.into())
            .collect(),
        last: contacts.iter().map(|c| c.connection.last).max().unwrap_or(finding.timestamp),
        finding,
    })
}

fn destination(contact: &Contact<'_>) -> FindingDestination {
    FindingDestination {
        ip: contact.ip,
        port: Some(contact.port),
        names: contact.names.clone(),
        country: None,
        asn: None,
        via_proxy: contact.via_proxy.clone(),
    }
}

/// Why the registry is not trusted: the one reason that held.
fn why(scene: &Scene<'_>, contacts: &[&Contact<'_>]) -> String {
    let claimed = contacts.iter().find_map(|contact| contact.claimed.as_ref());
    let Some(Claimed { name, doubt }) = claimed else {
        return format!(
            "It is neither known here, nor on the allow list, nor on the list of public registries of {}.",
            scene.lists.public_registries.as_of()
        );
    };
    let reason = match doubt {
        Doubt::Contradicted => "DNS gave this address other names",
        Doubt::Unseen | Doubt::Unverifiable => {
            "no DNS answer was seen that gives this address that name"
        }
    };
    format!(
        "It was called {}, which is a registry that is trusted here, but {reason}.",
        printable(name, 120)
    )
}

/// A failed attempt at TLS hides nothing where the registry was then spoken to in clear.
fn caveats(contacts: &[&Contact<'_>]) -> BTreeSet<Caveat> {
    let mut caveats: BTreeSet<Caveat> =
        contacts.iter().flat_map(|c| c.caveats.iter().copied()).collect();
    if contacts.iter().any(|c| !c.exchanges.is_empty()) {
        caveats.remove(&Caveat::TlsOpaque);
    }
    if contacts.iter().any(|c| c.freshness.unavailable) {
        caveats.insert(Caveat::StoreUnavailable);
    } else if contacts.iter().any(|c| c.freshness.level == Level::Unknown) {
        caveats.insert(Caveat::NoBaseline);
    }
    caveats
}

fn transfers<'s, 'a>(
    scene: &'s Scene<'a>,
    trigger: &'s Trigger<'_>,
) -> impl Iterator<Item = &'s Transfer<'a>> {
    trigger.transfers.iter().filter_map(|index| scene.transfers.get(*index))
}

/// What was asked of the registry: images where their manifests were seen, else repositories.
fn subject_words(scene: &Scene<'_>, contacts: &[&Contact<'_>], trigger: &Trigger<'_>) -> String {
    let images: BTreeSet<String> = transfers(scene, trigger).map(Transfer::shown).collect();
    let images: Vec<String> = images.into_iter().collect();
    if let [image] = images.as_slice()
        && trigger.title.ends_with(&format!(" of {image}"))
    {
        return String::new();
    }
    if !images.is_empty() {
        return format!(" for {}", list(&images, 3));
    }
    let exchanges = contacts.iter().flat_map(|c| &c.exchanges);
    let repositories: BTreeSet<&str> = exchanges.filter_map(|x| repository_of(&x.target)).collect();
    let repositories: Vec<&str> = repositories.into_iter().collect();
    if repositories.is_empty() {
        return String::new();
    }
    format!(" (repository {})", list(&repositories, 3))
}

/// What became of what was pulled.
fn started(scene: &Scene<'_>, runs: &[Owner]) -> &'static str {
    let is_plugin = |owner: &Owner| match owner {
        Owner::Life(index) => {
            scene.lives.get(*index).is_some_and(|life| life.kind() == DeployKind::Plugin)
        }
        Owner::Maker(_) => false,
    };
    if runs.iter().all(is_plugin) {
        " The plugin was then started."
    } else {
        " A container of that image was then started."
    }
}

/// Containers of the pulled images that were started after the pull.
fn runs(scene: &Scene<'_>, host: HostId, trigger: &Trigger<'_>) -> Vec<Owner> {
    let mut runs = Vec::new();
    let pulls = transfers(scene, trigger).filter(|t| t.action.action == RegistryVerb::Pull);
    for pull in pulls {
        for index in scene.lives_by_image.get(&(host, pull.image())).into_iter().flatten() {
            let life = scene.lives.get(*index);
            let began = life.and_then(|life| life.runs.first()).map(|(start, _)| *start);
            if began.is_some_and(|start| start >= pull.action.started) {
                runs.push(Owner::Life(*index));
            }
        }
    }
    runs
}

fn novelty(scene: &Scene<'_>, contact: &Contact<'_>, trigger: &Trigger<'_>) -> Novelty {
    let fresh = &contact.freshness;
    let mut axes = fresh.axes.clone();
    if fresh.level == Level::Environment {
        axes.push(Axis::Registry);
    }
    let digests = transfers(scene, trigger).filter_map(|t| t.answers.digest.as_ref());
    if digests.map(level).any(|level| level == Level::Environment) {
        axes.push(Axis::Image);
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
