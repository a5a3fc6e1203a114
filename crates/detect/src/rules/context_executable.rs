//! `context-executable`: the uploaded build context holds programs, and the caller is no known
//! builder. The payload came with the call, so there is no destination.

use tw_model::{Rule, Severity};

use crate::draft::Drafts;
use crate::maker::Source;
use crate::plain::{Plain, standing};
use crate::scene::Scene;
use crate::text::list;

pub(super) fn judge(scene: &Scene<'_>, drafts: &mut Drafts) {
    for (index, maker) in scene.makers.iter().enumerate() {
        let Source::Build(held) = maker.source else { continue };
        let executables = held.value.context.as_ref().map_or(&[][..], |c| c.executables.as_slice());
        let caller = scene.caller(maker.environment, maker.client, maker.daemon.ip);
        if executables.is_empty() || !caller.is_strange() {
            continue;
        }
        let severity = if caller.is_new() { Severity::Medium } else { Severity::Low };
        let title = format!(
            "{} sent programs with a build to docker host {}",
            maker.client, maker.daemon.ip
        );
        let summary = format!(
            "The context of {} holds files that begin like programs or scripts: {}. The caller {}.",
            maker.title(),
            list(executables, 5),
            standing(&caller)
        );
        let plain =
            Plain::of_maker((index, maker), Rule::ContextExecutable, severity, title, summary);
        drafts.add(plain.into_draft(scene));
    }
}
