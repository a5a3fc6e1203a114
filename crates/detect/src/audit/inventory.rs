//! What an audit gives: daemons with their callers, images, containers. Every list is sorted.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::Serialize;
use tw_model::{Endpoint, Evidence, Risk, Timestamp};

use super::operation::Operations;

/// Everything that an audit found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// By environment and endpoint.
    pub daemons: Vec<Daemon>,
    /// By environment, host, and what was done with them.
    pub images: Vec<ImageUse>,
    /// By environment and host, in the order in which they were first seen.
    pub containers: Vec<ContainerUse>,
    /// What the limits cost.
    pub counters: AuditCounters,
}

/// What the limits of an audit cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditCounters {
    /// Daemons that are not listed.
    pub daemons_lost: u64,
    /// Callers that are not listed; their calls are counted with their daemon.
    pub callers_lost: u64,
    /// TLS connections whose handshake came to no daemon's account.
    pub handshakes_lost: u64,
    /// Images that are not listed.
    pub images_lost: u64,
    /// Containers that are not listed.
    pub containers_lost: u64,
}

/// How it is known that a daemon is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// A conversation in flow records with a port that a Docker API is expected on.
    FlowRecords,
    /// TLS that cannot be read, on a port that a Docker API is expected on.
    TlsPort,
    /// Requests that only a Docker client sends; no answer was captured.
    Requests,
    /// It answered.
    Answers,
}

/// One Docker API.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Daemon {
    /// Its environment.
    #[serde(skip)]
    pub environment: String,
    /// Where it was called.
    pub daemon: Endpoint,
    /// How it is known to be one.
    pub known_by: KnownBy,
    /// `Server` fields of its answers.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub servers: BTreeSet<String>,
    /// Versions that `/version` and `/info` told.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub versions: BTreeSet<String>,
    /// API versions that its answers told.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub api_versions: BTreeSet<String>,
    /// How it was spoken to.
    pub transport: TransportUse,
    /// Client certificates, by handshake.
    pub client_certificates: Certificates,
    /// Who called it.
    pub callers: Vec<CallerUse>,
    /// Callers beyond the limit.
    pub callers_not_listed: u64,
    /// What was done, by all callers.
    pub operations: Operations,
    /// Connection attempts that were refused or not answered, and from how many addresses.
    pub attempts: Attempts,
    /// First thing that was seen of it.
    pub first: Timestamp,
    /// Last thing.
    pub last: Timestamp,
    /// What this says for and against each mitigation.
    pub mitigations: Vec<Mitigation>,
    /// Where it stands in the input.
    #[serde(skip)]
    pub evidence: Vec<Evidence>,
}

/// How a daemon was spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TransportUse {
    /// Calls in clear.
    pub clear_calls: u64,
    /// Of these, calls that were answered as asked without credentials.
    pub open_calls: u64,
    /// Calls inside TLS that was decrypted.
    pub tls_calls: u64,
    /// TLS connections.
    pub tls_connections: u64,
    /// Versions of TLS that the daemon chose.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub tls_versions: BTreeSet<String>,
    /// Conversations that flow records tell of.
    pub recorded_conversations: u64,
}

/// TLS handshakes by what they show of client certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Certificates {
    /// One was given.
    pub given: u64,
    /// One was asked for and not given.
    pub withheld: u64,
    /// One was asked for; the answer was not seen.
    pub asked: u64,
    /// None was asked for.
    pub not_asked: u64,
    /// The handshake does not show it: TLS 1.3 without keys, a resumed session, missing bytes.
    pub unknown: u64,
}

/// Attempts to connect that came to nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Attempts {
    /// How many.
    pub count: u64,
    /// From how many addresses, as far as these are kept.
    pub addresses: u64,
}

/// One caller of one daemon.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CallerUse {
    /// Its address.
    pub ip: IpAddr,
    /// The network of the environment that it is in; absent where it is in none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// In no network of the environment.
    pub outside: bool,
    /// What it calls itself.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub user_agents: BTreeSet<String>,
    /// JA4 of its TLS hellos.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub ja4: BTreeSet<String>,
    /// What it did.
    pub operations: Operations,
    /// Its calls in clear.
    pub clear_calls: u64,
    /// Its calls with an `Authorization` field.
    pub calls_with_credentials: u64,
    /// Its calls inside TLS that was decrypted.
    pub tls_calls: u64,
    /// Its TLS connections.
    pub tls_connections: u64,
    /// Client certificates, by handshake.
    pub client_certificates: Certificates,
    /// Its conversations that flow records tell of.
    pub recorded_conversations: u64,
    /// First thing that was seen of it.
    pub first: Timestamp,
    /// Last thing.
    pub last: Timestamp,
    /// Where it stands in the input.
    #[serde(skip)]
    pub evidence: Vec<Evidence>,
}

/// What was done with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageVerb {
    /// Made by a build.
    Built,
    /// What looks like a build, and could not be read.
    BuildInferred,
    /// Made of a container.
    Committed,
    /// Made of an archive or a URL.
    Imported,
    /// Loaded from an archive.
    Loaded,
    /// Pulled from a registry.
    Pulled,
    /// Pushed to a registry.
    Pushed,
    /// A container, a service or a plugin was made of it.
    Deployed,
}

/// One image on one host, and one thing that was done with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageUse {
    /// Its environment.
    #[serde(skip)]
    pub environment: String,
    /// What was done.
    pub action: ImageVerb,
    /// Its name as it was written; empty where it has none.
    pub name: String,
    /// Image id of what was made, digest of the manifest of what was moved. Of what was deployed that of
    /// the image of the same name that was made or pulled there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Registry that it came from or went to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// The docker host.
    pub docker_host: IpAddr,
    /// Who asked for it, as far as seen.
    pub clients: BTreeSet<IpAddr>,
    /// How often.
    pub count: u64,
    /// Of these, how often it failed.
    pub failed: u64,
    /// And how often no answer told how it ended.
    pub unconfirmed: u64,
    /// For the first time.
    pub first: Timestamp,
    /// For the last time.
    pub last: Timestamp,
    /// Where it stands in the input.
    #[serde(skip)]
    pub evidence: Vec<Evidence>,
}

/// One container, service or plugin on one host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContainerUse {
    /// Its environment.
    #[serde(skip)]
    pub environment: String,
    /// What it is.
    pub kind: tw_model::DeployKind,
    /// The docker host.
    pub docker_host: IpAddr,
    /// Its id, as far as seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The user that its create call named; absent where it named none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Was its create call seen? Without it, nothing is known of its risks.
    pub created: bool,
    /// Was it seen to be started?
    pub started: bool,
    /// Commands that were executed in it.
    pub execs: u64,
    /// What is dangerous about it.
    pub risks: Vec<Risk>,
    /// Who acted on it.
    pub clients: BTreeSet<IpAddr>,
    /// First action.
    pub first: Timestamp,
    /// Last action.
    pub last: Timestamp,
    /// Where it stands in the input.
    #[serde(skip)]
    pub evidence: Vec<Evidence>,
}

/// What was seen for and against a mitigation of ATT&CK, and what could not be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mitigation {
    /// `M1035`.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What speaks for it.
    #[serde(rename = "for")]
    pub supports: Vec<String>,
    /// What speaks against it.
    pub against: Vec<String>,
    /// What could not be seen.
    pub unseen: Vec<String>,
}
