//! What a build call asks for, besides its context.

use std::collections::BTreeMap;

use super::upload::Upload;
use crate::json::Json;
use crate::query::{Query, bounded};
use crate::recognise::is_fetchable;

const MAX_TAGS: usize = 64;
const MAX_NAME: usize = 256;
const MAX_PATH: usize = 4 * 1024;
const MAX_URL: usize = 8 * 1024;
const MAX_ARGS: usize = 128;
const MAX_ARG_VALUE: usize = 8 * 1024;

/// Parameters of a build, as sent: build arguments still carry their secrets, so this is never
/// printed.
#[derive(Clone, Default)]
pub(crate) struct Params {
    pub(crate) tags: Vec<String>,
    pub(crate) dockerfile: Option<String>,
    pub(crate) remote: Option<String>,
    pub(crate) args: BTreeMap<String, String>,
    pub(crate) target: Option<String>,
    pub(crate) platform: Option<String>,
    pub(crate) network_mode: Option<String>,
    pub(crate) session: Option<String>,
    pub(crate) buildkit: bool,
    pub(crate) upload: Option<Upload>,
}

impl Params {
    /// Docker Engine API v1.43, ImageBuild; Podman's libpod API v4, ImageBuildLibpod.
    pub(crate) fn read(query: &Query) -> Self {
        let named = |key| query.first(key).map(|text| bounded(text, MAX_NAME));
        let session = named("session");
        let remote = query.first("remote").map(|url| bounded(url, MAX_URL));
        let buildkit = query.first("version") == Some("2");
        let id = named("buildid").filter(|_| buildkit);
        Self {
            upload: id.and_then(|id| Upload::read(remote.as_deref(), &id)),
            tags: query.all("t").take(MAX_TAGS).map(|tag| bounded(tag, MAX_NAME)).collect(),
            dockerfile: query.first("dockerfile").map(|name| bounded(name, MAX_PATH)),
            // The CLI's placeholders for "comes by the session" and "comes by another call".
            remote: remote
                .filter(|remote| remote != "client-session" && remote != "upload-request"),
            args: query.first("buildargs").map(build_args).unwrap_or_default(),
            target: named("target"),
            platform: named("platform"),
            network_mode: named("networkmode"),
            session,
            buildkit,
        }
    }
}

impl Params {
    /// Attributes of a Dockerfile frontend and the exporter's `name` (`moby/buildkit`,
    /// `frontend/dockerfile/README` and `frontend/dockerui`): what the query is for the engine's
    /// own call. What is there already stays.
    pub(crate) fn add_attributes(
        &mut self,
        attributes: &BTreeMap<String, String>,
        name: Option<&str>,
    ) {
        let names = name.into_iter().flat_map(|names| names.split(','));
        for tag in names.map(str::trim).filter(|tag| !tag.is_empty()).take(MAX_TAGS) {
            let tag = bounded(tag, MAX_NAME);
            if !self.tags.contains(&tag) {
                self.tags.push(tag);
            }
        }
        let named = |key| attributes.get(key).filter(|text| !text.is_empty());
        let short = |key| named(key).map(|text| bounded(text, MAX_NAME));
        let remote = named("context").filter(|remote| is_remote(remote));
        self.remote = self.remote.take().or_else(|| remote.map(|url| bounded(url, MAX_URL)));
        let file = || named("filename").map(|name| bounded(name, MAX_PATH));
        self.dockerfile = self.dockerfile.take().or_else(file);
        self.target = self.target.take().or_else(|| short("target"));
        self.platform = self.platform.take().or_else(|| short("platform"));
        self.network_mode = self.network_mode.take().or_else(|| short("force-network-mode"));
        for (key, value) in attributes {
            let Some(arg) = key.strip_prefix("build-arg:") else { continue };
            if self.args.len() < MAX_ARGS {
                self.args.insert(bounded(arg, MAX_NAME), bounded(value, MAX_ARG_VALUE));
            }
        }
    }
}

/// What the daemon fetches itself; an uploaded archive has a URL too, of a host of BuildKit's own.
fn is_remote(context: &str) -> bool {
    is_fetchable(context) && !context.starts_with("http://buildkit-session")
}

/// A JSON object of strings; `null` means "as in the client's environment" and says nothing.
fn build_args(text: &str) -> BTreeMap<String, String> {
    let args = Json::read(text.as_bytes()).value;
    let pairs = args.pairs().iter().take(MAX_ARGS).filter_map(|(name, value)| {
        let Json::String(value) = value else { return None };
        Some((bounded(name, MAX_NAME), bounded(value, MAX_ARG_VALUE)))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let query = "t=a:1&t=b&dockerfile=sub%2FDockerfile.x&remote=http://h/D&target=run\
            &buildargs=%7B%22A%22%3A%22b%22%2C%22N%22%3Anull%7D&platform=linux/arm64&networkmode=host";
        let params = Params::read(&Query::read(query));
        assert_eq!(params.tags, ["a:1", "b"]);
        assert_eq!(params.dockerfile.as_deref(), Some("sub/Dockerfile.x"));
        assert_eq!(params.remote.as_deref(), Some("http://h/D"));
        assert_eq!(params.args.into_iter().collect::<Vec<_>>(), [("A".into(), "b".into())]);
        assert_eq!(params.target.as_deref(), Some("run"));
        assert_eq!(params.network_mode.as_deref(), Some("host"));
    }

    #[test]
    fn a_session_is_no_remote() {
        let params = Params::read(&Query::read("version=2&session=abc&remote=client-session"));
        assert_eq!((params.remote, params.buildkit), (None, true));
        assert_eq!(params.session.as_deref(), Some("abc"));
    }

    #[test]
    fn an_upload_has_two_sides() {
        let upload = |query| Params::read(&Query::read(query)).upload;
        let takes = upload("version=2&remote=upload-request&buildid=a1");
        assert_eq!(takes, Some(Upload::Takes("a1".into())));
        let gives = upload("version=2&buildid=upload-request%3Aa1");
        assert_eq!(gives, Some(Upload::Gives("a1".into())));
        // The classic builder knows neither.
        assert_eq!(upload("buildid=upload-request%3Aa1"), None);
        assert_eq!(upload("version=2&buildid=a1"), None);
    }

    #[test]
    fn hostile_arguments_are_bounded() {
        let many: Vec<String> = (0..1_000).map(|n| format!("\"A{n}\":\"b\"")).collect();
        assert_eq!(build_args(&format!("{{{}}}", many.join(","))).len(), MAX_ARGS);
        assert!(build_args(&"[".repeat(100_000)).is_empty());
    }
}
