//! The one type that is stored, replayed, learned from and tested with.

use serde::Serialize;

use crate::{
    ApiCall, Build, ClientAuth, Connection, ContainerEvent, Endpoint, Evidence, FlowRecord,
    HttpExchange, ImageCreation, NameAnswer, Protocol, RegistryAction, Timestamp, TlsHello,
    TlsShape,
};

/// Something seen, with where it stands. Observations of one kind and identity replace earlier ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Packet time at which it became known.
    pub at: Timestamp,
    /// Where it stands in the input: the frame that began it first, then others that matter, at most 8.
    pub evidence: Vec<Evidence>,
    /// What was seen.
    pub body: ObservationBody,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq)]
pub enum ObservationBody {
    /// A call to a Docker API.
    ApiCall(ApiCall),
    /// A build.
    Build(Box<Build>),
    /// An image made without a build.
    ImageCreation(Box<ImageCreation>),
    /// An action on a container.
    Container(Box<ContainerEvent>),
    /// An image pulled from or pushed to a registry.
    Registry(Box<RegistryAction>),
    /// A connection.
    Connection(Connection),
    /// An HTTP exchange in clear.
    Http(Box<HttpExchange>),
    /// A DNS answer.
    NameAnswer(NameAnswer),
    /// A TLS hello.
    Tls(TlsHello),
    /// What a TLS handshake shows of client certificates.
    ClientAuth(ClientAuth),
    /// A flow record, as exported. The connections that records add up to come by themselves.
    FlowRecord(Box<FlowRecord>),
    /// The shape of an exchange in TLS that cannot be read.
    TlsShape(Box<TlsShape>),
    /// Something that ought not to be.
    Anomaly(Anomaly),
}

/// What ought not to be. The closed set of `kind` in `anomaly` events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnomalyKind {
    /// TCP segments overlap with different bytes; the first bytes were kept.
    TcpOverlapConflict,
    /// IP fragments overlap with different bytes; the first bytes were kept.
    FragmentOverlapConflict,
    /// Fragments beyond the limit were dropped.
    FragmentLimit,
    /// Out-of-order data beyond the limit became a gap.
    ReassemblyLimit,
    /// A connection was forgotten before its time to stay within the memory budget.
    FlowEvicted,
    /// Headers nested deeper than the limit.
    NestingLimit,
    /// HTTP that no server would take; the rest of that direction is not read.
    HttpMalformed,
    /// An HTTP header section over the limit.
    HttpLimit,
    /// A body that decompresses beyond the limit.
    DecompressionLimit,
    /// TLS that no client would send; the rest is not read.
    TlsMalformed,
    /// DNS that no server would send.
    DnsMalformed,
    /// A build context that does not parse, or is over a limit.
    ContextMalformed,
    /// HTTP/2 that no peer would take; the rest is not read.
    Http2Malformed,
    /// HTTP/2 beyond a limit (continuation flood, rapid reset, header bomb).
    Http2Limit,
    /// QUIC whose hello is beyond a limit, or not there after many packets; it is not read.
    QuicLimit,
}

/// Something that ought not to be, with where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// What.
    pub kind: AnomalyKind,
    /// Who sent it and to whom, as far as known.
    pub endpoints: Option<(Endpoint, Endpoint)>,
    /// Transport protocol.
    pub protocol: Option<Protocol>,
    /// Detail for a person, from a closed set.
    pub detail: &'static str,
}
