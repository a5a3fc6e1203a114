//! `build-new-caller`: somebody who was never seen at this daemon, or never building there, makes
//! an image on it.

use tw_model::{Rule, Severity};

use crate::draft::Drafts;
use crate::freshness::Level;
use crate::plain::{Plain, standing};
use crate::scene::Scene;
use crate::severity::is_sampling;

pub(super) fn judge(scene: &Scene<'_>, drafts: &mut Drafts) {
    let certain = scene.makers.iter().enumerate().filter(|(_, maker)| !maker.is_doubtful());
    for (index, maker) in certain {
        let caller = scene.caller(maker.environment, maker.client, maker.daemon.ip);
        let unknown = caller.level == Level::Unknown && !caller.outside;
        // Where builds are only inferred, who builds there cannot be learned: a known caller may be one.
        let may_build = maker.is_inferred() && matches!(caller.level, Level::Known | Level::Host);
        if caller.is_known_builder || unknown || may_build {
            continue;
        }
        let sampled = maker.is_inferred() && maker.caveats.iter().copied().any(is_sampling);
        let severity = match (caller.is_new(), caller.outside) {
            (true, true) if !sampled => Severity::Medium,
            _ => Severity::Low,
        };
        let summary = format!(
            "{} asked the Docker API at {} for {} at {}. This caller {}.",
            maker.client,
            maker.daemon,
            maker.title(),
            crate::text::moment(maker.started),
            standing(&caller)
        );
        let who = match caller.level {
            Level::Unknown => "A caller of which nothing is known",
            _ => "A caller that is no builder there",
        };
        let title = format!(
            "{who}, {}, asked docker host {} for {}",
            maker.client,
            maker.daemon.ip,
            maker.title()
        );
        let plain = Plain::of_maker((index, maker), Rule::BuildNewCaller, severity, title, summary);
        drafts.add(plain.into_draft(scene));
    }
}
