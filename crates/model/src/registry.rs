//! An image that is pulled from a registry, or pushed to one.

use std::net::IpAddr;

use serde::Serialize;

use crate::{BuildId, CallId, Endpoint, FlowId, NetworkTag, Timestamp};

/// Identity of a registry action: the same traffic gives the same id in every run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RegistryActionId(pub String);

/// Which way the image goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistryVerb {
    /// From the registry to the host.
    Pull,
    /// From the host to the registry.
    Push,
}

/// What a registry action is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistryVia {
    /// The registry protocol itself (OCI Distribution Specification), between host and registry.
    Registry,
    /// A call to a Docker API, and what the daemon said of it: the transfer was not read.
    Api,
}

/// One layer of an image, as its manifest lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// `sha256:…`.
    pub digest: String,
    /// Compressed size, as the manifest says or as it was transferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Was its content asked for (pull) or sent (push)? The host or the registry may have had it.
    pub transferred: bool,
}

/// One image pulled or pushed under one reference, over all connections that took part. Sent when
/// its manifest is known and again as layers follow: readers keep the last for each `id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegistryAction {
    /// Identity.
    pub id: RegistryActionId,
    /// Which way.
    pub action: RegistryVerb,
    /// What it is known from.
    pub via: RegistryVia,
    /// Registry as it was asked for, `host:port`.
    pub registry: String,
    /// Address of the registry, where the host spoke to it directly and in clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry_ip: Option<IpAddr>,
    /// Repository within it, such as `library/alpine`.
    pub repository: String,
    /// Tag or digest that was asked for; absent where only content was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Digest of the image's manifest: of a manifest list, the one that was chosen from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_digest: Option<String>,
    /// Digest of the manifest list or index that it was chosen from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index_digest: Option<String>,
    /// Digest of the image's configuration: the image id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_digest: Option<String>,
    /// `os/architecture` of the chosen manifest, where a manifest list says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Layers in the manifest's order.
    pub layers: Vec<Layer>,
    /// The host that speaks to the registry; with [`RegistryVia::Api`], the daemon's.
    pub docker_host: IpAddr,
    /// Who asked the Docker API for it, where such a call was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// Port of that caller.
    #[serde(skip)]
    pub client_port: u16,
    /// The daemon that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daemon: Option<Endpoint>,
    /// That call.
    #[serde(skip)]
    pub call: Option<CallId>,
    /// Builds that it is part of; filled in by the detector.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub builds: Vec<BuildId>,
    /// `User-Agent` to the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Bytes of manifests and content that were transferred, as far as seen.
    pub bytes: u64,
    /// Was the registry spoken to over TLS? Absent where that was not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    /// Which network it was seen on.
    #[serde(skip)]
    pub tag: NetworkTag,
    /// Connections to the registry that took part, at most 64.
    #[serde(skip)]
    pub flows: Vec<FlowId>,
    /// First byte of the first request.
    pub started: Timestamp,
    /// Last byte so far.
    pub ended: Timestamp,
    /// The registry, or the daemon, was seen to say that it succeeded.
    #[serde(skip)]
    pub confirmed: bool,
    /// The daemon was seen to refuse it, or to fail.
    #[serde(skip)]
    pub failed: bool,
}
