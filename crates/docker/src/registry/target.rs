//! Request targets of the registry protocol (OCI Distribution Specification v1.1, "Endpoints").

use crate::query::{Query, bounded, percent_decoded};

/// Longest path that is read.
const MAX_PATH: usize = 1024;
/// Longest repository name (Distribution Specification: 255 with the registry's host).
const MAX_NAME: usize = 255;

/// What a request of the registry protocol is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Repository.
    pub(crate) repository: String,
    /// What of it.
    pub(crate) part: Part,
}

/// What of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// `/v2/NAME/manifests/REFERENCE`.
    Manifest(String),
    /// `/v2/NAME/blobs/DIGEST`.
    Blob(String),
    /// `/v2/NAME/blobs/uploads/ID?digest=`, or the request for one.
    Upload {
        /// Last segment of the upload's location; empty where one is asked for.
        id: String,
        /// The content's digest, once it is whole.
        digest: Option<String>,
        /// The content is to be taken from another repository (end-11).
        mount: Option<String>,
    },
}

impl Target {
    /// `None` for what is not of the registry protocol, or is about no content (`/v2/`, tags,
    /// referrers).
    pub(crate) fn read(target: &str) -> Option<Self> {
        let rest = match target.split_once("://") {
            Some((scheme, rest)) if scheme.len() <= 5 => rest.get(rest.find('/')?..)?,
            _ => target,
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = percent_decoded(path.strip_prefix("/v2/").filter(|p| p.len() <= MAX_PATH)?)?;
        let (head, last) = path.rsplit_once('/')?;
        if let Some(name) = head.strip_suffix("/manifests") {
            let reference = (is_tag(last) || is_digest(last)).then(|| last.to_owned())?;
            return Self::of(name, Part::Manifest(reference));
        }
        if let Some(name) = head
            .strip_suffix("/blobs/uploads")
            .or_else(|| (last == "uploads").then(|| head.strip_suffix("/blobs")).flatten())
        {
            let query = Query::read(query);
            let digest = |key| query.first(key).filter(|d| is_digest(d)).map(str::to_owned);
            let id = if last == "uploads" { String::new() } else { bounded(last, 128) };
            return Self::of(
                name,
                Part::Upload { id, digest: digest("digest"), mount: digest("mount") },
            );
        }
        let name = head.strip_suffix("/blobs")?;
        Self::of(name, Part::Blob(is_digest(last).then(|| last.to_owned())?))
    }

    fn of(name: &str, part: Part) -> Option<Self> {
        is_name(name).then(|| Self { repository: name.to_owned(), part })
    }
}

/// Distribution Specification, "Pulling manifests": the grammar of `<name>`, upper case let pass.
fn is_name(name: &str) -> bool {
    let is_component = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    name.len() <= MAX_NAME && name.split('/').all(is_component)
}

/// Distribution Specification, "Pulling manifests": the grammar of a tag.
pub(crate) fn is_tag(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// OCI Image Specification, "Digests": `sha256:` and 64, or `sha512:` and 128 hex digits.
pub(crate) fn is_digest(text: &str) -> bool {
    let (algorithm, hex) = text.split_once(':').unwrap_or(("", ""));
    let digits = match algorithm {
        "sha256" => 64,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == digits && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:dc36c70bb7b114e113973df8b8e63a2d4b023bad384e11459e523a0729ef7d7f";

    fn read(target: &str) -> Option<(String, Part)> {
        Target::read(target).map(|t| (t.repository, t.part))
    }

    #[test]
    fn endpoints() {
        let manifest = |name: &str, reference: &str| {
            Some((name.to_owned(), Part::Manifest(reference.to_owned())))
        };
        assert_eq!(read("/v2/k8s/pause/manifests/3.9"), manifest("k8s/pause", "3.9"));
        assert_eq!(read("/v2/a/manifests/3?ns=docker.io"), manifest("a", "3"));
        assert_eq!(read(&format!("/v2/a/manifests/{DIGEST}")), manifest("a", DIGEST));
        assert_eq!(read("http://reg.example/v2/a/manifests/1"), manifest("a", "1"));
        assert_eq!(read("/v2/manifests/manifests/blobs"), manifest("manifests", "blobs"));
        let blob = Some(("a/b".to_owned(), Part::Blob(DIGEST.to_owned())));
        assert_eq!(read(&format!("/v2/a/b/blobs/{DIGEST}")), blob);
        assert_eq!(read(&format!("/v2/a/b/blobs/{}", DIGEST.replace(':', "%3A"))), blob);
    }

    #[test]
    fn uploads() {
        let upload = |id: &str, digest: Option<&str>, mount: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let part = Part::Upload { id: id.into(), digest: owned(digest), mount: owned(mount) };
            Some(("team/app".to_owned(), part))
        };
        assert_eq!(read("/v2/team/app/blobs/uploads/"), upload("", None, None));
        assert_eq!(read("/v2/team/app/blobs/uploads"), upload("", None, None));
        let mount = format!("/v2/team/app/blobs/uploads/?mount={DIGEST}&from=base");
        assert_eq!(read(&mount), upload("", None, Some(DIGEST)));
        let put = format!("/v2/team/app/blobs/uploads/1-2?_state=x&digest={DIGEST}");
        assert_eq!(read(&put.replace("sha256:", "sha256%3A")), upload("1-2", Some(DIGEST), None));
    }

    #[test]
    fn anything_else_is_none() {
        for target in [
            "/v2/",
            "/v2",
            "/v2/_catalog",
            "/v2/a/tags/list",
            "/v2/xmrig",
            "/v1/a/manifests/1",
            "/v2//manifests/1",
            "/v2/a//b/manifests/1",
            "/v2/../manifests/1",
            "/v2/a/manifests/",
            "/v2/a/manifests/a b",
            "/v2/a/blobs/sha256:00",
            "/v2/a/blobs/x",
            "*",
            "",
            "://",
            "/v2/%zz/manifests/1",
        ] {
            assert_eq!(read(target), None, "{target}");
        }
    }
}
