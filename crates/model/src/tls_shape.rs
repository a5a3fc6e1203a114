//! The shape of what is said inside TLS that nobody can read.

use std::time::Duration;

use crate::{Endpoint, FlowId, NetworkTag, Timestamp};

/// One request and its answer inside an opaque TLS connection, told from the lengths of its records.
/// Sent once it has something that is worth telling and again as it grows: readers keep the last for
/// each (`flow`, `exchange`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsShape {
    /// The connection.
    pub flow: FlowId,
    /// Ordinal of the exchange on the connection, from 0.
    pub exchange: u64,
    /// Who sent the `ClientHello`.
    pub client: Endpoint,
    /// Who got it.
    pub server: Endpoint,
    /// Which network it was seen on.
    pub tag: NetworkTag,
    /// JA4 of the client.
    pub ja4: Option<String>,
    /// First record of the request.
    pub started: Timestamp,
    /// Last record of the request before the answer began: an upload is over by then.
    pub asked: Timestamp,
    /// Last record so far.
    pub ended: Timestamp,
    /// The answer is over: the connection ended, or the next request began.
    pub end_seen: bool,
    /// Content of the request.
    pub request_bytes: u64,
    /// Content of the answer.
    pub answer_bytes: u64,
    /// Records of the answer.
    pub answer_records: u64,
    /// Longest time without a record after the answer began.
    pub longest_silence: Duration,
    /// Records of the answer that are as long as a line of the classic builder.
    pub lines: BuilderLines,
    /// The answer is one that goes over to HTTP/2.
    pub upgraded: Option<Upgraded>,
    /// Bytes of the connection are missing.
    pub gaps: bool,
}

/// Records that are as long as lines that the classic builder always writes alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuilderLines {
    /// One of the answer's first records is such a blank line: the first step's.
    pub opening: bool,
    /// `followed`, as of the last time when at least half of the blank lines so far were.
    pub steps: u64,
    /// The empty line after `Step n/m : …`.
    pub blank: u64,
    /// Those of them that a line follows which follows it in a build.
    pub followed: u64,
    /// `---> Running in ID`.
    pub running: u64,
    /// `---> Using cache`.
    pub cached: u64,
    /// `---> ID`.
    pub image: u64,
    /// `Removing intermediate container ID`.
    pub removed: u64,
    /// `Successfully built ID`.
    pub built: u64,
}

/// A connection inside TLS that became HTTP/2 by an upgrade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upgraded {
    /// Did the *server* send the HTTP/2 client's preface? Once it is known.
    pub by_server: Option<bool>,
    /// Records since then, from the client.
    pub client_records: u64,
    /// Records since then, from the server.
    pub server_records: u64,
}
