//! The rules, one a file. A rule reads the joined scene and adds drafts; it asks nobody and keeps
//! nothing.

mod api_exposed;
mod api_recon;
mod build_inbound;
mod build_new_caller;
mod build_new_destination;
mod container_exec;
mod container_new_destination;
mod container_risky;
mod context_executable;
mod image_created;
mod image_pushed;
mod named_not_contacted;
mod registry_new;

pub(crate) use registry_new::repository_of;

use tw_model::BuildId;

use crate::draft::Drafts;
use crate::life::Life;
use crate::scene::Scene;

/// All findings of a scene.
pub(crate) fn judge(scene: &Scene<'_>) -> Drafts {
    let mut drafts = Drafts::new(scene.policy.limits.findings);
    for rule in RULES {
        rule(scene, &mut drafts);
    }
    drafts
}

type Judge = fn(&Scene<'_>, &mut Drafts);

const RULES: [Judge; 13] = [
    build_new_destination::judge,
    named_not_contacted::judge,
    registry_new::judge,
    container_new_destination::judge,
    build_new_caller::judge,
    image_created::judge,
    context_executable::judge,
    build_inbound::judge,
    container_exec::judge,
    container_risky::judge,
    image_pushed::judge,
    api_recon::judge,
    api_exposed::judge,
];

/// What tells one container from another in a finding's identity: its id, else its name.
fn subject_of(life: &Life<'_>) -> String {
    let id = life.events.iter().find_map(|e| e.value.container_id.clone());
    id.or_else(|| life.events.iter().find_map(|e| e.value.name.clone())).unwrap_or_default()
}

fn builds_of(scene: &Scene<'_>, life: &Life<'_>) -> Vec<BuildId> {
    life.built_by
        .and_then(|index| scene.makers.get(index))
        .map(|m| m.id.clone())
        .into_iter()
        .collect()
}
