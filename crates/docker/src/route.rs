//! From a method and a request target to what is asked of a Docker API.
//!
//! Reads targets the way dockerd's router does (gorilla/mux over Go's `net/http`): the path is
//! percent-decoded once and then matched; a path that is not clean is answered with a redirect.

use tw_model::Route;

use crate::query::{Query, bounded, percent_decoded};

/// Longest path that is kept.
const MAX_PATH: usize = 8 * 1024;

/// A request target, taken apart.
#[derive(Clone)]
pub(crate) struct Target {
    /// Percent-decoded, cleaned, without a reverse proxy's prefix, version, `/libpod` and trailing slash.
    pub(crate) path: String,
    /// Of the `/v1.41` prefix, without the `v`.
    pub(crate) version: Option<String>,
    /// Under `/libpod`: Podman's own API.
    pub(crate) libpod: bool,
    /// As sent it had doubled slashes or dot segments: dockerd answers 301 and does nothing.
    pub(crate) unclean: bool,
    /// The query.
    pub(crate) query: Query,
    /// The path was cut off: its last segment may be only the beginning of one.
    pub(crate) cut: bool,
}

impl Target {
    /// RFC 9112 §3.2 (origin form and absolute form). `None` where Go's server answers 400: a path
    /// that does not begin with a slash, or a broken percent-encoding in it.
    pub(crate) fn read(target: &str) -> Option<Self> {
        let rest = without_authority(target);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        Self::of(target, rest, path, Query::read(query))
    }

    /// As [`read`](Self::read), for a target of which only the beginning was captured.
    pub(crate) fn read_begun(target: &str) -> Option<Self> {
        let rest = without_authority(target);
        if let Some((path, query)) = rest.split_once('?') {
            return Self::of(target, rest, path, Query::read_begun(query));
        }
        // A broken percent-encoding at its end is only a cut one.
        let tail = rest.char_indices().rev().take(2).find(|(_, c)| *c == '%').map(|(at, _)| at);
        let path = rest.get(..tail.unwrap_or(rest.len()))?;
        Some(Self { cut: true, ..Self::of(target, rest, path, Query::read_begun(""))? })
    }

    fn of(target: &str, rest: &str, path: &str, query: Query) -> Option<Self> {
        let path = if path.is_empty() && rest.len() < target.len() { "/" } else { path };
        if !path.starts_with('/') {
            return None;
        }
        let decoded = percent_decoded(&bounded(path, MAX_PATH))?;
        let (clean, unclean) = cleaned(&decoded);
        let (version, rest) = split_version(without_prefix(&clean));
        let (libpod, rest) = match rest.strip_prefix("/libpod") {
            Some(rest) if rest.starts_with('/') => (true, rest),
            _ => (false, rest),
        };
        Some(Self {
            path: rest.to_owned(),
            version: version.map(str::to_owned),
            libpod,
            unclean,
            query,
            cut: false,
        })
    }

    /// Docker Engine API v1.43 and Podman's libpod API v4, all operations. Methods are matched as
    /// sent: dockerd knows no lower-case ones.
    pub(crate) fn route(&self, method: &str) -> Option<Route> {
        let path = self.path.strip_prefix('/')?;
        let (head, rest) = path.split_once('/').unwrap_or((path, ""));
        if self.cut {
            return begun_route(method, path);
        }
        match head {
            "containers" => container_route(method, rest),
            "images" => self.image_route(method, rest),
            "exec" => exec_route(method, rest),
            "networks" => Some(Route::Network).filter(|_| known_method(method)),
            "volumes" => Some(Route::Volume).filter(|_| known_method(method)),
            "swarm" | "nodes" => Some(Route::Swarm).filter(|_| known_method(method)),
            "services" | "tasks" => Some(Route::Service).filter(|_| known_method(method)),
            "plugins" => Some(Route::Plugin).filter(|_| known_method(method)),
            "secrets" | "configs" => Some(Route::Secret).filter(|_| known_method(method)),
            "pods" | "manifests" | "play" | "kube" | "generate" | "local" if self.libpod => {
                Some(Route::Other).filter(|_| known_method(method))
            }
            _ => top_route(method, path),
        }
    }

    fn image_route(&self, method: &str, rest: &str) -> Option<Route> {
        let last = rest.rsplit('/').next().unwrap_or("");
        match (method, rest, last) {
            ("GET", "json", _) => Some(Route::ImageList),
            ("POST", "load", _) => Some(Route::ImageLoad),
            ("POST", "import", _) if self.libpod => Some(Route::ImageImport),
            ("POST", "pull", _) if self.libpod => Some(Route::ImagePull),
            // ImageCreate: `fromImage` wins in dockerd where both are given.
            ("POST", "create", _) if self.query.says("fromImage") => Some(Route::ImagePull),
            ("POST", "create", _) if self.query.is_cut() && !self.query.says("fromSrc") => {
                Some(Route::Other)
            }
            ("POST", "create", _) => Some(Route::ImageImport),
            ("POST", "prune", _) => Some(Route::Other),
            ("POST", _, "push") if rest != "push" => Some(Route::ImagePush),
            ("POST", _, "tag") if rest != "tag" => Some(Route::ImageTag),
            ("DELETE", _, _) if !rest.is_empty() => Some(Route::ImageRemove),
            ("GET", _, _) if !rest.is_empty() => Some(Route::ImageInspect),
            _ => None,
        }
    }

    /// `NAME` of `/containers/NAME/verb`, `/containers/NAME`, `/exec/ID/verb`, `/images/NAME/verb`.
    pub(crate) fn object(&self) -> &str {
        let rest = self.path.trim_start_matches('/');
        let rest = rest.split_once('/').map_or("", |(_, rest)| rest);
        match rest.rsplit_once('/') {
            Some((name, _)) => name,
            None => rest,
        }
    }

    /// Was the path cut off inside of what [`object`](Self::object) gives?
    pub(crate) fn is_object_cut(&self) -> bool {
        self.cut && self.path.matches('/').count() < 3
    }

    /// A call about one container of which the verb was cut off.
    pub(crate) fn is_begun_container(&self) -> bool {
        self.cut && self.path.starts_with("/containers/")
    }

    /// Last segment of the path.
    pub(crate) fn verb(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or("")
    }
}

/// What is certain of a path whose last segment may be only the beginning of one. PUT and DELETE have
/// one meaning for a container; of the calls about an exec that are sent with POST, start is the one
/// that every exec has.
fn begun_route(method: &str, path: &str) -> Option<Route> {
    let (head, rest) = path.split_once('/')?;
    let known = matches!(head, "containers" | "images" | "exec") && known_method(method);
    match (head, method) {
        _ if !known || rest.is_empty() => None,
        ("exec", "POST") => Some(Route::ExecStart),
        ("containers", "PUT") => Some(Route::ArchivePut),
        ("containers", "DELETE") => Some(Route::ContainerRemove),
        _ => Some(Route::Other),
    }
}

fn top_route(method: &str, path: &str) -> Option<Route> {
    match (method, path) {
        ("GET" | "HEAD", "_ping") => Some(Route::Ping),
        ("GET", "version") => Some(Route::Version),
        ("GET", "info") => Some(Route::Info),
        ("GET", "events") => Some(Route::Events),
        ("POST", "auth") => Some(Route::Auth),
        ("POST", "build") => Some(Route::Build),
        ("POST", "session") => Some(Route::Session),
        ("POST", "grpc") => Some(Route::Grpc),
        ("POST", "commit") => Some(Route::Commit),
        ("GET", "system/df") | ("POST", "build/prune" | "build/cancel") => Some(Route::Other),
        ("GET", _) if path.starts_with("distribution/") => Some(Route::Other),
        _ => None,
    }
}

fn container_route(method: &str, rest: &str) -> Option<Route> {
    let (name, verb) = rest.rsplit_once('/').unwrap_or((rest, ""));
    if name.is_empty() {
        return None;
    }
    if verb.is_empty() {
        return match (method, name) {
            ("GET", "json") => Some(Route::ContainerList),
            ("POST", "create") => Some(Route::ContainerCreate),
            ("POST", "prune") => Some(Route::Other),
            ("DELETE", _) => Some(Route::ContainerRemove),
            _ => None,
        };
    }
    match (method, verb) {
        ("POST", "start") => Some(Route::ContainerStart),
        ("POST", "stop" | "kill" | "restart" | "pause" | "unpause") => Some(Route::ContainerStop),
        ("POST", "wait") => Some(Route::ContainerWait),
        ("POST", "attach") => Some(Route::ContainerAttach),
        ("GET", "ws") if name.ends_with("/attach") => Some(Route::ContainerAttach),
        ("GET", "logs") => Some(Route::ContainerLogs),
        ("PUT", "archive") => Some(Route::ArchivePut),
        ("GET" | "HEAD", "archive") => Some(Route::ArchiveGet),
        ("POST", "exec") => Some(Route::ExecCreate),
        ("POST", "rename" | "update" | "resize" | "copy") => Some(Route::Other),
        ("GET", "json" | "top" | "stats" | "changes" | "export") => Some(Route::ContainerInspect),
        _ => None,
    }
}

fn exec_route(method: &str, rest: &str) -> Option<Route> {
    let (id, verb) = rest.rsplit_once('/')?;
    match (method, verb) {
        _ if id.is_empty() => None,
        ("POST", "start") => Some(Route::ExecStart),
        ("GET", "json") | ("POST", "resize") => Some(Route::ExecInspect),
        _ => None,
    }
}

fn known_method(method: &str) -> bool {
    matches!(method, "GET" | "POST" | "PUT" | "DELETE" | "HEAD")
}

/// `http://host:1/path` becomes `/path`; anything else stays.
fn without_authority(target: &str) -> &str {
    let Some((scheme, rest)) = target.split_once("://") else { return target };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return target;
    }
    rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())).1
}

/// Go's `path.Clean`: dot segments and empty segments go. A trailing slash goes too, but does not
/// make a path unclean (dockerd does not redirect it).
fn cleaned(path: &str) -> (String, bool) {
    let mut segments: Vec<&str> = Vec::new();
    let mut unclean = false;
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    for segment in inner.split('/') {
        match segment {
            "" | "." => unclean |= !inner.is_empty(),
            ".." => {
                unclean = true;
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let mut clean = String::with_capacity(path.len());
    for segment in segments {
        clean.push('/');
        clean.push_str(segment);
    }
    (clean, unclean)
}

/// dockerd's `/v{version:[0-9.]+}`; Podman also takes letters and dashes behind the first digit.
/// What a reverse proxy hands on of a path that it serves an API below: from the version of an engine's
/// API, or what follows a segment `docker`, as with Portainer's `/api/endpoints/1/docker/build`.
fn without_prefix(path: &str) -> &str {
    let first = path.get(1..).and_then(|path| path.split('/').next()).unwrap_or("");
    if split_version(path).0.is_some() || NAMED_BELOW.contains(&first) {
        return path;
    }
    let segments = || path.match_indices('/').filter_map(|(at, _)| path.get(at..));
    let is_api = |rest: &&str| split_version(rest).0.is_some_and(is_engine_version);
    let behind = || segments().find(|rest| rest.starts_with("/docker/"))?.strip_prefix("/docker");
    segments().find(is_api).or_else(behind).unwrap_or(path)
}

/// Segments below which anything may be a name.
const NAMED_BELOW: [&str; 13] = [
    "containers",
    "images",
    "exec",
    "networks",
    "volumes",
    "nodes",
    "services",
    "tasks",
    "plugins",
    "secrets",
    "configs",
    "distribution",
    "libpod",
];

/// Engine API versions have been 1.N with two digits since 2014.
pub(crate) fn is_engine_version(version: &str) -> bool {
    version
        .strip_prefix("1.")
        .is_some_and(|minor| minor.len() == 2 && minor.bytes().all(|byte| byte.is_ascii_digit()))
}

fn split_version(path: &str) -> (Option<&str>, &str) {
    let Some(rest) = path.strip_prefix("/v") else { return (None, path) };
    let Some(end) = rest.find('/') else { return (None, path) };
    let (version, after) = rest.split_at(end);
    let plausible = version.starts_with(|c: char| c.is_ascii_digit())
        && version.len() <= 32
        && version.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    if plausible { (Some(version), after) } else { (None, path) }
}

#[cfg(test)]
mod tests;
