//! `container-exec`: somebody who is strange to the daemon executes something in a container. T1609.

use tw_model::{ContainerAction, Rule};

use crate::draft::Drafts;
use crate::plain::{Plain, severity_by_caller, standing};
use crate::scene::Scene;
use crate::text::printable;
use crate::window::Owner;

pub(super) fn judge(scene: &Scene<'_>, drafts: &mut Drafts) {
    for (index, life) in scene.lives.iter().enumerate() {
        for held in life.events.iter().filter(|e| e.value.action == ContainerAction::Exec) {
            let event = &held.value;
            let caller = scene.caller(held.environment, event.client, event.daemon.ip);
            if !caller.is_strange() {
                continue;
            }
            let command = match event.command.as_slice() {
                [] => "a command was executed that could not be read".to_owned(),
                words => format!("this was executed: {}", printable(&words.join(" "), 200)),
            };
            let plain = Plain {
                rule: Rule::ContainerExec,
                subject: format!("{} {}", event.client, super::subject_of(life)),
                environment: held.environment,
                host: life.host,
                docker_host: event.daemon.ip,
                client: event.client,
                client_port: event.client_port,
                at: event.started,
                last: event.ended,
                severity: severity_by_caller(&caller),
                techniques: vec!["T1609"],
                title: format!(
                    "{} executed a command in {} on docker host {}",
                    event.client,
                    life.title(),
                    event.daemon.ip
                ),
                summary: format!(
                    "In {} {command}. The caller {}.",
                    life.title(),
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
}
