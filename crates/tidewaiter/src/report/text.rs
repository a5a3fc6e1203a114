//! The account for a person: one incident a block, worst first, each in the order in which things
//! happened; what is known and how, what is not; a summary last.

mod audit;
mod build;
mod incident;
mod registry;
mod summary;

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use tw_model::{Evidence, RecordNumber, Severity, Timestamp};

use super::case::Case;
use super::escape::terminal;
use super::lines::{Stage, Status};
use super::sources::Sources;
pub(crate) use audit::inventory;
pub(crate) use incident::name;
pub(crate) use summary::Reading;

const WIDTH: usize = 100;

/// Writes the account of a run.
pub(crate) fn account(case: &Case, sources: &Sources, reading: &Reading) -> String {
    let mut page = Page { out: String::new(), sources };
    for incident in case.incidents_by_weight() {
        incident::block(&mut page, case, incident);
    }
    build::apart(&mut page, case);
    registry::apart(&mut page, case);
    summary::block(&mut page, case, reading);
    page.out
}

/// Incidents that are told now, while the run goes on.
pub(crate) fn live(
    case: &Case,
    sources: &Sources,
    stage: &dyn Fn(&str) -> Option<Stage>,
) -> String {
    let mut page = Page { out: String::new(), sources };
    for incident in case.incidents_by_weight() {
        let Some(stage) = stage(&incident.id) else { continue };
        if stage.status == Status::Updated {
            page.line(&format!("Told again (revision {}), for more is known:", stage.revision));
        }
        incident::block(&mut page, case, incident);
    }
    page.out
}

/// Lines with styles; whoever prints them takes the styles away where there is no terminal.
struct Page<'a> {
    out: String,
    sources: &'a Sources,
}

impl Page<'_> {
    /// A paragraph from the wire or about it, wrapped and indented.
    fn paragraph(&mut self, indent: usize, text: &str) {
        let pad = " ".repeat(indent);
        self.wrapped(&pad, &pad, text);
    }

    /// A label and a value that may need several lines.
    fn field(&mut self, indent: usize, label: &str, value: &str) {
        let first = format!("{}{label:<14}", " ".repeat(indent));
        let rest = " ".repeat(indent + 14);
        self.wrapped(&first, &rest, value);
    }

    fn wrapped(&mut self, first: &str, rest: &str, text: &str) {
        let options = textwrap::Options::new(WIDTH)
            .initial_indent(first)
            .subsequent_indent(rest)
            .wrap_algorithm(textwrap::WrapAlgorithm::FirstFit)
            .word_splitter(textwrap::WordSplitter::NoHyphenation)
            .word_separator(textwrap::WordSeparator::AsciiSpace)
            .break_words(false);
        for line in textwrap::wrap(&terminal(text), options) {
            let _ = writeln!(self.out, "{line}");
        }
    }

    /// Lines kept as they are, behind a bar.
    fn verbatim(&mut self, indent: usize, text: &str, most: usize) {
        let pad = " ".repeat(indent);
        let lines: Vec<&str> = text.lines().collect();
        for line in lines.iter().take(most) {
            let shown: String = terminal(line).chars().take(400).collect();
            let _ = writeln!(self.out, "{pad}│ {shown}");
        }
        if lines.len() > most {
            let more = lines.len() - most;
            let _ = writeln!(self.out, "{pad}│ … {more} more lines (--format json has them)");
        }
    }

    fn heading(&mut self, text: &str) {
        let bold = Style::new().bold();
        let _ = writeln!(self.out, "\n  {bold}{text}{bold:#}");
    }

    /// A line that begins at the margin.
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
    }

    fn blank(&mut self) {
        self.out.push('\n');
    }

    /// `capture.pcap frame 12, 15`.
    fn places(&self, evidence: &[Evidence]) -> String {
        let mut text = String::new();
        let mut before = None;
        for place in evidence {
            let (word, number) = match place.record {
                RecordNumber::Frame(number) => ("frame", number),
                RecordNumber::Record(number) => ("record", number),
            };
            if before == Some(place.source) {
                let _ = write!(text, ", {number}");
            } else {
                let name = self.sources.name(place.source);
                let join = if text.is_empty() { "" } else { "; " };
                let _ = write!(text, "{join}{name} {word} {number}");
            }
            before = Some(place.source);
        }
        text
    }
}

fn paint(severity: Severity) -> Style {
    let bold = Style::new().bold();
    match severity {
        Severity::Critical | Severity::High => bold.fg_color(Some(AnsiColor::Red.into())),
        Severity::Medium => bold.fg_color(Some(AnsiColor::Yellow.into())),
        Severity::Low => bold.fg_color(Some(AnsiColor::Cyan.into())),
        Severity::Info => bold,
    }
}

pub(crate) const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "CRITICAL",
        Severity::High => "HIGH",
        Severity::Medium => "MEDIUM",
        Severity::Low => "LOW",
        Severity::Info => "INFO",
    }
}

/// `2026-11-24 22:21:34`.
fn day_and_second(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{} {}", text.get(..10).unwrap_or(""), text.get(11..19).unwrap_or(""))
}

/// `22:21:34.067`.
fn clock(at: Timestamp) -> String {
    at.to_string().get(11..23).unwrap_or("").to_owned()
}

/// `14:44:25 to 14:44:26 UTC`, as little of it as says it.
fn span(first: Timestamp, last: Timestamp) -> String {
    let (from, to) = (day_and_second(first), day_and_second(last));
    match (from.split_once(' '), to.split_once(' ')) {
        _ if from == to => format!("{from} UTC"),
        (Some((day, _)), Some((same, second))) if day == same => format!("{from} to {second} UTC"),
        _ => format!("{from} to {to} UTC"),
    }
}

/// `1 byte`, `1,234,567 bytes`.
fn bytes(count: u64) -> String {
    format!("{} byte{}", thousands(count), if count == 1 { "" } else { "s" })
}

/// `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && digits.len().saturating_sub(i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 finding`, `2 findings`.
fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
