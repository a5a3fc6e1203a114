//! What gives an address a name: DNS answers and TLS hellos.

use std::net::IpAddr;

use serde::Serialize;

use crate::{Endpoint, FlowId, NetworkTag};

/// One DNS response, reduced to what names need (RFC 1035 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAnswer {
    /// Who asked.
    pub client: Endpoint,
    /// Who answered.
    pub server: Endpoint,
    /// Which network it was seen on.
    pub tag: NetworkTag,
    /// The name that was asked, lower case, without the final dot.
    pub query: String,
    /// Question type as text (`A`, `AAAA`, `HTTPS`, `TYPE64`).
    pub qtype: String,
    /// Canonical names on the way (CNAME targets), in order.
    pub cnames: Vec<String>,
    /// A and AAAA data.
    pub addresses: Vec<IpAddr>,
    /// Response code (0 no error, 3 name does not exist).
    pub rcode: u8,
    /// Answers other than A, AAAA and CNAME, as text; for `dissect`.
    pub other: Vec<String>,
}

/// A TLS `ClientHello` with what the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsHello {
    /// The connection.
    pub flow: FlowId,
    /// Who sent the `ClientHello`.
    pub client: Endpoint,
    /// Who got it.
    pub server: Endpoint,
    /// First `host_name` of the SNI extension, as sent.
    pub sni: Option<String>,
    /// Offered application protocols, where they were asked for.
    pub alpn: Vec<String>,
    /// JA4 (FoxIO, the BSD-3 part) of the client, where it was asked for.
    pub ja4: Option<String>,
    /// Version that the server chose (`TLS 1.3`), where its hello was seen.
    pub version: Option<String>,
    /// QUIC rather than TCP.
    pub quic: bool,
}

/// What a TLS handshake shows of client certificates. That of TLS 1.3 shows nothing without its secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificate {
    /// The server asked for none.
    NotAsked,
    /// The server asked for one, and the client gave none.
    Withheld,
    /// The server asked for one; what the client did was not seen.
    Asked,
    /// The client gave one.
    Given,
}

/// A handshake that shows something of client certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// The connection.
    pub flow: FlowId,
    /// Who sent the `ClientHello`.
    pub client: Endpoint,
    /// Who got it.
    pub server: Endpoint,
    /// Which network it was seen on; filled in by the owner of the connection.
    pub tag: NetworkTag,
    /// What is shown.
    pub certificate: ClientCertificate,
}
