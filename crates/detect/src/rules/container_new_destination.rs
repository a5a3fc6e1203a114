//! `container-new-destination`: a container that was not just built is started, or something is
//! executed in one, and in its window the host contacts a place that is new. T1610 or T1609, with
//! T1105; never T1612.

use tw_model::Rule;

use super::build_new_destination::is_new_place;
use crate::account::{Frame, draft, groups};
use crate::draft::Drafts;
use crate::scene::Scene;
use crate::window::{Owner, Phase};

pub(super) fn judge(scene: &Scene<'_>, drafts: &mut Drafts) {
    let groups = groups(scene, |contact, attribution| {
        matches!(attribution.owners.first(), Some(Owner::Life(_)))
            && is_new_place(contact, attribution)
    });
    for group in &groups {
        let phase = |phase| group.contacts.iter().any(|(_, a)| a.phase == phase);
        let mut techniques = Vec::new();
        if phase(Phase::Run) {
            techniques.push("T1610");
        }
        if phase(Phase::Exec) {
            techniques.push("T1609");
        }
        techniques.push("T1105");
        let frame = Frame { rule: Rule::ContainerNewDestination, techniques, others: &[] };
        if let Some(draft) = draft(scene, group, &frame) {
            drafts.add(draft);
        }
    }
}
