//! Splits a Dockerfile into instructions.
//!
//! `parse-dockerfile` reads the file as far as it is well formed; from the last good instruction
//! before an error on, a scanner takes one logical line after the other, as the daemon's own parser
//! does.

use std::ops::Range;

use parse_dockerfile::{HereDoc, Instruction, Source, parse_iter};

/// Instructions kept of one file.
const MAX_STATEMENTS: usize = 20_000;

/// Here-documents without an end that are searched for.
const MAX_OPEN_HERE_DOCUMENTS: usize = 16;

/// A file, split.
pub(super) struct Split {
    pub(super) statements: Vec<Statement>,
    pub(super) escape: char,
    pub(super) syntax: Option<String>,
    pub(super) malformed: bool,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// In upper case.
    pub(super) keyword: String,
    /// The logical line: continuation lines joined, comments between them left out.
    pub(super) line: String,
    /// The logical line without the keyword.
    pub(super) body: String,
    pub(super) here_documents: Vec<HereDocument>,
    /// Where the logical line starts in the text, and where it ends.
    pub(super) start: usize,
    pub(super) line_end: usize,
}

/// The body of a here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HereDocument {
    pub(super) text: String,
}

/// Splits a file. Never fails; what is no instruction is one with an unknown keyword.
pub(super) fn split(text: &str) -> Split {
    let skipped = text.len() - text.strip_prefix('\u{feff}').unwrap_or(text).len();
    let source = text.get(skipped..).unwrap_or(text);
    let Directives { escape, syntax } = Directives::read(source);
    let (mut statements, rest) = well_formed(source, escape);
    if let Some(from) = rest {
        scan(source, from, escape, &mut statements);
    }
    for statement in &mut statements {
        statement.start += skipped;
        statement.line_end += skipped;
    }
    Split { statements, escape, syntax, malformed: rest.is_some() }
}

/// The statements up to the first error, and where to go on from if there was one.
fn well_formed(source: &str, escape: char) -> (Vec<Statement>, Option<usize>) {
    let mut statements: Vec<Statement> = Vec::new();
    let Ok(instructions) = parse_iter(source) else { return (statements, Some(0)) };
    for instruction in instructions.take(MAX_STATEMENTS) {
        let Ok(instruction) = instruction else {
            let resume = statements.pop().map_or(0, |last| last.start);
            return (statements, Some(resume));
        };
        let (start, here_documents) = located(&instruction);
        statements.push(statement_at(source, start, escape, here_documents));
    }
    (statements, None)
}

fn statement_at(
    source: &str,
    start: usize,
    escape: char,
    here_documents: Vec<HereDocument>,
) -> Statement {
    let (line, line_end) = logical_line(source, start, escape);
    let end = line.find(char::is_whitespace).unwrap_or(line.len());
    let (keyword, body) = line.split_at_checked(end).unwrap_or((&line, ""));
    Statement {
        keyword: keyword.to_ascii_uppercase(),
        body: body.trim().to_owned(),
        here_documents,
        start,
        line_end,
        line,
    }
}

/// Where an instruction starts, and its here-documents.
fn located(instruction: &Instruction<'_>) -> (usize, Vec<HereDocument>) {
    let none = |span: &Range<usize>| (span.start, Vec::new());
    match instruction {
        Instruction::Add(i) => (i.add.span.start, of_sources(&i.src)),
        Instruction::Copy(i) => (i.copy.span.start, of_sources(&i.src)),
        Instruction::Run(i) => (i.run.span.start, i.here_docs.iter().map(body_of).collect()),
        Instruction::Onbuild(i) => (i.onbuild.span.start, located(&i.instruction).1),
        Instruction::Arg(i) => none(&i.arg.span),
        Instruction::Cmd(i) => none(&i.cmd.span),
        Instruction::Entrypoint(i) => none(&i.entrypoint.span),
        Instruction::Env(i) => none(&i.env.span),
        Instruction::Expose(i) => none(&i.expose.span),
        Instruction::From(i) => none(&i.from.span),
        Instruction::Healthcheck(i) => none(&i.healthcheck.span),
        Instruction::Label(i) => none(&i.label.span),
        Instruction::Maintainer(i) => none(&i.maintainer.span),
        Instruction::Shell(i) => none(&i.shell.span),
        Instruction::Stopsignal(i) => none(&i.stopsignal.span),
        Instruction::User(i) => none(&i.user.span),
        Instruction::Volume(i) => none(&i.volume.span),
        Instruction::Workdir(i) => none(&i.workdir.span),
        _ => (0, Vec::new()),
    }
}

fn of_sources(sources: &[Source<'_>]) -> Vec<HereDocument> {
    let documents = sources.iter().filter_map(|source| match source {
        Source::HereDoc(document) => Some(body_of(document)),
        _ => None,
    });
    documents.collect()
}

fn body_of(document: &HereDoc<'_>) -> HereDocument {
    HereDocument { text: document.value.clone().into_owned() }
}

/// The logical line at `start`, and where it ends in the source.
///
/// A line whose last character but blanks is a single escape goes on in the next; comments and
/// empty lines in between are no part of it.
fn logical_line(source: &str, start: usize, escape: char) -> (String, usize) {
    let mut line = String::new();
    let mut at = start;
    let mut first = true;
    for physical in source.get(start..).unwrap_or("").split_inclusive('\n') {
        let content = physical.trim_end_matches(['\n', '\r']);
        let bare = content.trim_start();
        at += physical.len();
        if !first && (bare.is_empty() || bare.starts_with('#')) {
            continue;
        }
        first = false;
        match continued(content, escape) {
            Some(content) => line.push_str(content),
            None => {
                line.push_str(content);
                return (line.trim().to_owned(), at - (physical.len() - content.len()));
            }
        }
    }
    (line.trim().to_owned(), at.min(source.len()))
}

/// The line without the escape at its end, if that makes it go on.
fn continued(line: &str, escape: char) -> Option<&str> {
    let content = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!content.ends_with(escape)).then_some(content)
}

/// One logical line after the other, from `at` on.
fn scan(source: &str, mut at: usize, escape: char, statements: &mut Vec<Statement>) {
    let mut unended = 0;
    while let Some(rest) = source.get(at..).filter(|rest| !rest.is_empty()) {
        if statements.len() >= MAX_STATEMENTS {
            return;
        }
        let blank = rest.len() - rest.trim_start().len();
        let rest = rest.trim_start();
        if rest.is_empty() {
            return;
        }
        at += blank;
        if rest.starts_with('#') {
            at += rest.find('\n').map_or(rest.len(), |end| end + 1);
            continue;
        }
        let mut statement = statement_at(source, at, escape, Vec::new());
        at = after_line_break(source, statement.line_end).max(at + 1);
        if matches!(statement.keyword.as_str(), "RUN" | "COPY" | "ADD" | "ONBUILD") {
            for (strip_tabs, word) in here_document_words(&statement.body) {
                if unended >= MAX_OPEN_HERE_DOCUMENTS {
                    break;
                }
                match here_document(source.get(at..).unwrap_or(""), strip_tabs, &word) {
                    Some((document, length)) => {
                        statement.here_documents.push(document);
                        at += length;
                    }
                    None => unended += 1,
                }
            }
        }
        statements.push(statement);
    }
}

fn after_line_break(source: &str, at: usize) -> usize {
    let rest = source.get(at..).unwrap_or("");
    at + rest.len().min(rest.find('\n').map_or(rest.len(), |end| end + 1))
}

/// The `<<WORD`, `<<-WORD` and `<<"WORD"` of a line: whether tabs are stripped, and the word.
fn here_document_words(body: &str) -> Vec<(bool, String)> {
    let mut words = Vec::new();
    let mut rest = body;
    while let Some(at) = rest.find("<<") {
        let tail = rest.get(at + 2..).unwrap_or("");
        let run = tail.len() - tail.trim_start_matches('<').len();
        rest = tail.get(run..).unwrap_or("");
        if run > 0 {
            continue;
        }
        let (strip_tabs, word) = rest.strip_prefix('-').map_or((false, rest), |w| (true, w));
        let word = word.trim_start_matches(['"', '\'']);
        let end =
            word.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '.').unwrap_or(word.len());
        if let Some(word) = word.get(..end).filter(|word| !word.is_empty()) {
            words.push((strip_tabs, word.to_owned()));
        }
        if words.len() >= MAX_OPEN_HERE_DOCUMENTS {
            break;
        }
    }
    words
}

/// The here-document at the start of `text`, and its length with the line that ends it.
fn here_document(text: &str, strip_tabs: bool, word: &str) -> Option<(HereDocument, usize)> {
    let mut length = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end_matches(['\n', '\r']);
        let content = if strip_tabs { content.trim_start_matches('\t') } else { content };
        if content == word {
            let body = text.get(..length).unwrap_or("").to_owned();
            return Some((HereDocument { text: body }, length + line.len()));
        }
        length += line.len();
    }
    None
}

/// Dockerfile reference, "Parser directives".
struct Directives {
    escape: char,
    syntax: Option<String>,
}

impl Directives {
    /// The `# name=value` lines before anything else. BuildKit takes `//` for `#` in `syntax` too,
    /// and skips a `#!` line.
    fn read(source: &str) -> Self {
        let mut directives = Self { escape: '\\', syntax: None };
        for (index, line) in source.lines().enumerate().take(64) {
            let line = line.trim();
            if index == 0 && line.starts_with("#!") {
                continue;
            }
            let comment = line.strip_prefix('#').or_else(|| line.strip_prefix("//"));
            let Some((name, value)) = comment.and_then(|comment| comment.split_once('=')) else {
                break;
            };
            let (name, value) = (name.trim(), value.trim());
            if name.eq_ignore_ascii_case("escape") && value == "`" {
                directives.escape = '`';
            }
            let image = value.split_whitespace().next();
            if name.eq_ignore_ascii_case("syntax") && directives.syntax.is_none() {
                directives.syntax = image.map(str::to_owned);
            }
        }
        directives
    }
}

#[cfg(test)]
mod tests {
    use super::{Statement, scan, split};

    fn scanned(text: &str, escape: char) -> Vec<Statement> {
        let mut statements = Vec::new();
        scan(text, 0, escape, &mut statements);
        statements
    }

    #[test]
    fn both_readers_agree_on_well_formed_files() {
        for text in [
            "FROM alpine:3.18\nRUN a\nCMD [\"x\"]\n",
            "# c\n\nfrom a\r\nrun x \\\r\n  y\r\n",
            "FROM a\nRUN a \\\n# comment\n\n  && b\\\n && c\nRUN d",
            "FROM a\nRUN <<EOF\nFROM b\nEOF\nRUN x\n",
            "FROM a\nRUN <<-'E' cat\n\tx\n\tE\nCOPY <<A <<B /d/\n1\nA\n2\nB\nUSER u\n",
            "ARG V=1\nFROM a:$V AS b\nONBUILD RUN x\nHEALTHCHECK --interval=1s CMD y\nRUN z \\",
            "FROM a\nRU\\\nN x\nENV A=b \\\n C=d\n",
        ] {
            let file = split(text);
            assert!(!file.malformed, "{text}");
            let strip = |s: &Statement| {
                let tabs = |d: &super::HereDocument| d.text.replace('\t', "");
                (s.line.clone(), s.start, s.here_documents.iter().map(tabs).collect::<Vec<_>>())
            };
            let expected: Vec<_> = file.statements.iter().map(strip).collect();
            assert_eq!(
                scanned(text, '\\').iter().map(strip).collect::<Vec<_>>(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn backtick_escapes_where_a_directive_says_so() {
        let file = split("# escape=`\nFROM a\nRUN x `\n  y\n");
        assert_eq!(file.escape, '`');
        assert_eq!(file.statements.last().unwrap().line, "RUN x   y");
    }

    #[test]
    fn lines_after_an_error_are_still_read() {
        let file = split("FROM a\nRUN x\nBOGUS here\nRUN <<E\nwget\nE\nRUN <<OPEN\nRUN last\n");
        assert!(file.malformed);
        let lines: Vec<_> = file.statements.iter().map(|s| s.line.as_str()).collect();
        assert_eq!(lines, ["FROM a", "RUN x", "BOGUS here", "RUN <<E", "RUN <<OPEN", "RUN last"]);
        assert_eq!(file.statements[3].here_documents[0].text, "wget\n");
    }
}
