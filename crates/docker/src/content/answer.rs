//! Reads the daemon's answer while it passes by: the JSON lines of a build, pull, import, load or
//! commit.
//!
//! In: the body of the answer, in any pieces. Out: the steps as the daemon announced them, what was
//! made, and what went wrong. From this alone the Dockerfile can be told where the upload was lost.
//! What a step prints stands in the same stream and can look like the daemon's own words: ids from
//! `aux`, which no step can write, win over printed ones. Limits: lines of 1 MiB, 10,000 steps,
//! 1 MiB of text, 1,000 of anything else.

mod line;

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tw_model::{Secrets, redact_command};

use super::dockerfile;
use super::urls::Finder;
use line::{Line, Said};

const MAX_LINE_BYTES: usize = 1 << 20;
const MAX_STEPS: usize = 10_000;
const MAX_TEXT_BYTES: usize = 1 << 20;
const MAX_ITEMS: usize = 1000;
const MAX_ERROR_BYTES: usize = 4096;

/// What an answer said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AnswerFacts {
    /// Instructions of the steps announced, such as `RUN wget …`, secrets removed.
    pub(crate) steps: Vec<String>,
    /// Base images of the `FROM` steps, after substitution.
    pub(crate) base_images: Vec<String>,
    /// Image that was made: `sha256:` and 64 digits, or 12 digits where only those were said.
    pub(crate) image_id: Option<String>,
    /// Names given to it.
    pub(crate) tags: Vec<String>,
    /// `Loaded image:` names.
    pub(crate) loaded: Vec<String>,
    /// Short ids of the containers that the steps ran in.
    pub(crate) step_containers: Vec<String>,
    /// URLs of the steps, and those that the daemon says it downloads.
    pub(crate) urls: Vec<String>,
    /// Those of them that are proxies.
    pub(crate) proxies: Vec<String>,
    /// The first error that the daemon reported, secrets removed.
    pub(crate) error: Option<String>,
    /// `Digest:` of a pull.
    pub(crate) status_digest: Option<String>,
    /// A result or an error was said.
    pub(crate) saw_end: bool,
    /// BuildKit status messages in it.
    pub(crate) buildkit_traces: u64,
    /// Bytes were missing.
    pub(crate) gap: bool,
    /// Lines that are no JSON.
    pub(crate) malformed_lines: u64,
    /// A limit was reached, and the rest left out.
    pub(crate) limit_hit: bool,
}

/// Push the body in, in order, then [`finish`](Self::finish).
///
/// Docker Engine API, `ImageBuild`, `ImageCreate`, `ImageLoad`, `ImageCommit`. Observed: dockerd
/// 20.10.24 (`Step 1/3 : FROM …`), podman 4.3.1 (`STEP 1/3: FROM …`).
#[derive(Clone)]
pub(crate) struct AnswerReader {
    build_args: BTreeMap<String, String>,
    secrets: Secrets,
    partial: Vec<u8>,
    skipping: bool,
    facts: AnswerFacts,
    announced: Vec<String>,
    text_bytes: usize,
    finder: Finder,
    full_id: Option<String>,
    printed_id: Option<String>,
    is_podman: bool,
}

impl AnswerReader {
    /// `build_args` are those of the call, for the variables of the steps.
    pub(crate) fn new(build_args: BTreeMap<String, String>, secrets: Secrets) -> Self {
        Self {
            build_args,
            secrets,
            partial: Vec::new(),
            skipping: false,
            facts: AnswerFacts::default(),
            announced: Vec::new(),
            text_bytes: 0,
            finder: Finder::default(),
            full_id: None,
            printed_id: None,
            is_podman: false,
        }
    }

    /// The next bytes of the answer.
    #[cfg(test)]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.push_with(bytes, &mut |_| {});
    }

    /// As [`push`](Self::push); `on_trace` gets the bytes of each BuildKit status message
    /// (`moby.buildkit.v1.StatusResponse`).
    pub(crate) fn push_with(&mut self, mut bytes: &[u8], on_trace: &mut dyn FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
            self.extend(line);
            self.end_of_line(on_trace);
            bytes = rest.get(1..).unwrap_or(&[]);
        }
        self.extend(bytes);
    }

    /// Bytes are missing here: the line that they were in is left out.
    pub(crate) fn gap(&mut self, len: u64) {
        if len > 0 {
            self.facts.gap = true;
            self.partial.clear();
            self.skipping = true;
        }
    }

    /// Steps announced so far: tells when [`so_far`](Self::so_far) has more to say.
    pub(crate) const fn announced_steps(&self) -> usize {
        self.announced.len()
    }

    /// What was said so far. Costs a copy and reading the steps.
    pub(crate) fn so_far(&self) -> AnswerFacts {
        self.clone().finish()
    }

    /// No more bytes will come.
    pub(crate) fn finish(self) -> AnswerFacts {
        self.finish_with(&mut |_| {})
    }

    /// As [`finish`](Self::finish), for the status message of a line without an end.
    pub(crate) fn finish_with(mut self, on_trace: &mut dyn FnMut(&[u8])) -> AnswerFacts {
        self.end_of_line(on_trace);
        let steps = self.announced.join("\n");
        let read = dockerfile::read(&steps, &self.build_args, None, self.secrets);
        let mut facts = self.facts;
        read.urls.iter().for_each(|url| self.finder.add(url));
        facts.urls = self.finder.into_urls();
        facts.proxies = read.proxies;
        facts.steps = read.steps;
        facts.base_images = read.base_images;
        facts.limit_hit |= read.limit_hit;
        facts.image_id = self.full_id.or(self.printed_id);
        facts
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.skipping {
            return;
        }
        if self.partial.len() + bytes.len() > MAX_LINE_BYTES {
            self.partial.clear();
            self.skipping = true;
            self.facts.limit_hit = true;
            return;
        }
        self.partial.extend_from_slice(bytes);
    }

    fn end_of_line(&mut self, on_trace: &mut dyn FnMut(&[u8])) {
        if std::mem::take(&mut self.skipping) {
            return;
        }
        let line = std::mem::take(&mut self.partial);
        for message in serde_json::Deserializer::from_slice(&line).into_iter::<Value>() {
            match message {
                Ok(message) => self.message(&message, on_trace),
                Err(_) => self.facts.malformed_lines += 1,
            }
        }
        self.partial = line;
        self.partial.clear();
    }

    /// One message, as `jsonmessage.JSONMessage` of the daemon's source names its fields.
    fn message(&mut self, message: &Value, on_trace: &mut dyn FnMut(&[u8])) {
        if let Some(text) = message.get("stream").and_then(Value::as_str) {
            self.stream(text);
        }
        if let Some(text) = message.get("status").and_then(Value::as_str) {
            self.status(text);
        }
        match message.get("aux") {
            Some(Value::String(trace)) if message.get("id").is_some_and(is_trace) => {
                self.facts.buildkit_traces += 1;
                if let Ok(bytes) = STANDARD.decode(trace) {
                    on_trace(&bytes);
                }
            }
            Some(aux) => self.image(aux.get("ID")),
            None => {}
        }
        self.image(message.get("Id"));
        let detail = message.get("errorDetail").and_then(|detail| detail.get("message"));
        let error = detail.or_else(|| message.get("error")).and_then(Value::as_str);
        if let Some(error) = error.or_else(|| message.get("message").and_then(Value::as_str)) {
            self.error(error);
        }
    }

    fn image(&mut self, id: Option<&Value>) {
        let Some(id) = id.and_then(Value::as_str).and_then(line::full_id) else { return };
        self.full_id = Some(id);
        self.facts.saw_end = true;
    }

    fn error(&mut self, error: &str) {
        self.facts.saw_end = true;
        if self.facts.error.is_none() {
            let cut = error.get(..error.floor_char_boundary(MAX_ERROR_BYTES)).unwrap_or(error);
            self.facts.error = Some(redact_command(cut, self.secrets));
        }
    }

    fn stream(&mut self, text: &str) {
        let Line { said, by_podman } = Line::read(text, self.is_podman);
        self.is_podman |= by_podman;
        match said {
            Said::Step(instruction) => self.step(instruction),
            Said::RunningIn(id) => keep(&mut self.facts.step_containers, id),
            Said::Built(id) => {
                self.printed_id = Some(id);
                self.facts.saw_end = true;
            }
            Said::Tagged(tag) => {
                keep(&mut self.facts.tags, tag);
                self.facts.saw_end = true;
            }
            Said::Loaded(name) => {
                self.facts.saw_end = true;
                match line::full_id(name) {
                    Some(id) => self.printed_id = Some(id),
                    None => keep(&mut self.facts.loaded, name),
                }
            }
            Said::Nothing => {}
        }
    }

    /// A step without what the daemon does not say; `RUN` may hold line breaks, which a Dockerfile
    /// cannot, so they are continued.
    fn step(&mut self, instruction: &str) {
        self.text_bytes = self.text_bytes.saturating_add(instruction.len());
        if self.announced.len() >= MAX_STEPS || self.text_bytes > MAX_TEXT_BYTES {
            self.facts.limit_hit = true;
            return;
        }
        self.announced.push(instruction.replace('\n', "\\\n"));
    }

    /// Docker Engine API, `ImageCreate`: `Downloading from URL`, `Digest: …`, the id of an import.
    fn status(&mut self, text: &str) {
        if let Some(digest) = text.strip_prefix("Digest: ") {
            self.facts.status_digest = Some(digest.trim().chars().take(200).collect());
            self.facts.saw_end = true;
        } else if let Some(id) = line::full_id(text.trim()) {
            self.full_id = Some(id);
            self.facts.saw_end = true;
        } else if text.contains("://") {
            self.finder.read(text);
        }
    }
}

fn keep(list: &mut Vec<String>, item: &str) {
    if list.len() < MAX_ITEMS && item.len() <= MAX_ERROR_BYTES && !list.iter().any(|i| i == item) {
        list.push(item.to_owned());
    }
}

fn is_trace(id: &Value) -> bool {
    id.as_str() == Some("moby.buildkit.trace")
}

#[cfg(test)]
mod tests;
