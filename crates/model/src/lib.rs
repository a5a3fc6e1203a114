//! The nouns that cross the boundaries of tidewaiter's crates: time, endpoints, evidence, and the
//! [`Observation`]s from which findings are made.
//!
//! Nothing here reads bytes or decides anything. A type lives here only when two crates that are
//! no neighbours need it, or when it goes to disk or to a reader of our output.
#![forbid(unsafe_code)]

mod api_call;
mod build;
mod connection;
mod container;
mod download;
mod endpoint;
mod evidence;
mod finding;
mod flow_record;
mod hash;
mod hidden;
mod inet;
mod names;
mod observation;
mod redact;
mod registry;
mod time;
mod tls_shape;

pub use api_call::{ApiCall, CallId, Route, Software, StreamFraming, StreamText, StreamUse};
pub use build::{
    Build, BuildId, Context, CreationKind, Destination, Frontend, ImageCreation, Inference,
    Outcome, Transport,
};
pub use connection::{
    AppProtocol, Connection, ConnectionState, Conversation, Direction, Exported, FlowId, Opener,
    Via,
};
pub use container::{ContainerAction, ContainerEvent, DeployKind, Risk};
pub use download::{HttpExchange, ProxyKind};
pub use endpoint::{Endpoint, MacAddress, NetworkTag, Protocol};
pub use evidence::{Evidence, RecordNumber, SourceId};
pub use finding::{
    Axis, Caveat, Client, ContactTold, DestinationName, Finding, FindingDestination, Happening,
    Incident, NameOrigin, Novelty, Rule, Scope, Severity, TimelineEntry, Verdict,
};
pub use flow_record::{FlowCounts, FlowRecord, Sampling};
pub use hash::KeyedHash;
pub use hidden::is_hidden;
pub use inet::inet_aton;
pub use names::{ClientAuth, ClientCertificate, NameAnswer, TlsHello};
pub use observation::{Anomaly, AnomalyKind, Observation, ObservationBody};
pub use redact::{
    Secrets, is_secret_name, looks_secret, redact_command, redact_url, redact_value, redact_words,
    redacted,
};
pub use registry::{Layer, RegistryAction, RegistryActionId, RegistryVerb, RegistryVia};
pub use time::Timestamp;
pub use tls_shape::{BuilderLines, TlsShape, Upgraded};
