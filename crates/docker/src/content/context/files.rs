//! What is remembered of the entries of a context.

use std::collections::BTreeMap;

use tw_model::Context;

use super::tar::{Entry, Kind, TarEvent};
use super::{ContextFacts, ContextLimits};

/// Small files are kept, because the Dockerfile may be a link to one.
const MAX_SMALL_BYTES: u64 = 64 * 1024;
const MAX_SMALL_TOTAL_BYTES: usize = 1 << 20;
const MAX_KEPT_FILES: usize = 1024;
const MAX_LINKS: usize = 1024;

/// Longest name that is kept, as `PATH_MAX` allows.
const MAX_NAME_BYTES: usize = 4096;

/// Links followed before giving up.
const MAX_HOPS: usize = 8;

/// First bytes of a file that tell a program.
pub(crate) const MAGIC_BYTES: usize = 8;

/// Collects the facts of an archive's entries.
#[derive(Default)]
pub(super) struct Files {
    candidates: Vec<String>,
    limits: ContextLimits,
    context: Context,
    kept: BTreeMap<String, Kept>,
    links: BTreeMap<String, String>,
    small_bytes: usize,
    current: Option<Current>,
    limit_hit: bool,
}

#[derive(Default)]
struct Kept {
    content: Vec<u8>,
    truncated: bool,
}

/// The entry whose content is passing by.
struct Current {
    name: String,
    magic: Vec<u8>,
    runnable: bool,
    listed: bool,
    /// Content to keep, and how much of it at most.
    keep: Option<(Kept, usize)>,
}

impl Files {
    pub(super) fn new(dockerfile_path: &str, limits: ContextLimits) -> Self {
        Self { candidates: candidates(dockerfile_path), limits, ..Self::default() }
    }

    pub(super) fn dockerfile_limit(&self) -> usize {
        self.limits.max_dockerfile_bytes
    }

    pub(super) fn event(&mut self, event: TarEvent<'_>) {
        match event {
            TarEvent::Entry(entry) => self.entry(&entry),
            TarEvent::Data(bytes) => self.data(bytes),
            TarEvent::Gap => self.missing(),
            TarEvent::End => self.end(),
        }
    }

    fn entry(&mut self, entry: &Entry) {
        let name = normalised(&entry.name);
        if entry.kind != Kind::Directory {
            self.forget(&name);
        }
        let is_file = entry.kind == Kind::File;
        self.context.files += u64::from(is_file);
        let listed = entry.kind != Kind::Directory
            && entry.kind != Kind::Other
            && self.context.names.len() < self.limits.max_names;
        if listed {
            self.context.names.push(name.clone());
        }
        if matches!(entry.kind, Kind::HardLink | Kind::SymbolicLink) {
            self.link(name, entry);
            return;
        }
        let keep = self.room_for(&name, entry).filter(|_| is_file);
        self.current = Some(Current {
            name,
            magic: Vec::new(),
            runnable: entry.mode & 0o111 != 0,
            listed: listed && is_file,
            keep: keep.map(|room| (Kept { truncated: entry.is_sparse, ..Kept::default() }, room)),
        });
    }

    /// Extraction replaces what had the name before.
    fn forget(&mut self, name: &str) {
        if let Some(old) = self.kept.remove(name)
            && !self.is_wanted(name)
        {
            self.small_bytes = self.small_bytes.saturating_sub(old.content.len());
        }
        self.links.remove(name);
    }

    fn link(&mut self, name: String, entry: &Entry) {
        if self.links.len() >= MAX_LINKS && !self.is_wanted(&name) {
            self.limit_hit = true;
            return;
        }
        let target = if entry.kind == Kind::HardLink || entry.link.starts_with(b"/") {
            normalised(&entry.link)
        } else {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            normalised(&[folder.as_bytes(), b"/", &entry.link].concat())
        };
        self.links.insert(name, target);
    }

    fn is_wanted(&self, name: &str) -> bool {
        name == ".dockerignore" || self.candidates.iter().any(|candidate| candidate == name)
    }

    fn room_for(&self, name: &str, entry: &Entry) -> Option<usize> {
        if self.is_wanted(name) {
            return Some(self.limits.max_dockerfile_bytes);
        }
        let size = usize::try_from(entry.size).ok().filter(|_| entry.size <= MAX_SMALL_BYTES)?;
        let fits = self.small_bytes + size <= MAX_SMALL_TOTAL_BYTES;
        (fits && self.kept.len() < MAX_KEPT_FILES).then_some(size)
    }

    fn data(&mut self, bytes: &[u8]) {
        let Some(current) = &mut self.current else { return };
        let missing = MAGIC_BYTES.saturating_sub(current.magic.len()).min(bytes.len());
        current.magic.extend_from_slice(bytes.get(..missing).unwrap_or(&[]));
        if let Some((kept, limit)) = &mut current.keep {
            let room = limit.saturating_sub(kept.content.len()).min(bytes.len());
            kept.truncated |= room < bytes.len();
            kept.content.extend_from_slice(bytes.get(..room).unwrap_or(&[]));
        }
    }

    /// What follows a hole is not kept: text is never put together over one.
    fn missing(&mut self) {
        let Some(current) = &mut self.current else { return };
        if current.magic.len() < MAGIC_BYTES {
            current.magic.resize(MAGIC_BYTES, 0);
        }
        if let Some((kept, limit)) = &mut current.keep {
            kept.truncated = true;
            *limit = kept.content.len();
        }
    }

    fn end(&mut self) {
        let Some(current) = self.current.take() else { return };
        self.settle(current);
    }

    fn settle(&mut self, current: Current) {
        if current.listed && is_program(&current.magic, current.runnable) {
            self.context.executables.push(current.name.clone());
        }
        if let Some((kept, _)) = current.keep {
            if !self.is_wanted(&current.name) {
                self.small_bytes += kept.content.len();
            }
            self.kept.insert(current.name, kept);
        }
    }

    pub(super) fn finish(mut self) -> ContextFacts {
        if let Some(mut current) = self.current.take() {
            if let Some((kept, _)) = &mut current.keep {
                kept.truncated = true;
            }
            self.settle(current);
        }
        let found = self.candidates.iter().find_map(|candidate| self.resolve(candidate));
        let linked_away =
            found.is_none() && self.candidates.iter().any(|c| self.links.contains_key(c));
        let dockerignore = self.kept.get(".dockerignore").map(|kept| lossy(&kept.content));
        ContextFacts {
            dockerfile: found.map(|kept| lossy(&kept.content)),
            dockerfile_truncated: linked_away || found.is_some_and(|kept| kept.truncated),
            dockerignore,
            limit_hit: self.limit_hit,
            context: self.context,
            ..ContextFacts::default()
        }
    }

    fn resolve(&self, name: &str) -> Option<&Kept> {
        let mut name = name;
        for _ in 0..MAX_HOPS {
            if let Some(kept) = self.kept.get(name) {
                return Some(kept);
            }
            name = self.links.get(name)?;
        }
        None
    }
}

/// Where the Dockerfile may be, the likeliest first.
///
/// Docker falls back from its default `Dockerfile` to `dockerfile`, Podman looks for
/// `Containerfile` and for `Dockerfile`.
fn candidates(path: &str) -> Vec<String> {
    let listed: Option<Vec<String>> =
        path.starts_with('[').then(|| serde_json::from_str(path).ok()).flatten();
    let path = listed.and_then(|paths| paths.into_iter().next()).unwrap_or_else(|| path.to_owned());
    let path = normalised(path.as_bytes());
    let defaults = ["Dockerfile", "dockerfile", "Containerfile"];
    let mut candidates = vec![path.clone()];
    if path.is_empty() || defaults.contains(&path.as_str()) {
        candidates.extend(defaults.iter().map(|name| (*name).to_owned()));
    }
    candidates.retain(|name| !name.is_empty());
    candidates
}

/// The path in the context: no leading slash, no `.` and no `..`.
pub(crate) fn normalised(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name.get(..MAX_NAME_BYTES).unwrap_or(name));
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// ELF, PE, Mach-O (thin, and fat unless it is a Java class), or a script that may be run.
pub(crate) fn is_program(magic: &[u8], runnable: bool) -> bool {
    match magic {
        [0x7f, b'E', b'L', b'F', ..] | [b'M', b'Z', _, ..] => true,
        [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..] | [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..] => true,
        [0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, architectures, ..] => *architectures < 0x20,
        [b'#', b'!', ..] => runnable,
        _ => false,
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
