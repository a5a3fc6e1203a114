//! Is it a Docker API? Judged from a request, and from an answer.
//!
//! Two mistakes cost: a web site with a `/build` or `/info` of its own must not become a docker host,
//! and an attack of which only the requests were captured must not be missed. So a request counts by
//! itself on a port where daemons listen, or where it says what only a Docker client says; all other
//! requests wait for an answer that proves it.

use tw_model::Route;
use tw_proto::{RequestHead, ResponseHead};

use crate::route::{Target, is_engine_version};

/// How sure we are that the responder is a Docker API. Ordered by how it grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The path alone; nothing is told to anyone.
    Guess,
    /// The request speaks for itself.
    Request,
    /// The answer, or an earlier answer of the same daemon.
    Answer,
    /// The answer is not a daemon's.
    Refuted,
}

/// Ports on which daemons listen: 2375 and 2376 (registered), 4243 and 4244 (older), 1234 (buildkitd).
/// 8080 and 8888 are not among them: everything listens there.
pub(crate) const fn is_docker_port(port: u16) -> bool {
    matches!(port, 2375 | 2376 | 4243 | 4244 | 1234)
}

/// Does this request say what only a Docker client says?
pub(crate) fn is_specific(head: &RequestHead, target: &Target, route: Route) -> bool {
    let docker_agent = head.header("user-agent").is_some_and(|agent| {
        ["Docker-Client/", "moby-client/", "docker-sdk-python/"]
            .iter()
            .any(|known| agent.starts_with(known))
    });
    if target.libpod || docker_agent || head.header("x-docker-expose-session-uuid").is_some() {
        return true;
    }
    let versioned = target.version.as_deref().is_some_and(is_engine_version);
    match route {
        Route::Build => is_specific_build(head, target),
        Route::ImageImport => target.query.says("fromSrc"),
        Route::ImagePull => target.query.says("fromImage"),
        Route::Commit => target.query.has_any(&["container"]) && target.query.has_any(&["repo"]),
        Route::ImageLoad => versioned || is_archive(head),
        Route::ContainerCreate
        | Route::ContainerStart
        | Route::ContainerStop
        | Route::ContainerRemove
        | Route::ContainerWait
        | Route::ContainerAttach
        | Route::ContainerLogs
        | Route::ContainerInspect
        | Route::ContainerList
        | Route::ArchivePut
        | Route::ArchiveGet
        | Route::ExecCreate
        | Route::ExecStart
        | Route::ExecInspect
        | Route::ImageList
        | Route::Ping => versioned || is_id(target.object()),
        _ => false,
    }
}

/// A tar as body, or a context that the daemon is to fetch.
fn is_specific_build(head: &RequestHead, target: &Target) -> bool {
    is_archive(head)
        || target.query.first("remote").is_some_and(is_fetchable)
        || (head.header("x-registry-config").is_some() && target.query.has_any(&["t"]))
}

fn is_archive(head: &RequestHead) -> bool {
    let media = head.header("content-type").unwrap_or("").trim_start();
    ["application/x-tar", "application/tar"].iter().any(|known| {
        media.get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known))
    })
}

/// A container's or exec's id, whole or as the CLI shortens it.
fn is_id(name: &str) -> bool {
    matches!(name.len(), 12 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Docker Engine API v1.43, ImageBuild `remote`: an http(s) or git URL.
pub(crate) fn is_fetchable(remote: &str) -> bool {
    remote.contains("://") || remote.starts_with("git@") || remote.starts_with("github.com/")
}

/// Headers that only a daemon sends (observed: dockerd 20.10, Podman 4.3).
pub(crate) fn is_daemon_answer(head: &ResponseHead) -> bool {
    let marks = ["api-version", "docker-experimental", "libpod-api-version"];
    if marks.iter().any(|mark| head.header(mark).is_some()) {
        return true;
    }
    let server = head.header("server").unwrap_or("");
    server.starts_with("Docker/") || server.starts_with("Libpod/")
}

/// What an answer without a daemon's headers does to a proof by request. A hijacked connection (101)
/// and the router's redirect come without them; so does everything behind a proxy that strips them,
/// which is why success on a docker port, or of a specific request, refutes nothing.
pub(crate) const fn weighed(proof: Proof, status: u16) -> Proof {
    match (proof, status) {
        (Proof::Request, 300..=399 | 101 | 200..=299) => Proof::Request,
        (Proof::Request, _) => Proof::Refuted,
        (other, _) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_engine() {
        for (version, engine) in [
            ("1.41", true),
            ("1.24", true),
            ("1.0", false),
            ("1", false),
            ("2.10", false),
            ("1.4x", false),
        ] {
            assert_eq!(is_engine_version(version), engine, "{version}");
        }
    }

    #[test]
    fn an_answer_only_weakens_what_the_request_alone_proved() {
        assert_eq!(weighed(Proof::Request, 404), Proof::Refuted);
        assert_eq!(weighed(Proof::Request, 200), Proof::Request);
        assert_eq!(weighed(Proof::Answer, 404), Proof::Answer);
        assert_eq!(weighed(Proof::Guess, 200), Proof::Guess);
    }
}
