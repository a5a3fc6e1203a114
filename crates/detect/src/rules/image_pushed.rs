//! `image-pushed`: somebody who is strange to the daemon has it push an image. T1525.

use std::collections::BTreeSet;

use tw_model::{Route, Rule, Severity};

use crate::draft::Drafts;
use crate::plain::{Plain, standing};
use crate::scene::Scene;
use crate::text::printable;

pub(super) fn judge(scene: &Scene<'_>, drafts: &mut Drafts) {
    for held in scene.ledger.calls.values().filter(|h| h.value.route == Route::ImagePush) {
        let call = &held.value;
        let caller = scene.caller(held.environment, call.client.ip, call.daemon.ip);
        let refused = call.status.is_some_and(|status| status >= 400);
        let Some(host) = scene.hosts.find(scene.environments, held.environment, call.daemon.ip)
        else {
            continue;
        };
        if refused || !caller.is_strange() {
            continue;
        }
        let image = call.path.strip_prefix("/images/").and_then(|p| p.strip_suffix("/push"));
        let image = printable(image.unwrap_or(&call.path), 120);
        let plain = Plain {
            rule: Rule::ImagePushed,
            subject: format!("{} {image}", call.client.ip),
            environment: held.environment,
            host,
            docker_host: call.daemon.ip,
            client: call.client.ip,
            client_port: call.client.port,
            at: call.started,
            last: call.ended,
            severity: if caller.is_new() { Severity::Medium } else { Severity::Low },
            techniques: vec!["T1525"],
            title: format!(
                "{} had docker host {} push the image {image}",
                call.client.ip, call.daemon.ip
            ),
            summary: format!(
                "At {} the daemon at {} was asked to push {image} to its registry, where others may pull it from. The caller is {}.",
                call.started,
                call.daemon,
                standing(&caller)
            ),
            about_caller: true,
            builds: Vec::new(),
            caveats: BTreeSet::new(),
            owner: None,
            evidence: &held.evidence,
        };
        drafts.add(plain.into_draft(scene));
    }
}
