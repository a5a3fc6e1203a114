//! LLB: the graph of operations that a frontend, or a client without one, hands to BuildKit.
//!
//! Only its sources and what it runs are read. Limits: [`MAX_ITEMS`] of each, [`MAX_TEXT`] bytes a
//! command.

use super::protobuf::{Fields, Value};
use crate::query::bounded;

const MAX_ITEMS: usize = 512;
const MAX_ARGUMENTS: usize = 256;
const MAX_TEXT: usize = 64 * 1024;

/// What a definition says.
#[derive(Default)]
pub(crate) struct Definition {
    /// Images, without `docker-image://`.
    pub(crate) images: Vec<String>,
    /// What the daemon fetches: git and http(s) URLs.
    pub(crate) remotes: Vec<String>,
    /// Those of the remotes that are git.
    pub(crate) git: Option<String>,
    /// Commands; a shell's script without the shell.
    pub(crate) runs: Vec<String>,
}

impl Definition {
    /// `moby/buildkit`, `solver/pb/ops.proto`, `Definition`: 1 `def`, an `Op` each.
    pub(crate) fn read(&mut self, definition: Fields<'_>) {
        for (_, op) in definition.filter(|(number, _)| *number == 1) {
            for (number, value) in op.message() {
                match number {
                    2 => self.exec(value),
                    3 => self.source(value),
                    _ => {}
                }
            }
        }
    }

    /// Nothing in it that is fetched or run?
    pub(crate) fn is_empty(&self) -> bool {
        self.images.is_empty() && self.remotes.is_empty() && self.runs.is_empty()
    }

    /// `ExecOp`: 1 `meta`, there 1 `args`.
    fn exec(&mut self, exec: Value<'_>) {
        let metas = exec.message().filter(|(number, _)| *number == 1);
        for (_, meta) in metas {
            let args = meta.message().filter(|(number, _)| *number == 1);
            let args: Vec<&str> =
                args.filter_map(|(_, value)| value.text()).take(MAX_ARGUMENTS).collect();
            let command = match args.as_slice() {
                [] => continue,
                [_, "-c", script] => (*script).to_owned(),
                words => words.join(" "),
            };
            keep(&mut self.runs, bounded(&command, MAX_TEXT));
        }
    }

    /// `SourceOp`: 1 `identifier`, 2 `attrs`; a git source has its whole URL among these.
    fn source(&mut self, source: Value<'_>) {
        let (mut identifier, mut full_url) = ("", None);
        for (number, value) in source.message() {
            match (number, value.entry()) {
                (1, _) => identifier = value.text().unwrap_or(""),
                (2, Some(("git.fullurl", url))) => full_url = url.text(),
                _ => {}
            }
        }
        if let Some(image) = identifier.strip_prefix("docker-image://") {
            keep(&mut self.images, bounded(without_resolved_digest(image), MAX_TEXT));
        } else if identifier.starts_with("http://") || identifier.starts_with("https://") {
            keep(&mut self.remotes, bounded(identifier, MAX_TEXT));
        } else if let Some(rest) = identifier.strip_prefix("git://") {
            let url = git_url(rest, full_url);
            keep(&mut self.remotes, url.clone());
            self.git.get_or_insert(url);
        }
    }
}

/// An image's name without the digest that the daemon resolved its tag to.
pub(super) fn without_resolved_digest(image: &str) -> &str {
    let has_tag = |name: &str| name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    match image.split_once('@') {
        Some((name, _)) if has_tag(name) => name,
        _ => image,
    }
}

/// The URL as it is cloned from, with the branch and folder that the identifier names.
fn git_url(identifier: &str, full_url: Option<&str>) -> String {
    let fragment = identifier.split_once('#').map(|(_, fragment)| fragment);
    let base = match full_url {
        Some(url) => url.to_owned(),
        None => format!("git://{}", identifier.split('#').next().unwrap_or("")),
    };
    let url = match fragment {
        Some(fragment) if !base.contains('#') => format!("{base}#{fragment}"),
        _ => base,
    };
    bounded(&url, MAX_TEXT)
}

fn keep(list: &mut Vec<String>, item: String) {
    if list.len() < MAX_ITEMS && !list.contains(&item) {
        list.push(item);
    }
}
