//! One HTTP exchange, in clear or decrypted, reduced to what a download needs.

use serde::Serialize;

use crate::{Endpoint, FlowId, Timestamp};

/// How a request reached its destination by a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyKind {
    /// `CONNECT host:port` (RFC 9110 §9.3.6).
    Connect,
    /// Absolute-form request (RFC 9112 §3.2.2).
    Absolute,
    /// SOCKS 4, 4a or 5.
    Socks,
}

/// A request and, as far as seen, its response. Sent when the response head is there and again at
/// the end: readers keep the last for each (`flow`, `index`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpExchange {
    /// The connection.
    pub flow: FlowId,
    /// Ordinal of the request on the connection, from 0.
    pub index: u64,
    /// Who sent the request.
    pub client: Endpoint,
    /// Who got it.
    pub server: Endpoint,
    /// Method as sent; empty when the request was not captured.
    pub method: String,
    /// Authority that was asked for: Host field, or absolute form, or CONNECT target.
    pub host: Option<String>,
    /// Host field as sent, where it names another authority than `host`: what a server ignores in favour
    /// of the target (RFC 9112 §3.2.2) decides nothing, and is only shown.
    pub host_field: Option<String>,
    /// Request target as sent, with user info and secrets in the query removed.
    pub target: String,
    /// `http://host/path`, user info removed; absent where the request was not captured.
    pub url: Option<String>,
    /// Status of the final response.
    pub status: Option<u16>,
    /// `HTTP/1.0`, `HTTP/1.1`, `HTTP/2`.
    pub protocol: &'static str,
    /// `User-Agent` as sent.
    pub user_agent: Option<String>,
    /// `Content-Type` of the response.
    pub content_type: Option<String>,
    /// `Location` of the response, user info removed.
    pub location: Option<String>,
    /// Response body bytes after transfer and content coding.
    pub body_bytes: u64,
    /// SHA-256 of the response body after transfer and content coding, lower-case hex; only where
    /// the body was seen whole.
    pub sha256: Option<String>,
    /// The response body begins like a program or a script (ELF, PE, Mach-O, `#!`).
    pub executable: bool,
    /// The body was seen whole.
    pub complete: bool,
    /// Through which kind of proxy, if any; `server` is then the proxy.
    pub proxy: Option<ProxyKind>,
    /// The request's head was cut by the snap length or a gap: `target` may be only the beginning.
    pub cut: bool,
    /// It was inside TLS, and decrypted.
    pub decrypted: bool,
    /// Is this the last word on the exchange?
    pub last: bool,
    /// First byte of the request.
    pub started: Timestamp,
    /// Last byte of the response so far.
    pub ended: Timestamp,
}
