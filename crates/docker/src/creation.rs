//! Images made without a build: commit, import and load, as [`ImageCreation`].
//!
//! Limits: answers are read line by line, up to 64 KiB each; [`MAX_TAGS`] names of an image.

use tw_model::{
    ApiCall, Caveat, CreationKind, ImageCreation, ObservationBody, Outcome, Route, Secrets,
    Timestamp, redact_url,
};
use tw_proto::BodyEnd;

use crate::id::BuildIdentity;
use crate::json::Json;
use crate::lines::Lines;
use crate::outcome::{Ending, add_caveat};
use crate::query::bounded;
use crate::route::Target;

const MAX_TAGS: usize = 64;
const MAX_NAME: usize = 256;
const MAX_SOURCE: usize = 8 * 1024;

/// One call that makes an image.
pub(crate) struct CreationCall {
    creation: ImageCreation,
    lines: Lines,
    ending: Ending,
    /// Known to make an image: by the request, or by a line of its answer.
    recognised: bool,
    secrets: Secrets,
}

impl CreationCall {
    /// Docker Engine API v1.43, ImageCommit, ImageCreate with `fromSrc`, ImageLoad; Podman's
    /// libpod API v4, ImageImportLibpod. `None` for every other call.
    pub(crate) fn new(api: &ApiCall, target: &Target, secrets: Secrets) -> Option<Self> {
        let kind = match api.route {
            Route::Commit => CreationKind::Commit,
            Route::ImageImport => CreationKind::Import,
            Route::ImageLoad => CreationKind::Load,
            _ => return None,
        };
        let mut call = Self::blank(api, kind, secrets);
        call.recognised = true;
        let query = |key| target.query.first(key);
        match kind {
            CreationKind::Import => {
                let upload = (!target.query.is_cut()).then_some("-");
                let source = query("fromSrc").or_else(|| query("url")).or(upload);
                call.creation.source =
                    source.map(|source| redact_url(&bounded(source, MAX_SOURCE), secrets));
                call.add_tag(tagged(query("repo").or_else(|| query("reference")), query("tag")));
            }
            CreationKind::Commit => {
                call.creation.container = query("container").map(|name| bounded(name, MAX_NAME));
                call.add_tag(tagged(query("repo"), query("tag")));
            }
            CreationKind::Load => {}
        }
        Some(call)
    }

    /// A creation of which only the answer is seen: its lines will tell which kind, if any.
    pub(crate) fn from_answer(api: &ApiCall, secrets: Secrets) -> Self {
        Self::blank(api, CreationKind::Load, secrets)
    }

    fn blank(api: &ApiCall, kind: CreationKind, secrets: Secrets) -> Self {
        let identity = BuildIdentity {
            kind: "creation",
            daemon: api.daemon,
            client: api.client,
            started: api.started,
            exchange: api.id.index,
        };
        let creation = ImageCreation {
            id: identity.id(),
            call: api.id,
            kind,
            client: api.client.ip,
            client_port: api.client.port,
            daemon: api.daemon,
            tag: api.tag,
            tls: api.tls,
            user_agent: api.user_agent.clone(),
            source: None,
            container: None,
            tags: Vec::new(),
            image_id: None,
            started: api.started,
            ended: api.started,
            end_seen: false,
            outcome: Outcome::Unknown,
            destinations: Vec::new(),
            caveats: Vec::new(),
        };
        Self {
            creation,
            lines: Lines::default(),
            ending: Ending::default(),
            recognised: false,
            secrets,
        }
    }

    /// Which call it is, once known.
    pub(crate) const fn recognised(&self) -> Option<Route> {
        match (self.recognised, self.creation.kind) {
            (false, _) => None,
            (true, CreationKind::Commit) => Some(Route::Commit),
            (true, CreationKind::Import) => Some(Route::ImageImport),
            (true, CreationKind::Load) => Some(Route::ImageLoad),
        }
    }

    /// Does the answer itself prove that an image was made?
    pub(crate) fn is_proven_by_answer(&self) -> bool {
        self.creation.image_id.is_some() || self.loaded()
    }

    /// The answer was no daemon's: nothing was made.
    pub(crate) fn refuse(&mut self) {
        self.ending.failed();
        self.conclude();
    }

    /// Something weakens it.
    pub(crate) fn add_caveat(&mut self, caveat: Caveat) {
        add_caveat(&mut self.creation.caveats, caveat);
    }

    /// Bytes of the upload, which are not read.
    pub(crate) const fn request_body(&mut self, at: Timestamp) {
        self.creation.ended = at;
    }

    /// The answer's status.
    pub(crate) fn response_head(&mut self, status: u16, at: Timestamp) {
        self.creation.ended = at;
        self.ending.head(status);
        self.creation.outcome = self.ending.outcome();
    }

    /// Bytes of the answer.
    pub(crate) fn response_body(&mut self, bytes: &[u8], at: Timestamp) {
        self.creation.ended = at;
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(bytes, &mut |line| self.read_line(line));
        self.lines = lines;
    }

    /// Missing bytes of the answer.
    pub(crate) fn response_gap(&mut self, at: Timestamp) {
        self.creation.ended = at;
        self.lines.gap();
        self.ending.gap();
        self.add_caveat(Caveat::Gaps);
    }

    /// The answer is over.
    pub(crate) fn response_end(&mut self, end: BodyEnd, at: Timestamp) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.end(&mut |line| self.read_line(line));
        self.ending.body_end(end, at, &mut self.creation.ended);
        self.conclude();
    }

    /// Nothing more will come; `gone` as for [`Ending::conclude`].
    pub(crate) fn over(&mut self, gone: Option<Timestamp>) {
        let seen = self.ending.end_seen();
        let ImageCreation { ended, caveats, .. } = &mut self.creation;
        self.ending.conclude(seen, gone, ended, caveats);
        self.conclude();
    }

    /// What is known so far; `None` where the daemon did not take the call.
    pub(crate) fn observation(&self) -> ObservationBody {
        ObservationBody::ImageCreation(Box::new(self.creation.clone()))
    }

    /// The daemon sent the caller elsewhere, or knows no such call.
    pub(crate) const fn was_not_taken(&self) -> bool {
        self.ending.was_not_taken()
    }

    fn conclude(&mut self) {
        self.ending.made_image(self.is_proven_by_answer());
        self.creation.outcome = self.ending.outcome();
        self.creation.end_seen = self.ending.end_seen();
    }

    fn loaded(&self) -> bool {
        self.creation.kind == CreationKind::Load && !self.creation.tags.is_empty()
    }

    /// Observed: dockerd 20.10 answers an import with status lines of which the last is the id, a
    /// load with `Loaded image: NAME`, a commit with `{"Id":…}`; Podman 4.3 a load with `Names` or a
    /// stream line, an import with `Id`.
    fn read_line(&mut self, line: &[u8]) {
        let answer = Json::read(line).value;
        let text = |key| answer.field(key).and_then(Json::text).map(str::trim);
        if text("error").is_some() || answer.field("errorDetail").is_some() {
            self.ending.failed();
        }
        for name in answer.field("Names").map(Json::texts).unwrap_or_default() {
            self.add_tag(Some(bounded(name, MAX_NAME)));
        }
        for line in [text("status"), text("stream"), text("Id")].into_iter().flatten() {
            if let Some(source) = line.strip_prefix("Downloading from ") {
                self.read_source(source);
            } else if is_digest(line) {
                self.creation.image_id = Some(line.to_owned());
                if !self.recognised && self.ending.status() == Some(201) && text("Id").is_some() {
                    // ImageCommit alone is answered so.
                    self.recognised = true;
                    self.creation.kind = CreationKind::Commit;
                }
            } else if is_bare_digest(line) {
                self.creation.image_id = Some(format!("sha256:{line}"));
            } else if let Some(id) = line.strip_prefix("Loaded image ID: ") {
                self.creation.image_id = Some(id.to_owned()).filter(|id| is_digest(id));
            } else if let Some(names) = line
                .strip_prefix("Loaded image: ")
                .or_else(|| line.strip_prefix("Loaded image(s): "))
            {
                for name in names.split(',') {
                    self.add_tag(Some(bounded(name.trim(), MAX_NAME)));
                }
                self.recognised |= self.loaded();
            }
        }
    }

    fn read_source(&mut self, source: &str) {
        if !self.recognised {
            self.recognised = true;
            self.creation.kind = CreationKind::Import;
            self.creation.source = Some(redact_url(&bounded(source, MAX_SOURCE), self.secrets));
        }
    }

    fn add_tag(&mut self, tag: Option<String>) {
        let Some(tag) = tag else { return };
        let tags = &mut self.creation.tags;
        if tags.len() < MAX_TAGS && !tags.contains(&tag) {
            tags.push(tag);
        }
    }
}

/// `repo` and `tag`, with the daemon's default tag.
fn tagged(repo: Option<&str>, tag: Option<&str>) -> Option<String> {
    let repo = bounded(repo?, MAX_NAME);
    let has_tag = repo.rsplit('/').next().is_some_and(|name| name.contains([':', '@']));
    match tag {
        Some(tag) if tag.starts_with("sha256:") => Some(format!("{repo}@{}", bounded(tag, 128))),
        Some(tag) => Some(format!("{repo}:{}", bounded(tag, 128))),
        None if has_tag => Some(repo),
        None => Some(format!("{repo}:latest")),
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(is_bare_digest)
}

fn is_bare_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images() {
        for (repo, tag, name) in [
            (Some("a/b"), Some("1"), Some("a/b:1")),
            (Some("a/b"), None, Some("a/b:latest")),
            (Some("h:5000/b"), None, Some("h:5000/b:latest")),
            (Some("b:2"), None, Some("b:2")),
            (None, Some("1"), None),
        ] {
            assert_eq!(tagged(repo, tag).as_deref(), name);
        }
    }
}
