//! Findings and incidents: what a person is told.

use std::net::IpAddr;

use serde::Serialize;

use crate::{BuildId, CallId, Conversation, Evidence, RegistryActionId, Timestamp};

/// Which rule made a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(
    missing_docs,
    reason = "the names of the output contract; each is explained in the README"
)]
pub enum Rule {
    BuildNewDestination,
    ContainerNewDestination,
    BuildNewCaller,
    ImageCreated,
    RegistryNew,
    ImageKnownBad,
    IndicatorMatch,
    ContainerRisky,
    ContainerExec,
    ApiRecon,
    ApiExposed,
    ImagePushed,
    ContextExecutable,
    BuildInbound,
}

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "a scale")]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    /// One step down; `Info` stays.
    #[must_use]
    pub const fn lowered(self) -> Self {
        match self {
            Self::Critical => Self::High,
            Self::High => Self::Medium,
            Self::Medium => Self::Low,
            Self::Low | Self::Info => Self::Info,
        }
    }
}

/// How sure, least sure first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// New destination of a docker host, no trigger.
    Noted,
    /// Build-shaped conversation, new destination inside its window.
    Inferred,
    /// Request parsed, new destination inside the window.
    Correlated,
    /// Request parsed, destination named by the build and contacted.
    Observed,
}

/// On what something is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Destination address.
    Address,
    /// Destination name.
    Name,
    /// Caller of a Docker API.
    Caller,
    /// Registry.
    Registry,
    /// Image digest.
    Image,
}

/// For whom something is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Nobody in the environment had seen it.
    Environment,
    /// The environment knew it, this docker host did not.
    Host,
}

/// What weakens a statement: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Caveat {
    /// The axis has no baseline and was watched for less than `known_after`.
    NoBaseline,
    /// The connection was joined in mid-stream.
    Midstream,
    /// Bytes are missing.
    Gaps,
    /// The capture dropped packets meanwhile.
    Drops,
    /// Flow records are sampled.
    Sampled,
    /// Flow records may be sampled.
    SamplingUnknown,
    /// Flow templates were missing.
    TemplatesMissing,
    /// An exporter's sequence has gaps.
    ExporterGaps,
    /// TLS without keys.
    TlsOpaque,
    /// One direction only was seen.
    OneDirection,
    /// A value was cut off.
    Truncated,
    /// The end of the build was not seen.
    EndUnseen,
    /// Several builds were open.
    AmbiguousBuild,
    /// Who opened the connection was inferred.
    OpenerInferred,
    /// A proxy stands between.
    Proxied,
    /// The store could not be asked.
    StoreUnavailable,
}

/// Where a name for a destination is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NameOrigin {
    /// A DNS answer to this host or its resolver.
    Dns,
    /// The TLS server name.
    Sni,
    /// The Host field or absolute form.
    Http,
    /// The Dockerfile, a build argument or a step.
    Dockerfile,
}

/// A name for a destination.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct DestinationName {
    /// Lower case, without final dot.
    pub name: String,
    /// Where it is from.
    pub from: NameOrigin,
}

/// The API caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Client {
    /// Address.
    pub ip: IpAddr,
    /// Port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Country code, where a database was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Autonomous system number, where a database was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
}

/// The destination that a finding is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FindingDestination {
    /// Address; absent where it was named but not contacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<DestinationName>,
    /// Country code, where a database was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Autonomous system number, where a database was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    /// "address:port" of the proxy it was reached by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via_proxy: Option<String>,
}

/// On which axes something is new, for whom, and how complete the watch was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Novelty {
    /// Axes on which it is new.
    pub axes: Vec<Axis>,
    /// For whom.
    pub scope: Scope,
    /// When it was first seen, where it had been seen but is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<Timestamp>,
    /// Who saw it first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seen_by: Option<IpAddr>,
    /// Since when the environment has been watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watched_since: Option<Timestamp>,
    /// Was there a baseline?
    pub baseline: bool,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Stable: the same case gives the same id in every run.
    pub id: String,
    /// Findings of one chain share it.
    pub incident: String,
    /// Environment of the docker host.
    #[serde(skip)]
    pub environment: String,
    /// First packet of the connection or call that completed it.
    #[serde(skip)]
    pub timestamp: Timestamp,
    /// Which rule.
    pub rule: Rule,
    /// One line for a person.
    pub title: String,
    /// Two to five sentences for a person.
    pub summary: String,
    /// How bad.
    pub severity: Severity,
    /// How sure, for the rules of the ladder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// ATT&CK technique ids.
    pub techniques: Vec<String>,
    /// Address of the daemon's host, as the API was called.
    pub docker_host: IpAddr,
    /// The API caller, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Client>,
    /// The destination, for the rules about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<FindingDestination>,
    /// What is new about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub novelty: Option<Novelty>,
    /// Builds and image creations, likeliest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub builds: Vec<BuildId>,
    /// What weakens it.
    pub caveats: Vec<Caveat>,
    /// Where it stands in the input.
    #[serde(skip)]
    pub evidence: Vec<Evidence>,
}

/// One line of an incident's account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TimelineEntry {
    /// When.
    pub timestamp: Timestamp,
    /// Id of the event that it tells of.
    #[serde(rename = "ref")]
    pub reference: String,
    /// For a person.
    pub text: String,
    /// The same for who words it otherwise.
    #[serde(skip)]
    pub happening: Happening,
    /// Where it stands in the input.
    #[serde(skip)]
    pub evidence: Option<Evidence>,
}

/// What an entry of a timeline tells of. What it only refers to is found among what was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A call to the API.
    Called {
        /// By whom.
        client: IpAddr,
        /// Method and path, made printable.
        request: String,
        /// Status of the answer, where seen.
        status: Option<u16>,
        /// How many alike there were, where most of them are left out; otherwise 0.
        alike: usize,
    },
    /// A build or another image creation was asked for.
    Asked(BuildId),
    /// It ended, or that is the last that was seen of it.
    Ended(BuildId),
    /// The host, or a container of it, spoke to somebody.
    Contacted(Box<ContactTold>),
    /// An image was pulled or pushed.
    Moved(RegistryActionId),
    /// Something was done with a container.
    Acted {
        /// What it was done by.
        call: CallId,
        /// Which container, made printable.
        title: String,
    },
    /// Somebody connected to what a build opened, or a registry was spoken to by no build: what the
    /// finding of that id says.
    Found(String),
}

/// What is told of a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactTold {
    /// Address; absent where a proxy was asked for a name.
    pub ip: Option<IpAddr>,
    /// Port.
    pub port: u16,
    /// Names for it, made printable.
    pub names: Vec<String>,
    /// For whom it was new; absent where it was not.
    pub new_to: Option<Scope>,
    /// Was it known?
    pub known: bool,
    /// A registry, and one that is listed or known.
    pub registry: Option<bool>,
    /// Payload bytes that the host received, and sent.
    pub bytes: [u64; 2],
    /// The counts are scaled up from samples.
    pub about: bool,
    /// Last packet.
    pub last: Timestamp,
    /// What was requested in clear.
    pub urls: Vec<String>,
    /// SHA-256 of what was answered, where seen whole.
    pub sha256: Vec<String>,
}

/// What belongs together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Incident {
    /// Stable.
    pub id: String,
    /// Environment of the docker host.
    #[serde(skip)]
    pub environment: String,
    /// The worst of its findings.
    pub severity: Severity,
    /// All of its findings' techniques, sorted.
    pub techniques: Vec<String>,
    /// The docker host.
    pub docker_host: IpAddr,
    /// All callers, sorted.
    pub clients: Vec<IpAddr>,
    /// First thing that belongs to it.
    pub started: Timestamp,
    /// Last thing that belongs to it.
    pub ended: Timestamp,
    /// In the order in which things happened.
    pub timeline: Vec<TimelineEntry>,
    /// What weakens any part of it.
    pub caveats: Vec<Caveat>,
    /// What it was said on, for who wants its packets: sorted, and bounded.
    #[serde(skip)]
    pub conversations: Vec<Conversation>,
    /// Names of what the host contacted in it, for who looks for the answers that gave them.
    #[serde(skip)]
    pub names: Vec<String>,
    /// Where it stands in the input.
    #[serde(skip)]
    pub evidence: Vec<Evidence>,
}
