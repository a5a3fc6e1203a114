//! `build-new-destination`: an image is made on a host, and in its window the host, or a container
//! of the image, contacts a place that is new. T1612.
//!
//! What a container of the image contacts after its start is still the same chain: the image was
//! made to do that. It is told here, with T1610, and not as `container-new-destination`.

use std::collections::BTreeMap;

use tw_model::Rule;

use crate::account::{Frame, Group, draft, groups};
use crate::destination::{Contact, Registry};
use crate::draft::Drafts;
use crate::freshness::Level;
use crate::scene::Scene;
use crate::window::{Attribution, Owner, Phase};

pub(super) fn judge(scene: &Scene<'_>, drafts: &mut Drafts) {
    let groups = groups(scene, |contact, attribution| {
        matches!(attribution.owners.first(), Some(Owner::Maker(_)))
            && is_new_place(contact, attribution)
    });
    let mut inferred: BTreeMap<usize, Vec<&Group<'_, '_>>> = BTreeMap::new();
    for group in &groups {
        match inferred_owner(scene, group) {
            Some(index) => inferred.entry(index).or_default().push(group),
            None => tell(scene, group, &[], drafts),
        }
    }
    for list in inferred.values() {
        tell_inferred(scene, list, drafts);
    }
}

/// New, or nobody can say that it is not. A registry is no download, unless the trigger names the
/// place to fetch from: speaking like a registry hides nothing.
pub(super) fn is_new_place(contact: &Contact<'_>, attribution: &Attribution) -> bool {
    let download = match contact.registry {
        Registry::No => true,
        Registry::Unfamiliar => attribution.named,
        Registry::Trusted => false,
    };
    contact.freshness.level != Level::Known && download
}

fn inferred_owner(scene: &Scene<'_>, group: &Group<'_, '_>) -> Option<usize> {
    let (_, attribution) = group.contacts.first()?;
    let Some(Owner::Maker(index)) = attribution.owners.first() else { return None };
    scene.makers.get(*index)?.is_inferred().then_some(*index)
}

/// More than a few new destinations of one inferred build are one finding with a list.
fn tell_inferred(scene: &Scene<'_>, groups: &[&Group<'_, '_>], drafts: &mut Drafts) {
    if groups.len() <= scene.policy.inferred_list_at {
        for group in groups {
            tell(scene, group, &[], drafts);
        }
        return;
    }
    let Some((first, rest)) = groups.split_first() else { return };
    let others: Vec<String> = rest
        .iter()
        .filter_map(|g| g.contacts.first())
        .map(|(c, _)| c.ip.map_or_else(String::new, |ip| format!("{ip} port {}", c.port)))
        .collect();
    tell(scene, first, &others, drafts);
}

fn tell(scene: &Scene<'_>, group: &Group<'_, '_>, others: &[String], drafts: &mut Drafts) {
    let mut techniques = vec!["T1612"];
    let makers =
        || group.contacts.iter().flat_map(|(_, a)| &a.owners).filter_map(|o| scene.maker(*o));
    let phase = |phase| group.contacts.iter().any(|(_, a)| a.phase == phase);
    if phase(Phase::Run) || makers().any(|m| m.deployed.started) {
        techniques.push("T1610");
    }
    if phase(Phase::Exec) || makers().any(|m| m.deployed.exec) {
        techniques.push("T1609");
    }
    let frame = Frame { rule: Rule::BuildNewDestination, techniques, others };
    if let Some(draft) = draft(scene, group, &frame) {
        drafts.add(draft);
    }
}
