//! What a daemon tells of a build while it runs: `Control/Status`, or the same messages in the
//! answer of `/build?version=2`.
//!
//! Only names of vertices, their errors and the exporter's own sentences are read; what a step
//! prints (`logs`) never is. Limits: [`MAX_NAMES`], [`MAX_TEXT_BYTES`].

use std::collections::{BTreeMap, BTreeSet};

use tw_model::{Secrets, redact_command};

use super::llb::without_resolved_digest;
use super::protobuf::Fields;
use super::solve::digest;
use crate::content::answer::AnswerFacts;
use crate::content::dockerfile;

const MAX_NAMES: usize = 4096;
const MAX_TEXT_BYTES: usize = 1 << 20;
const MAX_TAGS: usize = 64;
const MAX_ERROR_BYTES: usize = 4096;

/// Grows with every message.
#[derive(Default)]
pub(crate) struct Progress {
    seen: BTreeSet<String>,
    steps: Vec<String>,
    /// Images of which the daemon asked for the manifest.
    resolved: Vec<String>,
    tags: Vec<String>,
    image: Option<String>,
    /// What the daemon fetches as context.
    pub(crate) remote: Option<String>,
    error: Option<String>,
    text_bytes: usize,
    /// Names that were left out because of a limit.
    pub(crate) limit_hit: bool,
}

impl Progress {
    /// `moby/buildkit`, `api/services/control/control.proto`, `StatusResponse`: 1 `vertexes`
    /// (3 `name`, 7 `error`), 2 `statuses` (1 `ID`). Says whether it told something new.
    pub(crate) fn message(&mut self, message: &[u8]) -> bool {
        let mut fresh = false;
        for (number, value) in Fields::new(message) {
            for (inner, text) in value.message() {
                let Some(text) = text.text().filter(|text| !text.is_empty()) else { continue };
                fresh |= match (number, inner) {
                    (1, 3) => self.vertex(text),
                    (1, 7) => self.error(text),
                    (2, 1) => self.status(text),
                    _ => false,
                };
            }
        }
        fresh
    }

    /// Does it tell of a build at all?
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.remote.is_none()
    }

    /// The image that the daemon says it wrote.
    pub(crate) fn image(&self) -> Option<&str> {
        self.image.as_deref()
    }

    /// A vertex failed, and not because the client went away.
    pub(crate) const fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    /// Adds what was told to what another answer says.
    pub(crate) fn add_to(
        &self,
        facts: &mut AnswerFacts,
        build_args: &BTreeMap<String, String>,
        secrets: Secrets,
    ) {
        for step in &self.steps {
            // Each by itself: the names of here-documents have no end that could be found.
            let read = dockerfile::read(&one_line(step), build_args, None, secrets);
            append(&mut facts.steps, read.steps);
            append(&mut facts.urls, read.urls);
            append(&mut facts.proxies, read.proxies);
            // `COPY --from=` may name a stage, which has vertices of its own.
            if step.starts_with("FROM ") {
                append(&mut facts.base_images, read.base_images);
            }
        }
        if facts.base_images.is_empty() {
            facts.base_images.clone_from(&self.resolved);
        }
        append(&mut facts.tags, self.tags.clone());
        if let Some(image) = &self.image {
            facts.image_id = Some(image.clone());
        }
        if facts.error.is_none() {
            facts.error = self.error.as_deref().map(|error| redact_command(error, secrets));
        }
    }

    /// Observed: dockerd 20.10.24 and buildx 0.32: `[2/3] RUN …`, `[build 1/2] FROM …`,
    /// `[linux/amd64 build 1/2] FROM …`, `[internal] load …`.
    fn vertex(&mut self, name: &str) -> bool {
        if self.seen.contains(name) || !self.room_for(name) {
            return false;
        }
        self.seen.insert(name.to_owned());
        let Some((tag, rest)) = name.strip_prefix('[').and_then(|name| name.split_once("] "))
        else {
            return false;
        };
        if tag == "internal" {
            return self.internal(rest);
        }
        let count = tag.rsplit(' ').next().unwrap_or("");
        if !is_count(count) {
            return false;
        }
        self.steps.push(instruction(rest));
        true
    }

    fn internal(&mut self, name: &str) -> bool {
        if let Some(image) = name.strip_prefix("load metadata for ") {
            if !image.contains("docker/dockerfile") && self.resolved.len() < MAX_TAGS {
                self.resolved.push(image.to_owned());
            }
            return false;
        }
        let remote = name
            .strip_prefix("load git source ")
            .or_else(|| name.strip_prefix("load remote build context "));
        let Some(remote) = remote.filter(|_| self.remote.is_none()) else { return false };
        self.remote = Some(remote.to_owned());
        true
    }

    fn status(&mut self, id: &str) -> bool {
        if let Some(image) = id.strip_prefix("writing image ") {
            let image = digest(image.split_whitespace().next());
            let fresh = image.is_some() && image != self.image;
            self.image = image.or_else(|| self.image.take());
            return fresh;
        }
        let Some(tag) = id.strip_prefix("naming to ").and_then(|tag| tag.split(' ').next()) else {
            return false;
        };
        let fresh = self.tags.len() < MAX_TAGS && !self.tags.iter().any(|known| known == tag);
        if fresh && self.room_for(tag) {
            self.tags.push(tag.to_owned());
        }
        fresh
    }

    fn error(&mut self, error: &str) -> bool {
        if self.error.is_some() || error.contains("context canceled") {
            return false;
        }
        let end = error.floor_char_boundary(MAX_ERROR_BYTES);
        self.error = Some(error.get(..end).unwrap_or("").to_owned());
        true
    }

    fn room_for(&mut self, text: &str) -> bool {
        let bytes = self.text_bytes.saturating_add(text.len());
        if self.seen.len() >= MAX_NAMES || bytes > MAX_TEXT_BYTES {
            self.limit_hit = true;
            return false;
        }
        self.text_bytes = bytes;
        true
    }
}

/// `2/3`.
fn is_count(text: &str) -> bool {
    let is_number =
        |n: &str| !n.is_empty() && n.len() < 10 && n.bytes().all(|b| b.is_ascii_digit());
    text.split_once('/').is_some_and(|(step, of)| is_number(step) && is_number(of))
}

/// As a Dockerfile would have it.
fn instruction(name: &str) -> String {
    name.strip_prefix("FROM ")
        .map_or_else(|| name.to_owned(), |image| format!("FROM {}", without_resolved_digest(image)))
}

/// A name may hold line breaks, which an instruction cannot: they are continued.
fn one_line(step: &str) -> String {
    step.replace('\n', "\\\n")
}

fn append(list: &mut Vec<String>, more: Vec<String>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}
