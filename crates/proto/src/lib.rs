//! Reads protocols off a connection: HTTP/1, TLS hellos, DNS.
#![forbid(unsafe_code)]

mod event;

pub use event::{
    BodyEnd, Event, Header, HttpEvent, HttpEventKind, HttpVersion, RequestHead, ResponseHead,
    Upgrade,
};
