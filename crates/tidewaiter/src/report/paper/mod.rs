//! The report: one page for who has to decide, and for who has to look closer. HTML that needs no
//! network and no script, or Markdown; in English or Japanese.
//!
//! It is made of what was judged, never of sentences that were written elsewhere, so that it is complete
//! in each language. Everything from the wire is data in a [`Text`]: no markup, no link, nothing that
//! steers. Limits: incidents, rows and lines; what they leave out is counted on the page.

mod drawing;
mod exposure;
mod happening;
mod incident;
mod steps;
mod tables;
mod words;

use askama::Template;
use base64::Engine as _;
use sha2::{Digest, Sha256};
use tw_detect::audit::Inventory;
use tw_model::Severity;

use super::case::Case;
use super::sources::Sources;
use super::text::{Reading, name};
use drawing::Drawing;
pub(crate) use steps::Steps;
pub(crate) use words::Lang;
use words::{Flat, Text};

const STYLE: &str = include_str!("../../../templates/report.css");

/// Incidents that are told in full, and in one line each after them.
const MAX_INCIDENTS: usize = 40;
const MAX_MORE: usize = 500;
/// Incidents that the summary tells of.
const MAX_ACCOUNTS: usize = 3;

/// What a report is made of.
pub(crate) struct Ingredients<'a> {
    pub(crate) case: &'a Case,
    pub(crate) inventory: &'a Inventory,
    pub(crate) steps: &'a Steps,
    pub(crate) sources: &'a Sources,
    pub(crate) reading: &'a Reading,
    pub(crate) lang: Lang,
}

/// A page.
pub(crate) struct Page {
    lang: Lang,
    title: Text,
    sections: Vec<Section>,
    footer: Text,
}

struct Section {
    title: Text,
    /// Belongs to the section before it.
    below: bool,
    badge: Option<(&'static str, Text)>,
    blocks: Vec<Block>,
}

enum Block {
    Paragraph(Text),
    /// What stands out.
    Lead(Vec<Text>),
    List(Vec<Text>),
    Facts(Vec<(Text, Text)>),
    Table(Table),
    /// Lines of a Dockerfile; those that are marked.
    Source(Vec<(bool, Flat)>),
    Drawing(Drawing),
}

struct Table {
    heads: Vec<Text>,
    rows: Vec<Vec<Text>>,
}

#[derive(Template)]
#[template(path = "report.html")]
struct Html<'a> {
    page: &'a Page,
    style: &'a str,
    style_hash: String,
}

impl Section {
    fn new(title: Text) -> Self {
        Self { title, below: false, badge: None, blocks: Vec::new() }
    }

    fn below(title: Text) -> Self {
        Self { below: true, ..Self::new(title) }
    }

    fn table(mut self, heads: Vec<Text>, rows: Vec<Vec<Text>>) -> Self {
        self.blocks.push(Block::Table(Table { heads, rows }));
        self
    }
}

impl Page {
    /// Puts the page together.
    pub(crate) fn new(made_of: &Ingredients<'_>) -> Self {
        let Ingredients { case, lang, .. } = *made_of;
        let title = if case.findings.is_empty() { "title.none" } else { "title" };
        let incidents = case.incidents_by_weight();
        let mut sections = vec![summary(made_of, &incidents)];
        sections.extend(exposure::actions(made_of, &incidents));
        let told = accounts(&incidents).count();
        for (index, incident) in incidents.iter().take(MAX_INCIDENTS).enumerate() {
            sections.extend(incident::sections(made_of, incident, index < told));
        }
        sections.extend(more(lang, incidents.get(MAX_INCIDENTS..).unwrap_or_default()));
        sections.extend(exposure::inventory(made_of));
        sections.push(caveats(made_of));
        sections.push(read(made_of));
        let program = format!("tidewaiter {}", env!("CARGO_PKG_VERSION"));
        let mut footer = lang.word("fact.program");
        footer.push(&Text::of_plain(&format!(" {program}; ATT&CK {}", super::attack::version())));
        Self { lang, title: lang.word(title), sections, footer }
    }

    /// As one file that loads nothing.
    pub(crate) fn html(&self) -> anyhow::Result<String> {
        let digest = Sha256::digest(STYLE.as_bytes());
        let digest = base64::engine::general_purpose::STANDARD.encode(digest);
        let html = Html { page: self, style: STYLE, style_hash: format!("sha256-{digest}") };
        Ok(html.render()?)
    }

    /// As Markdown (CommonMark with the tables of GitHub); the drawing is left to its table.
    pub(crate) fn markdown(&self) -> String {
        let mut out = format!("# {}\n", self.title.markdown());
        for section in &self.sections {
            let level = if section.below { "###" } else { "##" };
            out.push_str(&format!("\n{level} {}", section.title.markdown()));
            if let Some((_, word)) = &section.badge {
                out.push_str(&format!(" ({})", word.markdown()));
            }
            out.push_str("\n\n");
            section.blocks.iter().for_each(|block| block.markdown(&mut out));
        }
        out.push_str(&format!("\n---\n\n{}\n", self.footer.markdown()));
        out
    }
}

impl Block {
    fn markdown(&self, out: &mut String) {
        let line = |out: &mut String, text: &str| {
            out.push_str(text);
            out.push('\n');
        };
        match self {
            Self::Paragraph(text) => line(out, &format!("{}\n", text.markdown())),
            Self::Lead(texts) => {
                texts.iter().for_each(|text| line(out, &format!("> {}\n>", text.markdown())));
                line(out, "");
            }
            Self::List(items) => {
                items.iter().for_each(|item| line(out, &format!("- {}", item.markdown())));
                line(out, "");
            }
            Self::Facts(facts) => {
                for (label, value) in facts {
                    line(out, &format!("- **{}**: {}", label.markdown(), value.markdown()));
                }
                line(out, "");
            }
            Self::Table(table) => {
                let row = |cells: &[Text]| {
                    let cells: Vec<String> = cells.iter().map(Text::markdown).collect();
                    format!("| {} |", cells.join(" | "))
                };
                line(out, &row(&table.heads));
                line(out, &format!("|{}", " --- |".repeat(table.heads.len())));
                table.rows.iter().for_each(|cells| line(out, &row(cells)));
                line(out, "");
            }
            Self::Source(lines) => {
                let longest = lines.iter().flat_map(|(_, l)| l.0.split(|c| c != '`')).map(str::len);
                let fence = "`".repeat(longest.max().unwrap_or(0).max(2) + 1);
                line(out, &fence);
                for (marked, text) in lines {
                    line(out, &format!("{} {}", if *marked { ">" } else { " " }, text.0));
                }
                line(out, &format!("{fence}\n"));
            }
            Self::Drawing(_) => {}
        }
    }
}

fn severity(lang: Lang, severity: Severity) -> (&'static str, Text) {
    let class = match severity {
        Severity::Critical => "critical",
        Severity::High => "high",
        Severity::Medium => "medium",
        Severity::Low => "low",
        Severity::Info => "info",
    };
    (class, lang.of("severity", class))
}

fn summary(made_of: &Ingredients<'_>, incidents: &[&tw_model::Incident]) -> Section {
    let Ingredients { case, lang, .. } = *made_of;
    let mut section = Section::new(lang.word("section.summary"));
    let Some(worst) = case.worst() else {
        section
            .blocks
            .push(Block::Lead(vec![lang.word("summary.nothing"), lang.word("caveat.always")]));
        return section;
    };
    let (class, word) = severity(lang, worst);
    section.badge = Some((class, word.clone()));
    section.blocks.push(Block::Paragraph(lang.say(
        "summary.count",
        &[
            ("incidents", incidents.len().into()),
            ("findings", case.findings.len().into()),
            ("severity", word.into()),
        ],
    )));
    for incident in accounts(incidents) {
        section.blocks.push(Block::Lead(incident::account(lang, case, incident)));
    }
    section
}

/// Incidents that the summary tells of: the worst, and others of some weight.
fn accounts<'a>(
    incidents: &'a [&'a tw_model::Incident],
) -> impl Iterator<Item = &'a tw_model::Incident> {
    let worst = incidents.first().map(|incident| incident.severity);
    let grave = move |severity| severity >= Severity::Medium || Some(severity) == worst;
    incidents.iter().copied().take_while(move |i| grave(i.severity)).take(MAX_ACCOUNTS)
}

fn more(lang: Lang, incidents: &[&tw_model::Incident]) -> Option<Section> {
    if incidents.is_empty() {
        return None;
    }
    let rows = incidents.iter().take(MAX_MORE).map(|incident| {
        vec![
            lang.moment(incident.started),
            severity(lang, incident.severity).1,
            Text::of_data(&incident.docker_host.to_string()),
            lang.list(incident.clients.iter().map(ToString::to_string), 4),
            Text::of_data(&incident.id),
        ]
    });
    let heads = heads(lang, &["head.time", "head.severity", "head.host", "head.by", "head.value"]);
    let mut section = Section::new(lang.word("section.more")).table(heads, rows.collect());
    let left = incidents.len().saturating_sub(MAX_MORE);
    if left > 0 {
        section.blocks.push(Block::Paragraph(lang.say("more", &[("count", left.into())])));
    }
    Some(section)
}

fn heads(lang: Lang, keys: &[&'static str]) -> Vec<Text> {
    keys.iter().map(|key| lang.word(key)).collect()
}

fn caveats(made_of: &Ingredients<'_>) -> Section {
    let Ingredients { case, lang, .. } = *made_of;
    let mut section = Section::new(lang.word("section.caveats"));
    let all: std::collections::BTreeSet<_> = case
        .incidents
        .iter()
        .flat_map(|incident| &incident.caveats)
        .chain(case.builds.iter().flat_map(|told| &told.body.caveats))
        .copied()
        .collect();
    let mut items: Vec<Text> = all.iter().map(|caveat| lang.of("caveat", &name(caveat))).collect();
    if items.is_empty() {
        items.push(lang.word("caveat.nothing"));
    }
    items.push(lang.word("caveat.always"));
    section.blocks.push(Block::List(items));
    section
}

fn read(made_of: &Ingredients<'_>) -> Section {
    let Ingredients { case, lang, reading, sources, .. } = *made_of;
    let counters = &reading.counters;
    let mut facts = vec![(lang.word("fact.captures"), lang.list(sources.names(), 20))];
    if let Some((first, last)) = reading.span {
        let span = [("from", lang.moment(first).into()), ("to", lang.moment(last).into())];
        facts.push((lang.word("fact.span"), lang.say("span", &span)));
    }
    let frames = [("frames", counters.frames.into()), ("bytes", counters.bytes.into())];
    facts.push((lang.word("fact.frames"), lang.say("fact.frames.value", &frames)));
    let seen = [
        ("builds", case.builds.len().into()),
        ("creations", case.creations.len().into()),
        ("registry", case.registries.len().into()),
        ("containers", case.containers.len().into()),
    ];
    facts.push((lang.word("fact.seen"), lang.say("fact.seen.value", &seen)));
    let baseline = if reading.baseline { "fact.baseline.yes" } else { "fact.baseline.no" };
    facts.push((lang.word("fact.baseline"), lang.word(baseline)));
    if counters.stream.gaps > 0 {
        let lost =
            [("gaps", counters.stream.gaps.into()), ("bytes", counters.stream.gap_bytes.into())];
        facts.push((lang.word("fact.lost"), lang.say("fact.lost.value", &lost)));
    }
    for warning in reading.warnings.iter().take(20) {
        facts.push((lang.word("fact.warning"), Text::of_data(warning)));
    }
    let mut section = Section::new(lang.word("section.read"));
    section.blocks.push(Block::Facts(facts));
    section
}
