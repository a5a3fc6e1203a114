//! A build names a host that is new, and nothing went there: the step was not reached, the fetch
//! went another way, or it was not seen. Told at low, without an address.

use std::collections::BTreeSet;

use tw_model::{
    Axis, DestinationName, FindingDestination, NameOrigin, Novelty, Rule, Scope, Severity, Verdict,
};

use crate::account::{client, finding_id};
use crate::destination::Contact;
use crate::draft::{Draft, Drafts, merge_evidence};
use crate::freshness::{Freshness, Level, level};
use crate::ledger::NamedHost;
use crate::maker::Maker;
use crate::scene::Scene;
use crate::text::printable;
use crate::window::Owner;

pub(super) fn judge(scene: &Scene<'_>, drafts: &mut Drafts) {
    for (index, maker) in scene.makers.iter().enumerate() {
        let contacts: Vec<&Contact<'_>> = contacts_of(scene, maker).collect();
        let nameless =
            contacts.iter().any(|c| c.names.is_empty() && c.freshness.level != Level::Known);
        for named in scene.ledger.named_hosts.get(maker.id).into_iter().flatten() {
            let new = matches!(level(&named.standing), Level::Environment | Level::Unknown);
            let contacted = contacts.iter().any(|c| is_it(named, c));
            let cannot_tell = named.ip.is_none() && nameless;
            let registry = scene.lists.public_registries.has(&named.host);
            if new && !contacted && !cannot_tell && !registry {
                drafts.add(draft(scene, index, maker, named));
            }
        }
    }
}

/// What the host contacted while the maker's window was open, whosever it was.
fn contacts_of<'s, 'a>(
    scene: &'s Scene<'a>,
    maker: &'s Maker<'a>,
) -> impl Iterator<Item = &'s Contact<'a>> {
    let until = maker.ended.plus(scene.policy.deploy_window);
    let first = scene.contacts.partition_point(|(c, _)| c.at < maker.opened);
    let later = scene.contacts.iter().skip(first).map(|(contact, _)| contact);
    later.take_while(move |c| c.at <= until).filter(|c| c.host == maker.host)
}

fn is_it(named: &NamedHost, contact: &Contact<'_>) -> bool {
    match named.ip {
        Some(ip) => contact.ip == Some(ip.to_canonical()),
        None => contact.names.iter().any(|n| n.name == named.host),
    }
}

fn draft(scene: &Scene<'_>, index: usize, maker: &Maker<'_>, named: &NamedHost) -> Draft {
    let environment = scene.environments.name(maker.environment).to_owned();
    let subject = format!("named {}", named.host);
    let is_new = level(&named.standing) == Level::Environment;
    let host = printable(&named.host, 120);
    let mut evidence = Vec::new();
    merge_evidence(&mut evidence, maker.evidence);
    let finding = tw_model::Finding {
        id: finding_id(Rule::BuildNewDestination, &environment, maker.daemon.ip, &subject),
        incident: String::new(),
        environment,
        timestamp: maker.started,
        rule: Rule::BuildNewDestination,
        title: format!(
            "{} on docker host {} names {host}, which was not contacted",
            crate::text::capitalised(&maker.title()),
            maker.daemon.ip
        ),
        summary: format!(
            "{} asked the Docker API at {} for {}, whose text names {host}. No connection of the host to it was seen: the step may not have been reached, the fetch may have gone another way, or it was not captured.",
            maker.client,
            maker.daemon,
            maker.title()
        ),
        severity: if is_new { Severity::Low } else { Severity::Info },
        verdict: Some(Verdict::Noted),
        techniques: vec!["T1612".to_owned()],
        docker_host: maker.daemon.ip,
        client: Some(client(maker.client, maker.client_port)),
        destination: Some(FindingDestination {
            names: vec![DestinationName { name: named.host.clone(), from: NameOrigin::Dockerfile }],
            ..FindingDestination::default()
        }),
        novelty: Some(novelty(named)),
        builds: vec![maker.id.clone()],
        caveats: maker.caveats.to_vec(),
        evidence,
    };
    Draft {
        finding,
        host: maker.host,
        clients: BTreeSet::from([maker.client]),
        owners: BTreeSet::from([Owner::Maker(index)]),
        conversations: Vec::new(),
        last: maker.ended,
    }
}

fn novelty(named: &NamedHost) -> Novelty {
    let axis = if named.ip.is_some() { Axis::Address } else { Axis::Name };
    let fresh: Freshness = crate::freshness::from_answer(&named.standing, axis);
    Novelty {
        axes: fresh.axes,
        scope: Scope::Environment,
        first_seen: fresh.first_seen.map(|(at, _)| at),
        first_seen_by: fresh.first_seen.and_then(|(_, by)| by),
        watched_since: fresh.watched_since,
        baseline: fresh.baseline,
    }
}
