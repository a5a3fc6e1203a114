//! Reads protocols off a connection: HTTP/1, HTTP/2, TLS (its hellos, and with its secrets its content), QUIC's
//! hello, SOCKS and CONNECT tunnels, DNS.
//!
//! In go the bytes of one connection, in order for each direction, and the holes between them
//! ([`Reader`]); out come [`Event`]s. Nothing here knows a packet, a clock or a Docker API. Every
//! byte is hostile: nothing that comes in is an error of the program, and all that is held between
//! two calls is bounded by [`Limits`].
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::cast_possible_truncation
    )
)]

mod cursor;
mod dns;
mod event;
mod http;
mod http1;
mod http2;
mod level;
mod limits;
mod line;
mod out;
mod probe;
mod quic;
mod reader;
mod socks;
#[cfg(test)]
mod testing;
mod tls;

pub use event::{
    BodyEnd, Event, Extent, Header, HttpEvent, HttpEventKind, HttpVersion, RequestHead,
    ResponseHead, TlsRecord, Upgrade,
};
pub use limits::Limits;
pub use reader::Reader;
pub use tls::{ClientRandom, KeyLog, KeyLogCounters, SessionSecrets};
