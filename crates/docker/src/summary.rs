//! What every HTTP exchange leaves behind, Docker or not: an [`HttpExchange`].

use std::net::IpAddr;

use sha2::{Digest, Sha256};
use tw_model::{
    Direction, Endpoint, Evidence, HttpExchange, ObservationBody, ProxyKind, Secrets, redact_url,
    redact_value, redacted,
};
use tw_proto::{BodyEnd, Extent, HttpEvent, HttpVersion, RequestHead, ResponseHead};

use crate::api::ConnFacts;
use crate::id::push_hex;
use crate::query::{bounded, form_decoded};

/// Longest request target and URL that are kept.
const MAX_TARGET: usize = 8 * 1024;
/// Longest `User-Agent`.
pub(crate) const MAX_USER_AGENT: usize = 512;
/// Longest authority: more than any name, since the field is shown as it was sent.
const MAX_AUTHORITY: usize = 1024;
/// Longest method: as long as readers of HTTP take.
const MAX_METHOD: usize = 64;
/// Longest content type.
const MAX_NAME: usize = 256;
/// First bytes of a body that tell what it is.
const MAGIC_BYTES: usize = 8;

/// Grows one [`HttpExchange`].
pub(crate) struct Summary {
    record: HttpExchange,
    hasher: Option<Sha256>,
    magic: Vec<u8>,
    gap: bool,
    version: Option<HttpVersion>,
}

impl Summary {
    /// An exchange of which nothing is known yet but who takes part in it.
    pub(crate) fn new(conn: &ConnFacts, event: &HttpEvent<'_>, at: Evidence) -> Self {
        let (client, server) = match event.request_direction {
            Direction::ToResponder => (conn.opener, conn.responder),
            Direction::ToOpener => (conn.responder, conn.opener),
        };
        let record = HttpExchange {
            flow: conn.flow,
            index: event.exchange,
            client,
            server,
            method: String::new(),
            host: event.via.map(|(host, _)| bounded(host, MAX_AUTHORITY)),
            host_field: None,
            target: String::new(),
            url: None,
            status: None,
            protocol: HttpVersion::Http11.as_str(),
            user_agent: None,
            content_type: None,
            location: None,
            body_bytes: 0,
            sha256: None,
            executable: false,
            complete: false,
            cut: false,
            decrypted: event.decrypted,
            last: false,
            proxy: event.via.map(|(_, kind)| kind),
            started: at.timestamp,
            ended: at.timestamp,
        };
        Self { record, hasher: None, magic: Vec::new(), gap: false, version: None }
    }

    /// RFC 9112 §3. Returns the URL as asked, secrets and all, for comparison only.
    pub(crate) fn request(
        &mut self,
        head: &RequestHead,
        tls: bool,
        secrets: Secrets,
    ) -> Option<String> {
        let record = &mut self.record;
        record.method = bounded(&head.method, MAX_METHOD);
        record.protocol = head.version.as_str();
        record.user_agent = user_agent(head);
        record.cut = head.extent != Extent::Whole;
        self.version = Some(head.version);
        if let Some(authority) = head.authority.as_deref().filter(|text| !text.is_empty()) {
            record.host = Some(bounded(without_user_info(authority), MAX_AUTHORITY));
        }
        let target = bounded(&head.target, MAX_TARGET);
        if head.extent == Extent::Line {
            record.target = begun_target(&target, secrets);
            return None;
        }
        if head.method == "CONNECT" {
            record.proxy = record.proxy.or(Some(ProxyKind::Connect));
            record.target = bounded(without_user_info(&target), MAX_AUTHORITY);
            return None;
        }
        if is_absolute(&target) {
            let authority = authority_of(&target);
            if record.proxy.is_none() && !names(authority, record.server) {
                record.proxy = Some(ProxyKind::Absolute);
            }
            let asked = Some(bounded(authority, MAX_AUTHORITY));
            let field = std::mem::replace(&mut record.host, asked);
            record.host_field = field.filter(|field| record.host.as_ref() != Some(field));
            let shown = shown_url(&target, secrets);
            record.target.clone_from(&shown);
            record.url = Some(shown);
            return Some(target);
        }
        if !target.starts_with('/') {
            record.target = redact_value("", &target, secrets);
            return None;
        }
        let scheme = if tls { "https" } else { "http" };
        let host = record.host.clone().unwrap_or_else(|| record.server.to_string());
        let base = format!("{scheme}://{host}");
        let url = format!("{base}{target}");
        let shown = shown_url(&url, secrets);
        record.target = shown.strip_prefix(&base).map_or_else(|| shown.clone(), str::to_owned);
        record.url = Some(shown);
        Some(url)
    }

    /// RFC 9112 §4. `hash`: is a digest of the body wanted?
    pub(crate) fn response(
        &mut self,
        head: &ResponseHead,
        hash: bool,
        secrets: Secrets,
        at: Evidence,
    ) {
        let record = &mut self.record;
        record.ended = at.timestamp;
        if head.extent == Extent::Missing {
            record.cut = true;
            return;
        }
        record.status = Some(head.status);
        if self.version.is_none() {
            record.protocol = head.version.as_str();
        }
        record.content_type = head.header("content-type").map(|text| bounded(text, MAX_NAME));
        record.location = head
            .header("location")
            .map(|location| redact_url(&bounded(location, MAX_TARGET), secrets));
        self.hasher = hash.then(Sha256::new);
    }

    /// Bytes of the response's body.
    pub(crate) fn body(&mut self, bytes: &[u8], at: Evidence) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let at_start = self.record.body_bytes == u64::try_from(self.magic.len()).unwrap_or(0);
        if at_start && !self.gap && self.magic.len() < MAGIC_BYTES {
            let wanted = MAGIC_BYTES.saturating_sub(self.magic.len()).min(bytes.len());
            self.magic.extend_from_slice(bytes.get(..wanted).unwrap_or(&[]));
            self.record.executable = is_executable(&self.magic);
        }
        self.record.body_bytes = self.record.body_bytes.saturating_add(length);
        self.record.ended = at.timestamp;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
    }

    /// Does anything but the length of the response's body still count?
    pub(crate) const fn reads_body(&self) -> bool {
        self.hasher.is_some() || self.magic.len() < MAGIC_BYTES
    }

    /// Bytes of the response's body that nobody wanted to see.
    pub(crate) const fn unread(&mut self, bytes: u64, at: Evidence) {
        self.record.body_bytes = self.record.body_bytes.saturating_add(bytes);
        self.record.ended = at.timestamp;
    }

    /// Missing bytes of the response's body.
    pub(crate) fn gap(&mut self, at: Evidence) {
        self.gap = true;
        self.hasher = None;
        self.record.ended = at.timestamp;
    }

    /// The response is over.
    pub(crate) fn end(&mut self, end: BodyEnd, at: Evidence) {
        let hasher = self.hasher.take();
        if end != BodyEnd::Cut {
            self.record.ended = at.timestamp;
        }
        self.record.complete = end == BodyEnd::Complete && !self.gap;
        self.record.last = true;
        if !self.record.complete || self.record.body_bytes == 0 {
            return;
        }
        if let Some(hasher) = hasher {
            let mut text = String::with_capacity(64);
            push_hex(&mut text, hasher.finalize().iter().copied());
            self.record.sha256 = Some(text);
        }
    }

    /// Nothing more will come of it.
    pub(crate) const fn over(&mut self) {
        self.record.last = true;
    }

    /// What is known so far.
    pub(crate) fn observation(&self) -> ObservationBody {
        ObservationBody::Http(Box::new(self.record.clone()))
    }

    /// What is known so far.
    pub(crate) const fn record(&self) -> &HttpExchange {
        &self.record
    }
}

/// RFC 9110 §10.1.5, bounded.
pub(crate) fn user_agent(head: &RequestHead) -> Option<String> {
    let text = head.header("user-agent").filter(|text| !text.is_empty())?;
    Some(bounded(text, MAX_USER_AGENT))
}

/// A target of which only the beginning was seen: what stands in its query may be half a secret, and
/// what stands before its path half an authority.
fn begun_target(target: &str, secrets: Secrets) -> String {
    let path = target.split('?').next().unwrap_or("");
    if path.starts_with('/') { redact_url(path, secrets) } else { String::new() }
}

/// `url` without secrets. Parameters are judged as the server decodes them, so that an encoded name
/// or a URL inside a value hides nothing; build arguments never stay (a build tells its own).
fn shown_url(url: &str, secrets: Secrets) -> String {
    let Some((base, query)) = url.split_once('?') else { return redact_url(url, secrets) };
    let mut shown = redact_url(base, secrets);
    if secrets == Secrets::Keep {
        return url.to_owned();
    }
    for (index, pair) in query.split('&').enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        let (key, value) = pair.split_once('=').unwrap_or(("", pair));
        let (name, plain) = (form_decoded(key), form_decoded(value));
        let safe = if is_never_shown(&name) && !plain.is_empty() {
            redacted(plain.as_bytes())
        } else {
            redact_value(&name, &plain, secrets)
        };
        shown.push_str(key);
        if pair.len() > value.len() {
            shown.push('=');
        }
        shown.push_str(if safe == plain { value } else { &safe });
    }
    shown
}

/// Build arguments, and what lets anybody go on with an upload to a registry.
fn is_never_shown(parameter: &str) -> bool {
    parameter.eq_ignore_ascii_case("buildargs") || parameter == "_state"
}

fn is_absolute(target: &str) -> bool {
    let scheme = target.split_once("://").map_or("", |(scheme, _)| scheme);
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

fn authority_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    without_user_info(rest.split(['/', '?', '#']).next().unwrap_or(""))
}

fn without_user_info(authority: &str) -> &str {
    authority.rsplit('@').next().unwrap_or(authority)
}

/// Is `authority` the address of `server` itself? Then an absolute-form request is a spelling, not
/// a proxy's.
pub(crate) fn names(authority: &str, server: Endpoint) -> bool {
    literal(authority).is_some_and(|endpoint| endpoint == server)
}

/// `192.0.2.1:80` or `[2001:db8::1]:80`; port 80 where there is none.
pub(crate) fn literal(authority: &str) -> Option<Endpoint> {
    if let Ok(socket) = authority.parse::<std::net::SocketAddr>() {
        return Some(Endpoint::new(socket.ip(), socket.port()));
    }
    let bare = authority.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ip: IpAddr = bare.unwrap_or(authority).parse().ok()?;
    Some(Endpoint::new(ip, 80))
}

/// ELF, PE/DOS, Mach-O (both word sizes and orders, and fat), and `#!` scripts. A Java class shares
/// its first four bytes with a fat Mach-O: there the next word is a version above 40, here a small
/// count of architectures.
fn is_executable(magic: &[u8]) -> bool {
    match magic {
        [0x7f, b'E', b'L', b'F', ..] | [b'#', b'!', ..] | [b'M', b'Z', _, _, ..] => true,
        [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..] | [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..] => true,
        [0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, count] => (1..40).contains(count),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_numbers() {
        for yes in [
            &b"\x7fELF\x02\x01\x01\0"[..],
            b"MZ\x90\0\x03\0\0\0",
            b"#!",
            b"#!/bin/sh",
            b"\xcf\xfa\xed\xfe",
            b"\xfe\xed\xfa\xce",
            b"\xca\xfe\xba\xbe\0\0\0\x02",
        ] {
            assert!(is_executable(yes), "{yes:x?}");
        }
        for no in [&b""[..], b"MZ", b"# !", b"\x7fEL", b"\xca\xfe\xba\xbe\0\0\0\x34", b"<!DOCTYP"] {
            assert!(!is_executable(no), "{no:x?}");
        }
    }

    #[test]
    fn literals() {
        assert_eq!(literal("192.0.2.1:99").map(|e| e.port), Some(99));
        assert_eq!(literal("192.0.2.1").map(|e| e.port), Some(80));
        assert_eq!(
            literal("[2001:db8::1]:99").map(|e| e.to_string()),
            Some("[2001:db8::1]:99".into())
        );
        assert_eq!(literal("[2001:db8::1]").map(|e| e.port), Some(80));
        assert_eq!(literal("example.org:80"), None);
        assert_eq!(literal(""), None);
    }
}
