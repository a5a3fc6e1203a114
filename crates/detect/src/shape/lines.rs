//! Lines that the classic builder always writes alike, by the length of their record.
//!
//! Docker Engine API, ImageBuild: the answer is JSON lines. The daemon flushes each one by itself, so
//! that each is one HTTP chunk (RFC 9112 §7.1) and one TLS record. Lines in which nothing varies, or
//! only an id of twelve digits does, always have the same length, whatever is built.

use tw_model::BuilderLines;

/// A line whose length is always the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Blank,
    Running,
    Cached,
    Image,
    Removed,
    Built,
}

/// Text of the lines, as JSON has them.
const LINES: [(Line, &str); 7] = [
    (Line::Blank, r"\n"),
    (Line::Running, r" ---\u003e Running in 0123456789ab\n"),
    (Line::Cached, r" ---\u003e Using cache\n"),
    (Line::Image, r" ---\u003e 0123456789ab\n"),
    (Line::Removed, r"Removing intermediate container 0123456789ab\n"),
    // From Docker 23 on.
    (Line::Removed, r" ---\u003e Removed intermediate container 0123456789ab\n"),
    (Line::Built, r"Successfully built 0123456789ab\n"),
];

/// Bytes of a record with that text: `{"stream":"…"}` and CRLF, as a chunk.
const fn record_bytes(text: &str) -> usize {
    let line = r#"{"stream":""}"#.len() + text.len() + 2;
    let size_digits = if line < 16 { 1 } else { 2 };
    size_digits + 2 + line + 2
}

/// Within so many records of the answer stands the first step's blank line: a session ticket, a
/// warning and the head with `Step 1/n` come before it.
const OPENING_RECORDS: u64 = 6;

fn line_of(content_bytes: u16) -> Option<Line> {
    LINES
        .iter()
        .find(|(_, text)| record_bytes(text) == usize::from(content_bytes))
        .map(|(line, _)| *line)
}

/// Reads the answer's records one after another.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    pub(super) lines: BuilderLines,
    records: u64,
    after_blank: bool,
}

impl Reading {
    pub(super) fn push(&mut self, content_bytes: u16) {
        let line = line_of(content_bytes);
        self.records = self.records.saturating_add(1);
        self.lines.opening |= line == Some(Line::Blank) && self.records <= OPENING_RECORDS;
        let expected = matches!(line, Some(Line::Running | Line::Cached | Line::Image));
        if std::mem::replace(&mut self.after_blank, line == Some(Line::Blank)) && expected {
            self.lines.followed += 1;
        }
        match line {
            Some(Line::Blank) => self.lines.blank += 1,
            Some(Line::Running) => self.lines.running += 1,
            Some(Line::Cached) => self.lines.cached += 1,
            Some(Line::Image) => self.lines.image += 1,
            Some(Line::Removed) => self.lines.removed += 1,
            Some(Line::Built) => self.lines.built += 1,
            None => {}
        }
        // What a step prints may have blank lines of its own; the first steps come before it.
        if self.lines.followed.saturating_mul(2) >= self.lines.blank {
            self.lines.steps = self.lines.followed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_that_were_recorded() {
        // dockerd 20.10.24 with TLS 1.3, whose records are 17 bytes longer than their content.
        let recorded = [40, 74, 62, 63, 84, 94, 71];
        let computed: Vec<usize> = LINES.iter().map(|(_, text)| record_bytes(text) + 17).collect();
        assert_eq!(computed, recorded);
    }

    #[test]
    fn a_step_is_a_blank_line_and_what_follows_it() {
        let mut reading = Reading::default();
        for record in [282, 40, 63, 92, 40, 74, 84, 63, 113, 71, 75, 22] {
            reading.push(record - 17);
        }
        let expected = BuilderLines {
            opening: true,
            steps: 2,
            blank: 2,
            followed: 2,
            running: 1,
            cached: 0,
            image: 2,
            removed: 1,
            built: 1,
        };
        assert_eq!(reading.lines, expected);
    }
}
