//! What an inventory says for and against the mitigations that ATT&CK names for T1612. Each of the
//! three lists says only what was seen or could not be: absence of evidence is in none of the first two.

use std::collections::BTreeSet;

use tw_model::{DeployKind, Risk};

use super::inventory::{CallerUse, ContainerUse, Daemon, ImageUse, ImageVerb, KnownBy, Mitigation};
use crate::text::list;

/// For one daemon, with what was done on its host.
pub(super) fn of(
    daemon: &Daemon,
    images: &[ImageUse],
    containers: &[ContainerUse],
) -> Vec<Mitigation> {
    let here =
        |environment: &str, host| environment == daemon.environment && host == daemon.daemon.ip;
    let images: Vec<&ImageUse> =
        images.iter().filter(|one| here(&one.environment, one.docker_host)).collect();
    let containers: Vec<&ContainerUse> =
        containers.iter().filter(|one| here(&one.environment, one.docker_host)).collect();
    vec![
        access(daemon),
        segmentation(daemon),
        audited(daemon, &images),
        privileges(daemon, &containers),
    ]
}

/// M1035: TLS with client certificates, and nobody let in without.
fn access(daemon: &Daemon) -> Mitigation {
    let mut told = mitigation("M1035", "Limit Access to Resource Over Network");
    let (transport, certificates) = (&daemon.transport, daemon.client_certificates);
    let outside: Vec<String> = daemon
        .callers
        .iter()
        .filter(|caller| caller.outside && caller.clear_calls > 0)
        .map(|caller| caller.ip.to_string())
        .collect();
    if transport.open_calls > 0 {
        let from = match outside.as_slice() {
            [] => String::new(),
            some => {
                let inside = daemon.callers.iter().any(|c| !c.outside && c.clear_calls > 0);
                let too = if inside { " too" } else { "" };
                format!(", to callers outside the environment's networks{too} ({})", list(some, 8))
            }
        };
        told.against.push(format!(
            "answers in clear, without credentials: {}{from}",
            calls(transport.open_calls)
        ));
    } else if transport.clear_calls > 0 {
        told.against.push(format!("is asked in clear: {}", calls(transport.clear_calls)));
    }
    if certificates.not_asked > 0 {
        told.against.push(format!(
            "asks for no client certificate: {}",
            handshakes(certificates.not_asked)
        ));
    }
    let sealed = match transport.tls_connections {
        0 => transport.tls_calls,
        connections => connections,
    };
    if sealed > 0 {
        let what = if transport.tls_connections > 0 { "connection" } else { "call" };
        told.supports.push(format!("is spoken to over TLS: {}", plural(sealed, what)));
    }
    if certificates.given > 0 {
        told.supports.push(format!(
            "asks for client certificates and got one: {}",
            handshakes(certificates.given)
        ));
    }
    if certificates.withheld.saturating_add(certificates.asked) > 0 {
        let count = certificates.withheld.saturating_add(certificates.asked);
        told.supports.push(format!("asks for client certificates: {}", handshakes(count)));
    }
    if daemon.operations.refused() > 0 {
        told.supports.push(format!("refuses: {}", calls(daemon.operations.refused())));
    }
    if certificates.unknown > 0 {
        told.unseen.push(format!(
            "whether client certificates are asked for: {} (TLS 1.3 without keys, a resumed session or missing bytes)",
            handshakes(certificates.unknown)
        ));
    }
    if transport.recorded_conversations > 0 {
        told.unseen.push(format!(
            "what {} carried that only flow records tell of, and whether in TLS",
            plural(transport.recorded_conversations, "conversation")
        ));
    }
    if daemon.known_by == KnownBy::Requests {
        told.unseen.push("whether it answers: no answer was captured".to_owned());
    }
    told.unseen.push("the local socket and ssh".to_owned());
    told
}

/// M1030: from where it is reached.
fn segmentation(daemon: &Daemon) -> Mitigation {
    let mut told = mitigation("M1030", "Network Segmentation");
    let mut networks: Vec<String> =
        daemon.callers.iter().filter_map(|caller| caller.network.clone()).collect();
    networks.sort();
    networks.dedup();
    let reached = |caller: &&CallerUse| caller.outside;
    let outside: Vec<String> =
        daemon.callers.iter().filter(reached).map(|caller| caller.ip.to_string()).collect();
    if !outside.is_empty() {
        told.against
            .push(format!("is reached from outside the environment: {}", list(&outside, 8)));
    }
    match networks.len() {
        0 => {}
        1 if outside.is_empty() => {
            told.supports.push(format!("all callers are in {}", list(&networks, 1)));
        }
        1 => {}
        count => {
            told.against.push(format!("is reached from {count} networks: {}", list(&networks, 8)))
        }
    }
    if daemon.attempts.count > 0 {
        told.supports.push(format!(
            "{} to connect came to nothing, from {}",
            plural(daemon.attempts.count, "attempt"),
            plural(daemon.attempts.addresses, "address")
        ));
    }
    if daemon.callers_not_listed > 0 {
        told.unseen
            .push(format!("{} beyond the limit", plural(daemon.callers_not_listed, "caller")));
    }
    told.unseen.push(
        "who else could reach it but did not try, or tried out of sight of this capture".to_owned(),
    );
    told
}

/// M1047: are the images that are deployed known ones?
fn audited(daemon: &Daemon, images: &[&ImageUse]) -> Mitigation {
    let mut told = mitigation("M1047", "Audit");
    let deployed: Vec<&&ImageUse> =
        images.iter().filter(|one| one.action == ImageVerb::Deployed).collect();
    let names = |wanted: &dyn Fn(&ImageUse) -> bool| -> Vec<String> {
        let mut names: Vec<String> =
            images.iter().filter(|one| wanted(one)).map(|one| shown(one)).collect();
        names.dedup();
        names
    };
    let sure = |one: &ImageUse| one.count > one.failed.saturating_add(one.unconfirmed);
    let made = names(&|one| is_made(one) && sure(one));
    if !made.is_empty() {
        told.against.push(format!("images were made on the host itself: {}", list(&made, 8)));
    }
    let asked = names(&|one| is_made(one) && !sure(one) && one.unconfirmed > 0);
    if !asked.is_empty() {
        told.unseen.push(format!("whether these were made, as was asked: {}", list(&asked, 8)));
    }
    let own = images.iter().filter(|one| is_made(one)).filter_map(|one| one.digest.as_deref());
    let own: BTreeSet<&str> = own.collect();
    let made_here =
        |one: &ImageUse| one.digest.as_deref().is_some_and(|digest| own.contains(digest));
    let deployed_own = names(&|one| one.action == ImageVerb::Deployed && made_here(one));
    if !deployed_own.is_empty() {
        told.against
            .push(format!("what was made on the host was deployed: {}", list(&deployed_own, 8)));
    }
    let moved =
        names(&|one| one.action == ImageVerb::Deployed && one.digest.is_some() && !made_here(one));
    if !moved.is_empty() {
        told.supports
            .push(format!("the digest is known of what was deployed: {}", list(&moved, 8)));
    }
    let inferred = images.iter().filter(|one| one.action == ImageVerb::BuildInferred).count();
    if inferred > 0 {
        told.unseen
            .push(format!("what looks like a build: {}", plural(count(inferred), "conversation")));
    }
    let unknown = names(&|one| one.action == ImageVerb::Deployed && one.digest.is_none());
    if !unknown.is_empty() {
        told.unseen
            .push(format!("where these come from, and their digests: {}", list(&unknown, 8)));
    }
    if deployed.is_empty() && daemon.known_by != KnownBy::Answers {
        told.unseen.push("which images are deployed".to_owned());
    }
    told.unseen.push("what is in the images".to_owned());
    told
}

/// M1026: containers run as whom, and with what.
fn privileges(daemon: &Daemon, containers: &[&ContainerUse]) -> Mitigation {
    let mut told = mitigation("M1026", "Privileged Account Management");
    let has = |one: &ContainerUse, risk: Risk| one.risks.contains(&risk);
    let names = |wanted: &dyn Fn(&ContainerUse) -> bool| -> Vec<String> {
        containers.iter().filter(|one| wanted(one)).map(|one| called(one)).collect()
    };
    let grave: Vec<String> = containers
        .iter()
        .filter_map(|one| {
            let risks = one.risks.iter().filter(|risk| !is_mild(**risk));
            let risks: Vec<&str> = risks.map(|risk| risk.phrase()).collect();
            (!risks.is_empty()).then(|| format!("{} with {}", called(one), list(&risks, 12)))
        })
        .collect();
    for line in grave.iter().take(MAX_LINES) {
        told.against.push(line.clone());
    }
    if grave.len() > MAX_LINES {
        let more = count(grave.len().saturating_sub(MAX_LINES));
        told.against.push(format!("{} more that reach the host", plural(more, "container")));
    }
    let root = names(&|one| has(one, Risk::RootUser));
    if !root.is_empty() {
        told.against.push(format!(
            "root-user: {} (no other user is named; the image's own was not seen)",
            list(&root, 8)
        ));
    }
    let other = names(&|one| one.created && !has(one, Risk::RootUser) && one.user.is_some());
    if !other.is_empty() {
        told.supports.push(format!("run as another user than root: {}", list(&other, 8)));
    }
    let unseen = names(&|one| !one.created);
    if !unseen.is_empty() {
        told.unseen.push(format!("how these were created: {}", list(&unseen, 8)));
    }
    if containers.is_empty() && daemon.known_by != KnownBy::Answers {
        told.unseen.push("which containers run".to_owned());
    }
    told.unseen.push("containers that were there before, or came over the local socket".to_owned());
    told
}

const fn is_made(one: &ImageUse) -> bool {
    matches!(
        one.action,
        ImageVerb::Built | ImageVerb::Committed | ImageVerb::Imported | ImageVerb::Loaded
    )
}

fn mitigation(id: &'static str, name: &'static str) -> Mitigation {
    Mitigation { id, name, ..Mitigation::default() }
}

const fn is_mild(risk: Risk) -> bool {
    matches!(risk, Risk::RootUser | Risk::RestartAlways)
}

fn shown(one: &ImageUse) -> String {
    if one.name.is_empty() { "an image without a name".to_owned() } else { one.name.clone() }
}

fn called(one: &ContainerUse) -> String {
    let name = one.name.as_deref().or(one.id.as_deref()).unwrap_or("without a name");
    let name = crate::text::printable(name, 40);
    if one.kind == DeployKind::Container { name } else { format!("{} {name}", one.kind.noun()) }
}

fn calls(count: u64) -> String {
    plural(count, "call")
}

fn handshakes(count: u64) -> String {
    plural(count, "handshake")
}

fn plural(count: u64, noun: &str) -> String {
    match (count, noun.ends_with('s')) {
        (1, _) => format!("1 {noun}"),
        (_, true) => format!("{count} {noun}es"),
        (_, false) => format!("{count} {noun}s"),
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Containers that are named one by one.
const MAX_LINES: usize = 16;
