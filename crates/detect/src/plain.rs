//! Findings that are about a caller and what it did, not about a destination.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tw_model::{
    Axis, BuildId, Caveat, Evidence, Finding, Novelty, Rule, Scope, Severity, Timestamp,
};

use crate::account::{client, finding_id, unseen};
use crate::draft::{Draft, merge_evidence};
use crate::environment::EnvironmentId;
use crate::freshness::Level;
use crate::host::HostId;
use crate::maker::Maker;
use crate::scene::{Caller, Scene};
use crate::window::Owner;

/// The parts of such a finding.
pub(crate) struct Plain<'a> {
    pub(crate) rule: Rule,
    /// What tells it from another finding of that rule on that host.
    pub(crate) subject: String,
    pub(crate) environment: EnvironmentId,
    pub(crate) host: HostId,
    pub(crate) docker_host: IpAddr,
    pub(crate) client: IpAddr,
    pub(crate) client_port: u16,
    pub(crate) at: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) severity: Severity,
    pub(crate) techniques: Vec<&'static str>,
    pub(crate) title: String,
    pub(crate) summary: String,
    /// Is the caller what is new about it?
    pub(crate) about_caller: bool,
    pub(crate) builds: Vec<BuildId>,
    pub(crate) caveats: BTreeSet<Caveat>,
    pub(crate) owner: Option<Owner>,
    pub(crate) evidence: &'a [Evidence],
}

impl<'a> Plain<'a> {
    /// About the caller of something that makes an image: one finding for each caller.
    pub(crate) fn of_maker(
        (index, maker): (usize, &Maker<'a>),
        rule: Rule,
        severity: Severity,
        title: String,
        summary: String,
    ) -> Self {
        Self {
            rule,
            subject: maker.client.to_string(),
            environment: maker.environment,
            host: maker.host,
            docker_host: maker.daemon.ip,
            client: maker.client,
            client_port: maker.client_port,
            at: maker.started,
            last: maker.ended,
            severity,
            techniques: vec!["T1612"],
            title,
            summary,
            about_caller: true,
            builds: vec![maker.id.clone()],
            caveats: maker.caveats.iter().copied().collect(),
            owner: Some(Owner::Maker(index)),
            evidence: maker.evidence,
        }
    }

    pub(crate) fn into_draft(self, scene: &Scene<'_>) -> Draft {
        let environment = scene.environments.name(self.environment).to_owned();
        let caller = scene.caller(self.environment, self.client, self.docker_host);
        let mut caveats = self.caveats;
        if self.about_caller && caller.level == Level::Unknown {
            caveats.insert(Caveat::NoBaseline);
        }
        let mut summary = self.summary;
        if let Some(sentence) = unseen(&caveats) {
            summary.push(' ');
            summary.push_str(&sentence);
        }
        let mut evidence = Vec::new();
        merge_evidence(&mut evidence, self.evidence);
        let finding = Finding {
            id: finding_id(self.rule, &environment, self.docker_host, &self.subject),
            incident: String::new(),
            environment,
            timestamp: self.at,
            rule: self.rule,
            title: self.title,
            summary,
            severity: self.severity,
            verdict: None,
            techniques: self.techniques.into_iter().map(str::to_owned).collect(),
            docker_host: self.docker_host,
            client: Some(client(self.client, self.client_port)),
            destination: None,
            novelty: self.about_caller.then(|| caller_novelty(&caller)),
            builds: self.builds,
            caveats: caveats.into_iter().collect(),
            evidence,
        };
        Draft {
            finding,
            host: self.host,
            clients: BTreeSet::from([self.client]),
            owners: self.owner.into_iter().collect(),
            conversations: Vec::new(),
            last: self.last,
        }
    }
}

fn caller_novelty(caller: &Caller) -> Novelty {
    Novelty {
        axes: if caller.is_new() { vec![Axis::Caller] } else { Vec::new() },
        scope: Scope::Environment,
        first_seen: caller.first_seen,
        first_seen_by: None,
        watched_since: caller.watched_since,
        baseline: caller.baseline,
    }
}

/// What a sentence that begins with "The caller" goes on with.
pub(crate) fn standing(caller: &Caller) -> &'static str {
    match (caller.level, caller.is_known_builder, caller.outside) {
        (_, true, _) => "is a known builder of this daemon",
        (Level::Environment, _, true) => {
            "was never seen at this daemon before, and is outside the environment's networks"
        }
        (Level::Environment, _, false) => "was never seen at this daemon before",
        (Level::Known | Level::Host, _, _) => "is known at this daemon, but not as a builder",
        (Level::Unknown, _, true) => {
            "is one of which nothing is known, outside the environment's networks"
        }
        (Level::Unknown, _, false) => "is one of which nothing is known",
    }
}

/// Base for what a strange caller does: medium where it is new, one step down where that is not
/// known.
pub(crate) fn severity_by_caller(caller: &Caller) -> Severity {
    match caller.level {
        Level::Environment => Severity::Medium,
        Level::Unknown | Level::Host => Severity::Low,
        Level::Known => Severity::Info,
    }
}
