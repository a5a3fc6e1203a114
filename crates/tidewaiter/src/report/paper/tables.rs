//! Tables of one incident: who talked to whom, what was contacted, what to look for elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use tw_model::Incident;

use super::happening::{contacts, place, standing};
use super::words::{Lang, Text};
use super::{Block, Section, Table, heads};
use crate::report::case::Case;

/// Rows of one table.
const MAX_ROWS: usize = 500;

pub(super) fn talk(
    lang: Lang,
    case: &Case,
    incident: &Incident,
    ids: &BTreeSet<&tw_model::BuildId>,
) -> Option<Section> {
    let mut rows: Vec<Vec<Text>> = Vec::new();
    let builds =
        case.builds.iter().filter(|told| ids.contains(&told.body.id)).map(|t| t.body.daemon);
    let daemons: BTreeSet<_> = builds.collect();
    for client in &incident.clients {
        let daemons: Vec<String> = daemons.iter().map(ToString::to_string).collect();
        let to = if daemons.is_empty() { vec![incident.docker_host.to_string()] } else { daemons };
        rows.push(vec![
            Text::of_data(&client.to_string()),
            lang.list(to, 4),
            lang.word("talk.api"),
            Text::default(),
            Text::default(),
        ]);
    }
    let mut by_place: BTreeMap<String, (Text, u64, u64)> = BTreeMap::new();
    for (_, contact) in contacts(incident) {
        let kind = match contact.registry {
            None => "talk.download",
            Some(true) => "talk.registry",
            Some(false) => "talk.registry.unfamiliar",
        };
        let entry = by_place.entry(place(contact)).or_insert_with(|| (lang.word(kind), 0, 0));
        entry.1 = entry.1.saturating_add(contact.bytes[0]);
        entry.2 = entry.2.saturating_add(contact.bytes[1]);
    }
    for (to, (kind, received, sent)) in by_place {
        rows.push(vec![
            Text::of_data(&incident.docker_host.to_string()),
            Text::of_data(&to),
            kind,
            number(lang, received),
            number(lang, sent),
        ]);
    }
    rows.truncate(MAX_ROWS);
    let heads = heads(lang, &["head.from", "head.to", "head.as", "head.in", "head.out"]);
    (!rows.is_empty()).then(|| Section::below(lang.word("section.talk")).table(heads, rows))
}

fn number(_: Lang, count: u64) -> Text {
    Text::of_plain(&crate::report::text::thousands(count))
}

pub(super) fn destinations(
    lang: Lang,
    incident: &Incident,
    case: &Case,
    ids: &BTreeSet<&tw_model::BuildId>,
) -> Option<Section> {
    let named: BTreeSet<_> = case
        .builds
        .iter()
        .filter(|told| ids.contains(&told.body.id))
        .flat_map(|told| &told.body.destinations)
        .filter(|to| to.named)
        .map(|to| (to.ip, to.port))
        .collect();
    let rows: Vec<Vec<Text>> = contacts(incident)
        .take(MAX_ROWS)
        .map(|(_, contact)| {
            let is_named = contact.ip.is_some_and(|ip| named.contains(&(ip, contact.port)));
            vec![
                Text::of_data(&place(contact)),
                standing(lang, contact),
                lang.word(if is_named { "yes" } else { "no" }),
                some(lang, &contact.urls),
                some(lang, &contact.sha256),
                number(lang, contact.bytes[0]),
            ]
        })
        .collect();
    let heads = heads(
        lang,
        &["head.to", "head.standing", "head.named", "head.url", "head.sha256", "head.in"],
    );
    (!rows.is_empty()).then(|| Section::below(lang.word("section.destinations")).table(heads, rows))
}

fn some(lang: Lang, items: &[String]) -> Text {
    if items.is_empty() { Text::default() } else { lang.list(items, 4) }
}

pub(super) fn indicators(
    lang: Lang,
    case: &Case,
    incident: &Incident,
    ids: &BTreeSet<&tw_model::BuildId>,
) -> Section {
    let mut found: Vec<(&'static str, String, &'static str)> = Vec::new();
    let mut add = |kind: &'static str, value: &str, means: &'static str| {
        let known = found.iter().any(|(other, same, _)| *other == kind && same == value);
        if !known && found.len() < MAX_ROWS && !value.is_empty() {
            found.push((kind, value.to_owned(), means));
        }
    };
    for (_, contact) in contacts(incident).filter(|(_, c)| !c.known && c.registry != Some(true)) {
        if let Some(ip) = contact.ip {
            add("indicator.address", &ip.to_string(), "means.destination");
        }
        contact.names.iter().for_each(|name| add("indicator.name", name, "means.destination"));
        contact.urls.iter().for_each(|url| add("indicator.url", url, "means.destination"));
        contact.sha256.iter().for_each(|hash| add("indicator.sha256", hash, "means.body"));
    }
    for told in case.builds.iter().filter(|told| ids.contains(&told.body.id)) {
        let build = &told.body;
        build.urls.iter().for_each(|url| add("indicator.url", url, "means.named"));
        build.tags.iter().for_each(|tag| add("indicator.image", tag, "means.image"));
        build.image_id.iter().for_each(|id| add("indicator.image", id, "means.image"));
        let hash = build.context.as_ref().and_then(|context| context.sha256.as_ref());
        hash.into_iter().for_each(|hash| add("indicator.sha256", hash, "means.context"));
    }
    for client in &incident.clients {
        add("indicator.caller", &client.to_string(), "means.caller");
    }
    let rows = found
        .into_iter()
        .map(|(kind, value, means)| vec![lang.word(kind), Text::of_data(&value), lang.word(means)]);
    let rows = rows.collect();
    let mut section = Section::below(lang.word("section.indicators"));
    section.blocks.push(Block::Paragraph(lang.word("indicator.note")));
    section.blocks.push(Block::Table(Table {
        heads: heads(lang, &["head.kind", "head.value", "head.meaning"]),
        rows,
    }));
    section
}
