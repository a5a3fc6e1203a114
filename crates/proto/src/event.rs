//! What the reader of a connection tells.

use std::borrow::Cow;

use tw_model::{AnomalyKind, ClientAuth, Direction, NameAnswer, ProxyKind, TlsHello};

/// HTTP version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/0.9: no version, no head in the answer.
    Http09,
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl HttpVersion {
    /// `HTTP/1.1` and the like, as `dissect` prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http09 => "HTTP/0.9",
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// One header field: the name in lower case, the value without surrounding blanks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Lower case.
    pub name: Cow<'static, str>,
    /// As sent; bytes above 0x7e that are no UTF-8 became U+FFFD.
    pub value: String,
}

/// How much of a head was captured. What was not is never completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    #[default]
    Whole,
    /// The first line, and those fields whose lines were seen whole.
    Fields,
    /// The beginning of the request line: the target is what was seen of it, and the version a
    /// stand-in.
    Line,
    /// None of it: the message was joined in its body. All that the head says is a stand-in.
    Missing,
}

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// As sent.
    pub method: String,
    /// Request target as sent (`:path` in HTTP/2).
    pub target: String,
    /// Version.
    pub version: HttpVersion,
    /// First `Host` field or `:authority`, else the authority of an absolute or CONNECT target.
    pub authority: Option<String>,
    /// Fields in order.
    pub headers: Vec<Header>,
    /// How much of it was captured.
    pub extent: Extent,
}

/// A response's head. 1xx other than 101 are not reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Status.
    pub status: u16,
    /// Version.
    pub version: HttpVersion,
    /// Fields in order.
    pub headers: Vec<Header>,
    /// How much of it was captured; its status line at least.
    pub extent: Extent,
}

impl RequestHead {
    /// Value of the first field of that name (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

impl ResponseHead {
    /// Value of the first field of that name (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

fn find<'h>(headers: &'h [Header], name: &str) -> Option<&'h str> {
    headers.iter().find(|header| header.name == name).map(|header| header.value.as_str())
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// Whole, by its own framing.
    Complete,
    /// By the end of the connection where that is its framing, or without knowing whether all came.
    Closed,
    /// The connection ended before the body did.
    Cut,
}

/// What follows a 101 or a 2xx to CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// `h2c`: HTTP/2 in both directions.
    H2c,
    /// `tcp`: Docker's hijacked stream (attach, exec).
    Tcp,
    /// `websocket`.
    Websocket,
    /// A CONNECT tunnel.
    Tunnel,
    /// Anything else.
    Other,
}

/// What happens in an HTTP exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpEventKind<'a> {
    /// The request's head is complete, or cut by a gap (its `extent` says so).
    RequestHead(&'a RequestHead),
    /// Request body, transfer and content coding undone.
    RequestBody(&'a [u8]),
    /// Request body bytes that are missing (of the coded body; what follows in a content coding is lost).
    RequestGap(u64),
    /// Request body bytes that were there and that nobody wanted to see (`Reader::unread`).
    RequestUnread(u64),
    /// The request is over.
    RequestEnd(BodyEnd),
    /// The response's head is complete, or cut by a gap (its `extent` says so).
    ResponseHead(&'a ResponseHead),
    /// Response body, transfer and content coding undone.
    ResponseBody(&'a [u8]),
    /// Response body bytes that are missing.
    ResponseGap(u64),
    /// Trailer fields of the response (HTTP/2 only); its end follows.
    ResponseTrailers(&'a [Header]),
    /// An HTTP/2 stream was given up by whoever sends this way (RST_STREAM). What of the exchange
    /// was under way has been ended; an answer to a client that gave up may still come.
    Reset(Direction),
    /// Response body bytes that were there and that nobody wanted to see (`Reader::unread`).
    ResponseUnread(u64),
    /// The response is over.
    ResponseEnd(BodyEnd),
    /// The connection goes on as something else; no further exchange on this reader level.
    Upgraded(Upgrade),
    /// Bytes of an upgraded connection that nothing reads further (`Tcp`, `Websocket`, `Other`).
    Upstream {
        /// Who sent them.
        direction: Direction,
        /// The bytes.
        bytes: &'a [u8],
    },
}

/// One event of one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpEvent<'a> {
    /// Ordinal of the request on the connection, from 0; HTTP/2 streams continue the count in the
    /// order of their request heads. A response without its request has the ordinal that its
    /// request would have had.
    pub exchange: u64,
    /// The way requests go.
    pub request_direction: Direction,
    /// Set inside a proxy's tunnel: `host:port` that was asked for, and how.
    pub via: Option<(&'a str, ProxyKind)>,
    /// It was inside TLS, and decrypted.
    pub decrypted: bool,
    /// What happened.
    pub kind: HttpEventKind<'a>,
}

/// What can be told of a record without its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsRecord {
    /// Its header came.
    Begun {
        /// Who sent it.
        direction: Direction,
        /// Bytes of its content, padding of TLS 1.3 included.
        content_bytes: u16,
    },
    /// Records may be missing.
    Missing,
}

/// What the reader of a connection tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// HTTP.
    Http(HttpEvent<'a>),
    /// The hello of the client and, where it came, of the server: sent once, when the server's is
    /// there, or cannot come any more. `flow`, `client` and `server` are filled in by the reader.
    Tls(TlsHello),
    /// A record of TLS that is not decrypted, of application data; only where it was asked for by
    /// [`Reader::tell_records`](crate::Reader::tell_records).
    TlsRecord(TlsRecord),
    /// What a TLS handshake shows of client certificates, where it shows anything: told where the
    /// records are, and where it is decrypted. The owner of the connection fills in `tag`.
    ClientAuth(ClientAuth),
    /// A DNS response; the owner of the connection fills in `tag`.
    Dns(NameAnswer),
    /// A proxy's tunnel was opened to `host:port`.
    Tunnel(&'a str, ProxyKind),
    /// Something that ought not to be.
    Anomaly(AnomalyKind),
}
