//! `image-created` (MITRE's NewImageThreshold): images made on one host within 24 hours by callers
//! that are no known builders; by known builders it is information.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tw_model::{Outcome, Rule, Severity, Timestamp};

use crate::draft::Drafts;
use crate::environment::EnvironmentId;
use crate::host::HostId;
use crate::plain::{Plain, standing};
use crate::scene::Scene;
use crate::text::list;

pub(super) fn judge(scene: &Scene<'_>, drafts: &mut Drafts) {
    let mut strangers: BTreeMap<HostId, Vec<Timestamp>> = BTreeMap::new();
    let mut counts: BTreeMap<(EnvironmentId, IpAddr, IpAddr), usize> = BTreeMap::new();
    for maker in scene.makers.iter().filter(|m| made_one(m)) {
        let told = usize::from(maker.outcome == Outcome::Succeeded);
        *counts.entry((maker.environment, maker.daemon.ip, maker.client)).or_default() += told;
        let caller = scene.caller(maker.environment, maker.client, maker.daemon.ip);
        if !caller.is_known_builder {
            strangers.entry(maker.host).or_default().push(maker.started);
        }
    }
    for (index, maker) in scene.makers.iter().enumerate().filter(|(_, m)| made_one(m)) {
        let caller = scene.caller(maker.environment, maker.client, maker.daemon.ip);
        let made = strangers.get(&maker.host).map_or(0, |times| within_a_day(times, maker.started));
        let severity = match (caller.is_known_builder, made >= scene.policy.new_image_threshold) {
            (true, _) => Severity::Info,
            (false, true) => Severity::Medium,
            (false, false) => Severity::Low,
        };
        let tags = if maker.tags.is_empty() { "no name".to_owned() } else { list(maker.tags, 3) };
        let asked = (maker.environment, maker.daemon.ip, maker.client);
        let (client, host) = (maker.client, maker.daemon.ip);
        let title = match counts.get(&asked) {
            Some(count) if *count > 1 => {
                format!("{count} images were made on docker host {host} for {client}")
            }
            _ if maker.outcome == Outcome::Unknown => {
                format!("An image was asked for by {client} on docker host {host}")
            }
            _ => format!("An image was made on docker host {host} for {client}"),
        };
        let (verb, by) = match maker.outcome {
            Outcome::Unknown => ("was asked for an image", "by"),
            _ => ("made an image", "for"),
        };
        let images = if made == 1 { "1 image".to_owned() } else { format!("{made} images") };
        let summary = format!(
            "The daemon at {} {verb} ({tags}) {by} {client} at {}. The caller {}. Callers that are no known builders asked for {images} on this host within 24 hours.",
            maker.daemon,
            crate::text::moment(maker.started),
            standing(&caller)
        );
        let plain = Plain::of_maker((index, maker), Rule::ImageCreated, severity, title, summary);
        drafts.add(plain.into_draft(scene));
    }
}

/// Was an image made, as far as can be told? Of an inferred build it cannot.
fn made_one(maker: &crate::maker::Maker<'_>) -> bool {
    !maker.is_inferred() && matches!(maker.outcome, Outcome::Succeeded | Outcome::Unknown)
}

/// How many of these (in order) lie within the 24 hours that end at `at`.
fn within_a_day(times: &[Timestamp], at: Timestamp) -> usize {
    let day = Duration::from_secs(86_400);
    let upto = times.partition_point(|t| *t <= at);
    upto.saturating_sub(times.partition_point(|t| *t < at.minus(day)))
}
