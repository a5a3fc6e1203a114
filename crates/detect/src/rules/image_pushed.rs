//! `image-pushed`: a daemon pushes an image for somebody who is strange to it, or an image that was
//! just made there by somebody who is no builder. T1525.

use std::collections::BTreeSet;

use tw_model::{
    ApiCall, Caveat, DestinationName, Endpoint, Evidence, FindingDestination, NameOrigin,
    RegistryVerb, Route, Rule, Severity,
};

use crate::Knowledge;
use crate::draft::{Draft, Drafts};
use crate::environment::EnvironmentId;
use crate::freshness::Level;
use crate::names::host_of;
use crate::plain::{Plain, standing};
use crate::scene::{Caller, Scene};
use crate::text::printable;
use crate::transfer::Transfer;
use crate::window::Owner;

pub(super) fn judge(scene: &Scene<'_>, drafts: &mut Drafts) {
    for held in scene.ledger.calls.values().filter(|h| h.value.route == Route::ImagePush) {
        let index = scene.transfers_by_call.get(&held.value.id);
        let transfer = index.and_then(|index| scene.transfers.get(*index));
        drafts.extend(asked(scene, &held.value, held.environment, &held.evidence, transfer));
    }
    let pushes = scene.transfers.iter().filter(|t| t.action.action == RegistryVerb::Push);
    for transfer in pushes.filter(|t| t.action.call.is_none()) {
        drafts.extend(unasked(scene, transfer));
    }
}

/// The parts of a push that a finding tells.
struct Push<'p, 'a> {
    environment: EnvironmentId,
    daemon: Endpoint,
    client: Endpoint,
    at: tw_model::Timestamp,
    last: tw_model::Timestamp,
    image: String,
    transfer: Option<&'p Transfer<'a>>,
    evidence: &'p [Evidence],
}

/// A push that an API call asked for.
fn asked(
    scene: &Scene<'_>,
    call: &ApiCall,
    environment: EnvironmentId,
    evidence: &[Evidence],
    transfer: Option<&Transfer<'_>>,
) -> Option<Draft> {
    let refused = call.status.is_some_and(|status| status >= 400);
    if refused || transfer.is_some_and(|t| t.action.failed && !t.action.confirmed) {
        return None;
    }
    let path = call.path.strip_prefix("/images/").and_then(|p| p.strip_suffix("/push"));
    let push = Push {
        environment,
        daemon: call.daemon,
        client: call.client,
        at: call.started,
        last: transfer.map_or(call.ended, |t| t.action.ended.max(call.ended)),
        image: transfer.map_or_else(|| printable(path.unwrap_or(&call.path), 120), Transfer::image),
        transfer,
        evidence: transfer.map_or(evidence, |t| &t.evidence),
    };
    push.draft(scene)
}

/// A push of an image that was made here by a call, though no call for the push was seen.
fn unasked(scene: &Scene<'_>, transfer: &Transfer<'_>) -> Option<Draft> {
    let maker = scene.makers.get(transfer.made_by?)?;
    let push = Push {
        environment: maker.environment,
        daemon: maker.daemon,
        client: Endpoint::new(maker.client, maker.client_port),
        at: transfer.action.started,
        last: transfer.action.ended,
        image: transfer.image(),
        transfer: Some(transfer),
        evidence: &transfer.evidence,
    };
    push.draft(scene)
}

impl Push<'_, '_> {
    fn draft(&self, scene: &Scene<'_>) -> Option<Draft> {
        let caller = scene.caller(self.environment, self.client.ip, self.daemon.ip);
        let host = scene.hosts.find(scene.environments, self.environment, self.daemon.ip)?;
        let index = self.transfer.and_then(|t| t.made_by);
        let maker = index.and_then(|index| scene.makers.get(index));
        let severity = severity(&caller, maker.is_some())?;
        let image = printable(&self.image, 160);
        let mut summary = format!(
            "At {} the daemon at {} pushed {image} for {}, where others may pull it from. The caller {}.",
            crate::text::moment(self.at),
            self.daemon,
            self.client.ip,
            standing(&caller)
        );
        if let Some(maker) = maker {
            summary.push_str(&format!(" The image comes from {} here.", maker.title()));
        }
        let repository = self.transfer.map(|t| &t.answers.repository.environment);
        if repository == Some(&Knowledge::Known) {
            summary.push_str(" The repository is one that hosts here already use.");
        }
        let plain = Plain {
            rule: Rule::ImagePushed,
            subject: format!("{} {}", self.client.ip, self.image),
            environment: self.environment,
            host,
            docker_host: self.daemon.ip,
            client: self.client.ip,
            client_port: self.client.port,
            at: self.at,
            last: self.last,
            severity,
            techniques: vec!["T1525"],
            title: format!(
                "{} had docker host {} push the image {image}",
                self.client.ip, self.daemon.ip
            ),
            summary,
            about_caller: true,
            builds: maker.map(|maker| maker.id.clone()).into_iter().collect(),
            caveats: self.caveats(),
            owner: index.map(Owner::Maker),
            evidence: self.evidence,
        };
        let mut draft = plain.into_draft(scene);
        draft.finding.destination = self.transfer.and_then(destination);
        Some(draft)
    }

    /// A push that only the registry protocol shows, and that nobody answered.
    fn caveats(&self) -> BTreeSet<Caveat> {
        let silent = self.transfer.is_some_and(|t| t.action.tls.is_some() && !t.action.confirmed);
        silent.then_some(Caveat::OneDirection).into_iter().collect()
    }
}

/// Nothing, where a known builder pushes, or where a caller that is no stranger pushes what it did
/// not make.
fn severity(caller: &Caller, made_here: bool) -> Option<Severity> {
    if caller.is_known_builder {
        return None;
    }
    match (caller.is_new(), caller.is_strange(), made_here) {
        (true, _, true) => Some(Severity::High),
        (true, _, false) | (_, true, true) => Some(Severity::Medium),
        (_, true, false) => Some(Severity::Low),
        (_, false, true) if caller.level != Level::Unknown => Some(Severity::Low),
        (_, false, _) => None,
    }
}

/// The registry, where the host was seen to speak to it.
fn destination(transfer: &Transfer<'_>) -> Option<FindingDestination> {
    let action = &transfer.action;
    let ip = action.registry_ip?;
    let (name, port) = host_of(&action.registry)?;
    let named = name.parse::<std::net::IpAddr>().is_err();
    let names = named.then_some(DestinationName { name, from: NameOrigin::Http });
    Some(FindingDestination {
        ip: Some(ip),
        port,
        names: names.into_iter().collect(),
        country: None,
        asn: None,
        via_proxy: None,
    })
}
