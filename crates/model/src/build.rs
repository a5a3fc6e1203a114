//! Images made on a host: builds, and the ways that are no build.

use std::net::IpAddr;

use serde::Serialize;

use crate::{CallId, Caveat, DestinationName, Endpoint, NetworkTag, Timestamp};

/// Identity of a build or image creation, stable between runs: `build-` and 16 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct BuildId(pub String);

/// Which builder a build asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Frontend {
    /// Docker's classic builder, or Podman by the docker-compatible path.
    Classic,
    /// BuildKit.
    Buildkit,
    /// Podman by its own path.
    Libpod,
    /// Inferred from the shape of a conversation.
    Inferred,
}

/// How a build was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Transport {
    /// `POST /build`.
    #[serde(rename = "rest")]
    Rest,
    /// `POST /build?version=2` with a `/session`.
    #[serde(rename = "rest+session")]
    RestSession,
    /// `Control/Solve`.
    #[serde(rename = "grpc")]
    Grpc,
    /// Flow records.
    #[serde(rename = "flow")]
    Flow,
}

/// How it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// An image was made.
    Succeeded,
    /// The daemon said that it failed.
    Failed,
    /// The client went away before the end.
    Canceled,
    /// The end was not seen.
    #[default]
    Unknown,
}

/// The uploaded build context.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Context {
    /// Archive coding: `identity`, `gzip`, `bzip2`, `xz`, `zstd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Bytes as uploaded.
    pub bytes: u64,
    /// Regular files in it.
    pub files: u64,
    /// SHA-256 as uploaded, where seen whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// First 100 names.
    pub names: Vec<String>,
    /// Names (of the first 100) whose content begins like a program or has an executable format.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub executables: Vec<String>,
}

/// A destination inside a build's window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Destination {
    /// Address that was contacted.
    pub ip: IpAddr,
    /// Port that was contacted.
    pub port: u16,
    /// Names for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<DestinationName>,
    /// Payload bytes that the host received.
    pub bytes_in: u64,
    /// Payload bytes that the host sent.
    pub bytes_out: u64,
    /// First packet.
    pub first: Timestamp,
    /// Was it known then?
    pub known: bool,
    /// Does the build name it?
    pub named: bool,
    /// URLs that were requested in clear.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// SHA-256 of the bodies, where seen whole, in the order of `urls`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sha256: Vec<String>,
}

/// Why something that could not be read is taken for a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Inference {
    /// JA4 of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ja4: Option<String>,
    /// What speaks for it, for a person.
    pub signs: Vec<String>,
    /// As good as nothing speaks for a build rather than another call that changes something: it opens
    /// a window, but is told as no build.
    #[serde(skip)]
    pub doubtful: bool,
}

/// A build. Sent when the request head is there and again as it grows: readers keep the last for
/// each `id`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Build {
    /// Identity.
    pub id: BuildId,
    /// The API calls that it consists of; the first is the trigger.
    #[serde(skip)]
    pub calls: Vec<CallId>,
    /// The caller's address.
    pub client: IpAddr,
    /// The caller's port.
    pub client_port: u16,
    /// The daemon as it was called.
    pub daemon: Endpoint,
    /// Which network it was seen on.
    #[serde(skip)]
    pub tag: NetworkTag,
    /// Which builder.
    pub frontend: Frontend,
    /// How it was asked for.
    pub transport: Transport,
    /// In TLS?
    pub tls: bool,
    /// Where it was inferred: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inference: Option<Inference>,
    /// API version of the path, without `v`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// `User-Agent` of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// `t=` as sent; where the request was not captured, as the daemon answered.
    pub tags: Vec<String>,
    /// Base images after substitution, stages of the same Dockerfile and `scratch` left out.
    pub base_images: Vec<String>,
    /// Dockerfile text, secrets removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// Steps as the daemon announced them, else instructions of the Dockerfile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// Every URL (or bare host that a step fetches from) that the Dockerfile, a build argument or a step names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Those of them that it was told to use as a proxy, user info removed.
    #[serde(skip)]
    pub proxies: Vec<String>,
    /// `remote=`, user info removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Build arguments, secrets removed, in the order of their names.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub build_args: std::collections::BTreeMap<String, String>,
    /// `platform=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// `networkmode=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_mode: Option<String>,
    /// The uploaded context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
    /// First byte.
    pub started: Timestamp,
    /// Last answered byte, or last packet where the end was not seen.
    pub ended: Timestamp,
    /// The end was seen.
    #[serde(skip)]
    pub end_seen: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// `sha256:…` of the image made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// Short ids of the containers that the steps ran in.
    #[serde(skip)]
    pub step_containers: Vec<String>,
    /// Destinations inside the window; filled in by the detector.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<Destination>,
    /// What weakens it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub caveats: Vec<Caveat>,
}

impl Build {
    /// A build of which it is known who asked whom for it and when, and nothing else.
    #[must_use]
    pub fn begun(
        id: BuildId,
        (client, daemon): (Endpoint, Endpoint),
        tag: NetworkTag,
        (frontend, transport): (Frontend, Transport),
        started: Timestamp,
    ) -> Self {
        Self {
            id,
            calls: Vec::new(),
            client: client.ip,
            client_port: client.port,
            daemon,
            tag,
            frontend,
            transport,
            tls: false,
            inference: None,
            api_version: None,
            user_agent: None,
            tags: Vec::new(),
            base_images: Vec::new(),
            dockerfile: None,
            steps: Vec::new(),
            urls: Vec::new(),
            proxies: Vec::new(),
            remote: None,
            build_args: std::collections::BTreeMap::new(),
            platform: None,
            network_mode: None,
            context: None,
            started,
            ended: started,
            end_seen: false,
            outcome: Outcome::Unknown,
            image_id: None,
            step_containers: Vec::new(),
            destinations: Vec::new(),
            caveats: Vec::new(),
        }
    }
}

/// Ways to make an image that are no build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CreationKind {
    /// `POST /images/create?fromSrc=`.
    Import,
    /// `POST /commit`.
    Commit,
    /// `POST /images/load`.
    Load,
}

/// An image made without a build. Same life cycle as [`Build`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageCreation {
    /// Identity.
    pub id: BuildId,
    /// The API call.
    #[serde(skip)]
    pub call: CallId,
    /// Which way.
    pub kind: CreationKind,
    /// The caller's address.
    pub client: IpAddr,
    /// The caller's port.
    pub client_port: u16,
    /// The daemon as it was called.
    pub daemon: Endpoint,
    /// Which network it was seen on.
    #[serde(skip)]
    pub tag: NetworkTag,
    /// In TLS?
    pub tls: bool,
    /// `User-Agent` of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// URL of an import, user info removed; `-` for an upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Container of a commit, as named in the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Names of the image made.
    pub tags: Vec<String>,
    /// `sha256:…` of the image made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// First byte.
    pub started: Timestamp,
    /// Last answered byte.
    pub ended: Timestamp,
    /// The end was seen.
    #[serde(skip)]
    pub end_seen: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Destinations inside the window; filled in by the detector.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<Destination>,
    /// What weakens it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub caveats: Vec<Caveat>,
}
