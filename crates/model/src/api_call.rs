//! A call to a Docker API.

use serde::Serialize;

use crate::{Endpoint, FlowId, NetworkTag, Timestamp};

/// An API call: the connection and the ordinal of the exchange on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    /// The connection.
    pub flow: FlowId,
    /// Ordinal of the request on the connection, from 0.
    pub index: u64,
}

/// What an API call asks for, version prefix and spelling aside (Docker Engine API v1.43 and
/// Podman's libpod API).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// `GET|HEAD /_ping`.
    Ping,
    /// `GET /version`.
    Version,
    /// `GET /info`.
    Info,
    /// `GET /events`.
    Events,
    /// `POST /auth`.
    Auth,
    /// `GET /containers/json`.
    ContainerList,
    /// `GET /images/json`.
    ImageList,
    /// `POST /build`, `POST /libpod/build`.
    Build,
    /// `POST /session`.
    Session,
    /// `POST /grpc`.
    Grpc,
    /// `POST /commit`.
    Commit,
    /// `POST /images/load`.
    ImageLoad,
    /// `POST /images/create?fromSrc=`.
    ImageImport,
    /// `POST /images/create?fromImage=`.
    ImagePull,
    /// `POST /images/NAME/push`.
    ImagePush,
    /// `POST /images/NAME/tag`.
    ImageTag,
    /// `DELETE /images/NAME`.
    ImageRemove,
    /// `GET /images/…` that is none of the above.
    ImageInspect,
    /// `POST /containers/create`.
    ContainerCreate,
    /// `POST /containers/ID/start`.
    ContainerStart,
    /// `POST /containers/ID/stop|kill|restart|pause…`.
    ContainerStop,
    /// `DELETE /containers/ID`.
    ContainerRemove,
    /// `POST /containers/ID/wait`.
    ContainerWait,
    /// `POST /containers/ID/attach`.
    ContainerAttach,
    /// `GET /containers/ID/logs`.
    ContainerLogs,
    /// `PUT /containers/ID/archive`.
    ArchivePut,
    /// `GET|HEAD /containers/ID/archive`.
    ArchiveGet,
    /// `GET /containers/…` that is none of the above.
    ContainerInspect,
    /// `POST /containers/ID/exec`.
    ExecCreate,
    /// `POST /exec/ID/start`.
    ExecStart,
    /// `GET /exec/ID/json`, `POST /exec/ID/resize`.
    ExecInspect,
    /// `/networks…`.
    Network,
    /// `/volumes…`.
    Volume,
    /// `/swarm…`, `/nodes…`.
    Swarm,
    /// `/services…`, `/tasks…`.
    Service,
    /// `/plugins…`.
    Plugin,
    /// `/secrets…`, `/configs…`.
    Secret,
    /// `/system/df`, `/distribution/…`, and other reads.
    Other,
}

/// One call. Sent when the request head is there, and again as the answer becomes known and at the
/// end: readers keep the last for each `id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiCall {
    /// Identity within the run.
    pub id: CallId,
    /// The caller.
    pub client: Endpoint,
    /// The daemon as it was called.
    pub daemon: Endpoint,
    /// Which network it was seen on.
    pub tag: NetworkTag,
    /// What was asked.
    pub route: Route,
    /// Method as sent; empty when only the answer was captured.
    pub method: String,
    /// Normalised path without version prefix, without query.
    pub path: String,
    /// `v1.41` as sent, if any, without the `v`.
    pub api_version: Option<String>,
    /// `User-Agent` as sent.
    pub user_agent: Option<String>,
    /// The request carried an `Authorization` field. A Docker daemon looks at none: whether anybody
    /// did is not said by it.
    pub credentials: bool,
    /// What the answer says of who gave it, where it says anything.
    pub software: Option<Box<Software>>,
    /// The stream that it handed its connection over to, if it did.
    pub stream: Option<StreamUse>,
    /// Status of the final answer, where seen.
    pub status: Option<u16>,
    /// Does the answer, or the port together with the request, prove a Docker API?
    pub certain: bool,
    /// Carried in decrypted TLS.
    pub tls: bool,
    /// First byte of the request (of the answer where the request was not captured).
    pub started: Timestamp,
    /// Last byte seen.
    pub ended: Timestamp,
    /// The end of the answer was seen.
    pub complete: bool,
}

/// What a daemon says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Software {
    /// `Server` field of an answer, such as `Docker/20.10.24 (linux)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// `Api-Version` field of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Version in the body of an answer to `/version` or `/info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How the daemon's side of a stream is told apart into output and errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamFraming {
    /// Nothing came.
    #[default]
    Unknown,
    /// Not at all: a terminal.
    Raw,
    /// In frames.
    Frames,
}

/// An attached terminal, or the input and output of a program: how much went each way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamUse {
    /// How the output came.
    pub framing: StreamFraming,
    /// Bytes that the caller sent.
    pub input_bytes: u64,
    /// Bytes of output, of a terminal all that it showed.
    pub output_bytes: u64,
    /// Bytes of error output.
    pub error_bytes: u64,
    /// What was said, which may hold any secret: kept only where secrets are to be shown.
    #[serde(skip)]
    pub said: Option<Box<StreamText>>,
}

/// The beginning of what was said on a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamText {
    /// By the caller.
    pub input: Vec<u8>,
    /// By the program, output and errors as they came.
    pub output: Vec<u8>,
}
