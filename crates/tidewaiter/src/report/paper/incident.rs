//! One incident: what happened, drawn and in lines, what was built, who talked to whom, the findings
//! with their evidence, and what to look for elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use tw_model::{
    Build, ContainerAction, ContainerEvent, Evidence, Finding, Frontend, Happening, Incident,
    RecordNumber, Risk, Rule, Scope, TimelineEntry, Timestamp, Verdict,
};

use super::drawing::{Lane, Mark, draw};
use super::happening::{destination, image, novelty, outcome, place, risks, title, told};
use super::tables::{destinations, indicators, talk};
use super::words::{Arg, Flat, Lang, Text};
use super::{Block, Ingredients, Section, heads, severity};
use crate::report::attack;
use crate::report::case::{Case, Told};
use crate::report::sources::Sources;
use crate::report::text::name;

/// Rows of one table, lines of one Dockerfile.
const MAX_ROWS: usize = 500;
const MAX_LINES: usize = 400;

/// What somebody who has to decide needs, in a few sentences.
pub(super) fn account(lang: Lang, case: &Case, incident: &Incident) -> Vec<Text> {
    let findings = case.findings_of(incident);
    let clients = lang.list(incident.clients.iter().map(ToString::to_string), 4);
    let mut texts = vec![lang.say(
        "summary.lead",
        &[
            ("host", incident.docker_host.into()),
            ("clients", clients.into()),
            ("from", lang.moment(incident.started).into()),
            ("to", lang.moment(incident.ended).into()),
        ],
    )];
    let mut main = Text::default();
    let contacted = findings.iter().find(|f| {
        let rule = matches!(f.rule, Rule::BuildNewDestination | Rule::ContainerNewDestination);
        rule && f.destination.as_ref().is_some_and(|to| to.ip.is_some() || to.via_proxy.is_some())
    });
    match contacted.or_else(|| findings.iter().find(|f| f.rule != Rule::ApiExposed)) {
        Some(finding) => sentence(lang, case, finding, &mut main),
        None => {
            if let Some(finding) = findings.first() {
                main.push(&title(lang, finding));
            }
        }
    }
    texts.push(main);
    let events = events(case, incident);
    let started = events.iter().find(|(_, event)| event.action == ContainerAction::Start);
    if let Some((_, event)) = started {
        texts.push(lang.say("summary.started", &[("client", event.client.into())]));
    }
    let grave = grave(events.iter().map(|(_, event)| *event));
    if !grave.is_empty() {
        let risks = risks(lang, &grave.into_iter().collect::<Vec<_>>());
        texts.push(lang.say("summary.risky", &[("risks", risks.into())]));
    }
    let execs = events.iter().filter(|(_, event)| event.action == ContainerAction::Exec).count();
    if execs > 0 {
        texts.push(lang.say("summary.exec", &[("count", execs.into())]));
    }
    if findings.iter().any(|finding| finding.rule == Rule::ApiExposed) {
        texts.push(lang.say("summary.exposed", &[("daemon", incident.docker_host.into())]));
    }
    texts
}

fn sentence(lang: Lang, case: &Case, finding: &Finding, text: &mut Text) {
    let new_to = finding.novelty.as_ref().filter(|n| !n.axes.is_empty()).map(|n| n.scope);
    let inferred = finding.verdict == Some(Verdict::Inferred);
    let key = match (finding.rule, new_to) {
        (Rule::BuildNewDestination, _) if inferred => "summary.inferred.built",
        (Rule::BuildNewDestination, Some(Scope::Environment)) => "summary.new.built",
        (Rule::BuildNewDestination, Some(Scope::Host)) => "summary.host.built",
        (Rule::BuildNewDestination, None) => "summary.unknown.built",
        (Rule::ContainerNewDestination, _) => "summary.container",
        _ => return text.push(&title(lang, finding)),
    };
    let tags = finding.builds.iter().find_map(|id| tags(case, id)).unwrap_or_default();
    let client = finding.client.as_ref();
    let client = client.map_or_else(|| Arg::Text(lang.word("unnamed")), |client| client.ip.into());
    let args = [
        ("client", client),
        ("host", finding.docker_host.into()),
        ("image", image(lang, tags)),
        ("destination", destination(finding).into()),
        ("standing", novelty(lang, finding).into()),
    ];
    text.push(&lang.say(key, &args));
    let how = match finding.verdict {
        Some(Verdict::Observed) => "summary.new.named",
        Some(Verdict::Correlated) => "summary.new.correlated",
        Some(Verdict::Inferred) => "summary.new.inferred",
        _ => return,
    };
    if finding.rule == Rule::BuildNewDestination {
        text.push(&Text::of_plain(" "));
        text.push(&lang.word(how));
    }
}

fn tags<'a>(case: &'a Case, id: &tw_model::BuildId) -> Option<&'a [String]> {
    let build = case.builds.iter().find(|told| told.body.id == *id);
    let made = case.creations.iter().find(|told| told.body.id == *id);
    build.map(|told| &told.body.tags[..]).or_else(|| made.map(|told| &told.body.tags[..]))
}

/// What was done with containers, in the order of the timeline.
fn events<'a>(case: &'a Case, incident: &'a Incident) -> Vec<(&'a str, &'a ContainerEvent)> {
    let by_call: BTreeMap<_, _> =
        case.containers.iter().map(|told| (told.body.call, &told.body)).collect();
    let acted = incident.timeline.iter().filter_map(|entry| match &entry.happening {
        Happening::Acted { call, title } => Some((title.as_str(), *by_call.get(call)?)),
        _ => None,
    });
    acted.collect()
}

/// What reaches the host.
pub(super) fn grave<'a>(events: impl Iterator<Item = &'a ContainerEvent>) -> BTreeSet<Risk> {
    let asked = events.filter(|event| event.action == ContainerAction::Create);
    let risks = asked.flat_map(|event| event.risks.iter().copied());
    risks.filter(|risk| !matches!(risk, Risk::RootUser | Risk::RestartAlways)).collect()
}

/// Everything of one incident; its account, unless the summary has it.
pub(super) fn sections(
    made_of: &Ingredients<'_>,
    incident: &Incident,
    in_summary: bool,
) -> Vec<Section> {
    let Ingredients { case, lang, sources, .. } = *made_of;
    let id = [("id", incident.id.clone().into()), ("host", incident.docker_host.into())];
    let mut first = Section::new(lang.say("section.incident", &id));
    first.badge = Some(severity(lang, incident.severity));
    first.blocks.push(Block::Facts(facts(lang, incident)));
    if !in_summary {
        first.blocks.push(Block::Lead(account(lang, case, incident)));
    }
    let mut sections = vec![first];
    sections.push(timeline(made_of, incident));
    let findings = case.findings_of(incident);
    let ids: BTreeSet<_> = findings.iter().flat_map(|f| &f.builds).collect();
    for told in case.builds.iter().filter(|told| ids.contains(&told.body.id)).take(20) {
        sections.push(built(lang, told, sources));
    }
    sections.extend(talk(lang, case, incident, &ids));
    sections.extend(destinations(lang, incident, case, &ids));
    sections.push(evidence(lang, &findings, sources));
    sections.push(indicators(lang, case, incident, &ids));
    sections
}

fn facts(lang: Lang, incident: &Incident) -> Vec<(Text, Text)> {
    let span = [
        ("from", lang.moment(incident.started).into()),
        ("to", lang.moment(incident.ended).into()),
    ];
    let clients = incident.clients.iter().map(ToString::to_string);
    let mut techniques = Text::default();
    for (index, id) in incident.techniques.iter().enumerate() {
        let words = match attack::technique(id) {
            Some(technique) => format!("{id} {} ({})", technique.name, technique.tactic),
            None => id.clone(),
        };
        if index > 0 {
            techniques.push(&lang.word("list.and"));
        }
        techniques.push(&Text::of_plain(&words));
    }
    let mut facts = vec![
        (lang.word("fact.when"), lang.say("span", &span)),
        (lang.word("fact.callers"), lang.list(clients, 16)),
        (lang.word("fact.techniques"), techniques),
    ];
    if !incident.environment.is_empty() {
        facts.push((lang.word("fact.environment"), Text::of_data(&incident.environment)));
    }
    if !incident.caveats.is_empty() {
        let mut text = Text::default();
        for caveat in &incident.caveats {
            text.push(&lang.of("caveat", &name(caveat)));
            text.push(&Text::of_plain(" "));
        }
        facts.push((lang.word("section.caveats"), text));
    }
    facts
}

fn timeline(made_of: &Ingredients<'_>, incident: &Incident) -> Section {
    let Ingredients { case, lang, sources, .. } = *made_of;
    let mut section = Section::below(lang.word("section.timeline"));
    let drawing = draw(lang, &lang.word("section.timeline"), lanes(made_of, incident));
    if !drawing.lanes.is_empty() {
        section.blocks.push(Block::Drawing(drawing));
    }
    let day = incident.started.utc_day();
    let rows = incident.timeline.iter().map(|entry| {
        let clock = entry.timestamp.to_string();
        let same = entry.timestamp.utc_day() == day;
        let clock = if same { clock.get(11..23) } else { clock.get(..23) };
        vec![
            Text::of_plain(&clock.unwrap_or("").replace('T', " ")),
            told(lang, case, entry),
            frames(entry, sources),
        ]
    });
    let rows = rows.take(MAX_ROWS).collect();
    section.table(heads(lang, &["head.time", "head.what", "head.where"]), rows)
}

fn frames(entry: &TimelineEntry, sources: &Sources) -> Text {
    let Some(place) = entry.evidence else { return Text::default() };
    let (RecordNumber::Frame(number) | RecordNumber::Record(number)) = place.record;
    let text = match sources.names().len() {
        1 => number.to_string(),
        _ => format!("{}: {number}", sources.name(place.source)),
    };
    Text::of_plain(&text)
}

fn lanes(made_of: &Ingredients<'_>, incident: &Incident) -> Vec<Lane> {
    let Ingredients { case, lang, steps, .. } = *made_of;
    let mut lanes: Vec<Lane> = [
        "drawing.calls",
        "drawing.build",
        "drawing.steps",
        "drawing.downloads",
        "drawing.containers",
    ]
    .into_iter()
    .map(|key| Lane { name: lang.word(key), marks: Vec::new() })
    .collect();
    let mut add = |lane: usize, from: Timestamp, to: Timestamp, label: String, bad: bool| {
        if let Some(lane) = lanes.get_mut(lane) {
            lane.marks.push(Mark { from, to, label, bad });
        }
    };
    let mut open: BTreeMap<&str, (Timestamp, bool)> = BTreeMap::new();
    for entry in &incident.timeline {
        let at = entry.timestamp;
        match &entry.happening {
            Happening::Called { request, .. } => add(0, at, at, request.clone(), false),
            Happening::Asked(id) => {
                let build = case.builds.iter().map(|told| &told.body).find(|build| build.id == *id);
                let made = case.creations.iter().map(|t| &t.body).find(|made| made.id == *id);
                let tags = tags(case, id).and_then(|tags| tags.first().cloned());
                let label = tags.unwrap_or_else(|| lang.word("unnamed").flat().0);
                let ended = build.map(|b| b.ended).or_else(|| made.map(|m| m.ended)).unwrap_or(at);
                add(1, at, ended, label, false);
                for (step, at) in
                    build.into_iter().flat_map(|b| b.steps.iter().zip(steps.of(&b.id)))
                {
                    let bad =
                        build.is_some_and(|b| b.urls.iter().any(|url| step.contains(url.as_str())));
                    add(2, *at, *at, step.clone(), bad);
                }
            }
            Happening::Contacted(contact) => {
                add(3, at, contact.last, place(contact), contact.new_to.is_some());
            }
            Happening::Moved(id) => {
                let action = case.registries.iter().map(|told| &told.body).find(|a| a.id == *id);
                if let Some(action) = action {
                    let label = format!("{}/{}", action.registry, action.repository);
                    add(3, at, action.ended, label, false);
                }
            }
            Happening::Acted { call, title } => {
                let event = case.containers.iter().map(|told| &told.body).find(|e| e.call == *call);
                let Some(event) = event else { continue };
                let title = title.strip_prefix("container ").unwrap_or(title);
                let bad = !grave(std::iter::once(event)).is_empty();
                match event.action {
                    ContainerAction::Start => {
                        open.entry(title).or_insert((at, bad));
                    }
                    ContainerAction::Stop | ContainerAction::Remove => {
                        if let Some((from, bad)) = open.remove(title) {
                            add(4, from, at, title.to_owned(), bad);
                        }
                    }
                    ContainerAction::Exec => {
                        add(4, at, at, format!("exec: {}", event.command.join(" ")), true)
                    }
                    ContainerAction::Create | ContainerAction::Copy => {
                        add(4, at, at, format!("{}: {title}", name(&event.action)), bad);
                    }
                }
            }
            Happening::Ended(_) | Happening::Found(_) => {}
        }
    }
    for (title, (from, bad)) in open {
        add(4, from, incident.ended.max(from), title.to_owned(), bad);
    }
    lanes
}

fn built(lang: Lang, told: &Told<Build>, sources: &Sources) -> Section {
    let build = &told.body;
    let title = [("name", image(lang, &build.tags))];
    let mut section = Section::below(match build.frontend {
        Frontend::Inferred => lang.word("section.build.inferred"),
        _ => lang.say("section.build", &title),
    });
    let asked = format!("{}:{}", build.client, build.client_port);
    let agent = build.user_agent.as_deref().map(|agent| format!("{asked} {agent}"));
    let tls = if build.tls { ", TLS" } else { "" };
    let mut facts = vec![
        (lang.word("fact.image"), image(lang, &build.tags)),
        (lang.word("fact.base"), Arg::Text(lang.list(&build.base_images, 16))),
        (lang.word("fact.asked"), agent.unwrap_or(asked).into()),
        (
            lang.word("fact.daemon"),
            format!("{}, {}{tls}", build.daemon, name(&build.frontend)).into(),
        ),
        (lang.word("fact.outcome"), Arg::Text(outcome(lang, build))),
    ];
    if let Some(id) = &build.image_id {
        facts.push((lang.word("fact.image.id"), id.clone().into()));
    }
    if let Some(remote) = &build.remote {
        facts.push((lang.word("fact.remote"), remote.clone().into()));
    }
    if let Some(context) = &build.context {
        let (bytes, files) = (("bytes", context.bytes.into()), ("files", context.files.into()));
        let text = match &context.sha256 {
            Some(hash) => {
                lang.say("fact.context.value", &[bytes, files, ("sha256", hash.clone().into())])
            }
            None => lang.say("fact.context.nohash", &[bytes, files]),
        };
        facts.push((lang.word("fact.context"), text.into()));
        if !context.executables.is_empty() {
            facts.push((lang.word("fact.executables"), lang.list(&context.executables, 20).into()));
        }
    }
    if !build.build_args.is_empty() {
        let args = build.build_args.iter().map(|(key, value)| format!("{key}={value}"));
        facts.push((lang.word("fact.args"), lang.list(args, 20).into()));
    }
    let facts = facts.into_iter().map(|(label, value)| {
        let value = match value {
            Arg::Data(data) => Text::of_data(&data),
            Arg::Text(text) => text,
            Arg::Number(number) => Text::of_plain(&number.to_string()),
        };
        (label, value)
    });
    let mut facts: Vec<(Text, Text)> = facts.collect();
    facts.push((lang.word("head.where"), places(lang, &told.evidence, sources)));
    section.blocks.push(Block::Facts(facts));
    if let Some(text) = &build.dockerfile {
        dockerfile(lang, text, build, &mut section);
    }
    section
}

/// Lines, those marked that name a place to fetch from.
fn dockerfile(lang: Lang, text: &str, build: &Build, section: &mut Section) {
    let hosts: Vec<&str> =
        build.urls.iter().map(|url| host(url)).filter(|h| !h.is_empty()).collect();
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines.iter().take(MAX_LINES).map(|line| {
        let marked = hosts.iter().any(|host| line.contains(host));
        let shown: String = line.replace('\t', "    ").chars().take(1_000).collect();
        (marked, Flat(tw_evidence::visible(&shown)))
    });
    section.blocks.push(Block::Paragraph(lang.word("dockerfile.note")));
    section.blocks.push(Block::Source(shown.collect()));
    let left = lines.len().saturating_sub(MAX_LINES);
    if left > 0 {
        section
            .blocks
            .push(Block::Paragraph(lang.say("dockerfile.more", &[("count", left.into())])));
    }
}

/// The host of a URL, or the bare host.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_prefix('[') {
        Some(inside) => inside.split(']').next().unwrap_or(inside),
        None => host.split(':').next().unwrap_or(host),
    }
}

fn evidence(lang: Lang, findings: &[&Finding], sources: &Sources) -> Section {
    let rows = findings.iter().take(MAX_ROWS).map(|finding| {
        let mut what = title(lang, finding);
        if let Some(verdict) = finding.verdict {
            what.push(&Text::of_plain(" — "));
            what.push(&lang.of("verdict", &name(&verdict)));
        }
        vec![
            severity(lang, finding.severity).1,
            what,
            Text::of_plain(&finding.techniques.join(", ")),
            places(lang, &finding.evidence, sources),
        ]
    });
    let rows = rows.collect();
    let mut heads = heads(lang, &["head.severity", "head.what", "fact.techniques"]);
    heads.push(lang.word("head.where"));
    Section::below(lang.word("section.findings")).table(heads, rows)
}

fn places(lang: Lang, evidence: &[Evidence], sources: &Sources) -> Text {
    let mut by_source: BTreeMap<(tw_model::SourceId, bool), Vec<String>> = BTreeMap::new();
    for place in evidence {
        let (is_record, number) = match place.record {
            RecordNumber::Frame(number) => (false, number),
            RecordNumber::Record(number) => (true, number),
        };
        by_source.entry((place.source, is_record)).or_default().push(number.to_string());
    }
    let mut text = Text::default();
    for ((source, is_record), numbers) in by_source {
        let args = [
            ("source", Arg::from(sources.name(source))),
            ("numbers", Arg::Text(Text::of_plain(&numbers.join(", ")))),
        ];
        text.push(&match is_record {
            true => lang.say("evidence.record", &args),
            false => lang.say("evidence.frame", &args),
        });
        text.push(&Text::of_plain(" "));
    }
    text
}
