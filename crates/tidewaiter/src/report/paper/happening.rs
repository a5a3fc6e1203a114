//! Timeline entries and findings in the report's words.

use tw_model::{
    Build, ContactTold, ContainerAction, ContainerEvent, Finding, Frontend, Happening, Incident,
    Outcome, RegistryVerb, Risk, Scope, TimelineEntry,
};

use super::words::{Arg, Lang, Text};
use crate::report::case::Case;
use crate::report::text::name;

/// What an entry tells.
pub(super) fn told(lang: Lang, case: &Case, entry: &TimelineEntry) -> Text {
    match &entry.happening {
        Happening::Called { client, request, status, alike } => {
            let (client, request) =
                (("client", (*client).into()), ("request", request.clone().into()));
            match (status, alike) {
                (_, alike) if *alike > 0 => {
                    lang.say("time.called.alike", &[client, request, ("count", (*alike).into())])
                }
                (Some(status), _) => {
                    let status = ("status", status.to_string().into());
                    lang.say("time.called.status", &[client, request, status])
                }
                (None, _) => lang.say("time.called", &[client, request]),
            }
        }
        Happening::Asked(id) => {
            if let Some(build) = case.builds.iter().find(|told| told.body.id == *id) {
                let client = ("client", build.body.client.into());
                if build.body.frontend == Frontend::Inferred {
                    return lang.say("time.asked.inferred", &[client]);
                }
                return lang.say("time.asked", &[client, ("image", image(lang, &build.body.tags))]);
            }
            match case.creations.iter().find(|told| told.body.id == *id) {
                Some(made) => {
                    let kind = lang.of("kind", &name(&made.body.kind));
                    let client = ("client", made.body.client.into());
                    let image = ("image", image(lang, &made.body.tags));
                    lang.say("time.asked.other", &[client, ("kind", kind.into()), image])
                }
                None => Text::of_plain(&entry.text),
            }
        }
        Happening::Ended(id) => {
            let build = case.builds.iter().map(|told| &told.body).find(|build| build.id == *id);
            if let Some(build) = build.filter(|build| build.frontend == Frontend::Inferred) {
                let outcome = ("outcome", outcome(lang, build).into());
                return lang.say("time.ended.inferred", &[outcome]);
            }
            let build = build.map(|build| (&build.tags, build.outcome));
            let made = case.creations.iter().find(|told| told.body.id == *id);
            let made = made.map(|told| (&told.body.tags, told.body.outcome));
            let Some((tags, outcome)) = build.or(made) else { return Text::of_plain(&entry.text) };
            let outcome = lang.of("outcome", &name(&outcome));
            lang.say("time.ended", &[("image", image(lang, tags)), ("outcome", outcome.into())])
        }
        Happening::Contacted(contact) => contacted(lang, contact),
        Happening::Moved(id) => {
            let action = case.registries.iter().map(|told| &told.body).find(|a| a.id == *id);
            let Some(action) = action else { return Text::of_plain(&entry.text) };
            let reference = action.reference.as_deref().unwrap_or("");
            let image = match reference {
                "" => action.repository.clone(),
                digest if digest.contains(':') => format!("{}@{digest}", action.repository),
                tag => format!("{}:{tag}", action.repository),
            };
            let args = [("image", image.into()), ("registry", action.registry.clone().into())];
            match action.action {
                RegistryVerb::Pull => lang.say("time.pulled", &args),
                RegistryVerb::Push => lang.say("time.pushed", &args),
            }
        }
        Happening::Acted { call, title } => {
            let event = case.containers.iter().map(|told| &told.body).find(|e| e.call == *call);
            event.map_or_else(|| Text::of_plain(&entry.text), |event| acted(lang, event, title))
        }
        Happening::Found(id) => {
            let finding = case.findings.iter().find(|finding| finding.id == *id);
            finding.map_or_else(|| Text::of_plain(&entry.text), |finding| title(lang, finding))
        }
    }
}

fn contacted(lang: Lang, contact: &ContactTold) -> Text {
    let place = ("place", place(contact).into());
    let bytes = ("bytes", contact.bytes[0].into());
    if contact.registry == Some(true) {
        return lang.say("time.registry", &[place, bytes]);
    }
    let standing = ("standing", standing(lang, contact).into());
    if !contact.urls.is_empty() {
        let urls = ("urls", lang.list(&contact.urls, 3).into());
        return lang.say("time.contacted.url", &[place, standing, bytes, urls]);
    }
    let key = if contact.about { "time.contacted.about" } else { "time.contacted" };
    lang.say(key, &[place, standing, bytes])
}

/// `203.0.113.77:80 (cdn.example)`.
pub(super) fn place(contact: &ContactTold) -> String {
    let address = contact.ip.map(|ip| tw_model::Endpoint::new(ip, contact.port).to_string());
    match (address, contact.names.first()) {
        (Some(address), Some(name)) => format!("{address} ({name})"),
        (Some(address), None) => address,
        (None, name) => format!("{}:{}", name.map_or("?", String::as_str), contact.port),
    }
}

pub(super) fn standing(lang: Lang, contact: &ContactTold) -> Text {
    match (contact.new_to, contact.known) {
        (Some(Scope::Environment), _) => lang.word("standing.new"),
        (Some(Scope::Host), _) => lang.word("standing.host"),
        (None, true) => lang.word("standing.known"),
        (None, false) => lang.word("standing.unknown"),
    }
}

fn acted(lang: Lang, event: &ContainerEvent, title: &str) -> Text {
    let client = ("client", Arg::from(event.client));
    let title = title.strip_prefix("container ").unwrap_or(title);
    let container = ("container", Arg::from(title));
    match event.action {
        ContainerAction::Create if !event.risks.is_empty() => {
            let risks = ("risks", risks(lang, &event.risks).into());
            lang.say("time.create.risks", &[client, container, risks])
        }
        ContainerAction::Create => lang.say("time.create", &[client, container]),
        ContainerAction::Start => lang.say("time.start", &[client, container]),
        ContainerAction::Exec => {
            let command = ("command", Arg::from(event.command.join(" ")));
            lang.say("time.exec", &[client, container, command])
        }
        ContainerAction::Copy => lang.say("time.copy", &[client, container]),
        ContainerAction::Stop => lang.say("time.stop", &[client, container]),
        ContainerAction::Remove => lang.say("time.remove", &[client, container]),
    }
}

/// In words, those that reach the host before the others.
pub(super) fn risks(lang: Lang, risks: &[Risk]) -> Text {
    let mut text = Text::default();
    for (index, risk) in risks.iter().enumerate() {
        if index > 0 {
            text.push(&lang.word("list.and"));
        }
        text.push(&lang.of("risk", &name(risk)));
    }
    text
}

/// How a build ended. Of one that was inferred nobody has said so.
pub(super) fn outcome(lang: Lang, build: &Build) -> Text {
    match (build.frontend, build.outcome) {
        (Frontend::Inferred, Outcome::Succeeded) => lang.word("outcome.inferred"),
        _ => lang.of("outcome", &name(&build.outcome)),
    }
}

/// Names of an image, or that it has none.
pub(super) fn image(lang: Lang, tags: &[String]) -> Arg {
    match tags {
        [] => Arg::Text(lang.word("unnamed")),
        tags => Arg::Text(lang.list(tags, 4)),
    }
}

/// A finding in one line.
pub(super) fn title(lang: Lang, finding: &Finding) -> Text {
    let rule = name(&finding.rule);
    let contacted =
        finding.destination.as_ref().is_none_or(|to| to.ip.is_some() || to.via_proxy.is_some());
    let key = match rule.as_str() {
        "build-new-destination" if contacted => "rule.build-new-destination",
        "build-new-destination" => "rule.build-new-destination.named",
        "container-new-destination" => "rule.container-new-destination",
        "build-new-caller" => "rule.build-new-caller",
        "image-created" => "rule.image-created",
        "registry-new" => "rule.registry-new",
        "image-known-bad" => "rule.image-known-bad",
        "indicator-match" => "rule.indicator-match",
        "container-risky" => "rule.container-risky",
        "container-exec" => "rule.container-exec",
        "api-recon" => "rule.api-recon",
        "api-exposed" => "rule.api-exposed",
        "image-pushed" => "rule.image-pushed",
        "context-executable" => "rule.context-executable",
        _ => "rule.build-inbound",
    };
    let client = finding
        .client
        .as_ref()
        .map_or_else(|| Arg::Text(lang.word("unnamed")), |client| client.ip.into());
    lang.say(
        key,
        &[
            ("host", finding.docker_host.into()),
            ("client", client),
            ("destination", destination(finding).into()),
            ("standing", novelty(lang, finding).into()),
        ],
    )
}

/// `203.0.113.77:80 (cdn.example)`, a name alone where it was not contacted directly.
pub(super) fn destination(finding: &Finding) -> String {
    let Some(to) = &finding.destination else { return String::new() };
    let name = to.names.first().map(|name| name.name.as_str());
    match (to.ip, name) {
        (Some(ip), name) => {
            let place = tw_model::Endpoint::new(ip, to.port.unwrap_or(0)).to_string();
            match name {
                Some(name) => format!("{place} ({name})"),
                None => place,
            }
        }
        (None, Some(name)) => name.to_owned(),
        (None, None) => to.via_proxy.clone().unwrap_or_default(),
    }
}

pub(super) fn novelty(lang: Lang, finding: &Finding) -> Text {
    match &finding.novelty {
        Some(novelty) if novelty.axes.is_empty() => lang.word("standing.unknown"),
        Some(novelty) if novelty.scope == Scope::Host => lang.word("standing.host"),
        Some(_) => lang.word("standing.new"),
        None => lang.word("standing.unknown"),
    }
}

/// Of an incident's timeline, what was contacted.
pub(super) fn contacts(
    incident: &Incident,
) -> impl Iterator<Item = (&TimelineEntry, &ContactTold)> {
    incident.timeline.iter().filter_map(|entry| match &entry.happening {
        Happening::Contacted(contact) => Some((entry, &**contact)),
        _ => None,
    })
}
