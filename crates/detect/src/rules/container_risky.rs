//! `container-risky`: a container is created that reaches out of itself. T1610, and T1611 where
//! what it asked for amounts to the host.

use tw_model::{DeployKind, Risk, Rule, Severity};

use crate::draft::Drafts;
use crate::freshness::Level;
use crate::plain::{Plain, standing};
use crate::scene::{Caller, Scene};
use crate::window::Owner;

pub(super) fn judge(scene: &Scene<'_>, drafts: &mut Drafts) {
    for (index, life) in scene.lives.iter().enumerate() {
        let risks: Vec<Risk> = life.risks().into_iter().filter(|r| is_dangerous(*r)).collect();
        let Some(held) = life.first() else { continue };
        if risks.is_empty() {
            continue;
        }
        let event = &held.value;
        let caller = scene.caller(held.environment, event.client, event.daemon.ip);
        let escapes = risks.iter().any(|risk| amounts_to_escape(*risk));
        let mut techniques = vec!["T1610"];
        if escapes {
            techniques.push("T1611");
        }
        let words: Vec<&str> = risks.iter().map(|risk| risk.phrase()).collect();
        let started = match (life.kind(), life.was_started()) {
            (DeployKind::Service, _) => "The swarm runs it, on any of its nodes.",
            (_, true) => "It was started.",
            (_, false) => "Its start was not seen.",
        };
        let plain = Plain {
            rule: Rule::ContainerRisky,
            subject: super::subject_of(life),
            environment: held.environment,
            host: life.host,
            docker_host: event.daemon.ip,
            client: event.client,
            client_port: event.client_port,
            at: event.started,
            last: event.ended,
            severity: severity(&caller, escapes, life.was_started()),
            techniques,
            title: format!(
                "{} made {}, which reaches the host, on docker host {}",
                event.client,
                life.title(),
                event.daemon.ip
            ),
            summary: format!(
                "{} was asked for with {}. {started} The caller {}.",
                crate::text::capitalised(&life.title()),
                crate::text::list(&words, 8),
                standing(&caller)
            ),
            about_caller: true,
            builds: super::builds_of(scene, life),
            caveats: std::collections::BTreeSet::new(),
            owner: Some(life.built_by.map_or(Owner::Life(index), Owner::Maker)),
            evidence: &held.evidence,
        };
        drafts.add(plain.into_draft(scene));
    }
}

fn severity(caller: &Caller, escapes: bool, started: bool) -> Severity {
    let base = match (caller.level, escapes) {
        (Level::Environment, true) => Severity::High,
        (Level::Environment, false) | (Level::Unknown, true) => Severity::Medium,
        (Level::Unknown, false) | (Level::Known | Level::Host, true) => Severity::Low,
        (Level::Known | Level::Host, false) => Severity::Info,
    };
    if started { base } else { base.lowered() }
}

const fn is_dangerous(risk: Risk) -> bool {
    !matches!(risk, Risk::RootUser | Risk::RestartAlways)
}

const fn amounts_to_escape(risk: Risk) -> bool {
    matches!(
        risk,
        Risk::Privileged
            | Risk::HostRootMount
            | Risk::DockerSocket
            | Risk::HostPid
            | Risk::DangerousCapability
            | Risk::Device
    )
}
