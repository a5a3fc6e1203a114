//! One DNS message (RFC 1035 §4.1), reduced to what names need.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tw_model::{Endpoint, NameAnswer, NetworkTag};

use super::name::name;
use crate::cursor::Cursor;
use crate::http::fields::text;
use crate::limits::{Limits, length};

const HEADER_BYTES: usize = 12;
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
/// Longest text of an answer that is no name or address.
const OTHER_MAX: usize = 1024;

/// What a message is to us.
pub(crate) enum Parsed {
    Response(Response),
    /// A query, another operation, or a response without its question.
    Ignored,
    Malformed,
}

/// A response to a standard query.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Response {
    query: String,
    qtype: String,
    cnames: Vec<String>,
    addresses: Vec<IpAddr>,
    rcode: u8,
    other: Vec<String>,
}

impl Response {
    /// Parses a message. Of one whose records break off, those before the break count.
    pub(crate) fn parse(message: &[u8], limits: &Limits) -> Parsed {
        let mut header = Cursor::new(message);
        let (Some(_), Some(flags), Some(questions), Some(answers), Some(_)) =
            (header.u16(), header.u16(), header.u16(), header.u16(), header.take(4))
        else {
            return Parsed::Malformed;
        };
        let [high, low] = flags.to_be_bytes();
        let (response, opcode) = (high & 0x80 != 0, high >> 3 & 0x0f);
        if !response || opcode != 0 || questions == 0 {
            return Parsed::Ignored;
        }
        let Some((query, mut at)) = name(message, HEADER_BYTES) else {
            return Parsed::Malformed;
        };
        let Some(qtype) = u16_at(message, at) else {
            return Parsed::Malformed;
        };
        at = at.saturating_add(4);
        for _ in 1..questions.min(16) {
            match name(message, at) {
                Some((_, after)) => at = after.saturating_add(4),
                None => return Parsed::Malformed,
            }
        }
        let qtype = type_name(qtype);
        let mut parsed = Self { query, qtype, rcode: low & 0x0f, ..Self::default() };
        for _ in 0..usize::from(answers).min(length(limits.dns_records)) {
            match parsed.record(message, at) {
                Some(after) => at = after,
                None if parsed.is_empty() => return Parsed::Malformed,
                None => break,
            }
        }
        Parsed::Response(parsed)
    }

    pub(crate) fn told(self, client: Endpoint, server: Endpoint) -> NameAnswer {
        let Self { query, qtype, cnames, addresses, rcode, other } = self;
        NameAnswer {
            client,
            server,
            tag: NetworkTag::default(),
            query,
            qtype,
            cnames,
            addresses,
            rcode,
            other,
        }
    }

    const fn is_empty(&self) -> bool {
        self.cnames.is_empty() && self.addresses.is_empty() && self.other.is_empty()
    }

    /// RFC 1035 §4.1.3: takes one resource record; where the next begins.
    fn record(&mut self, message: &[u8], at: usize) -> Option<usize> {
        let (_, at) = name(message, at)?;
        let mut fixed = Cursor::new(message.get(at..)?);
        let kind = fixed.u16()?;
        fixed.take(6)?;
        let len = usize::from(fixed.u16()?);
        let data = fixed.take(len)?;
        let data_at = at.checked_add(10)?;
        match (kind, data) {
            (A, &[a, b, c, d]) => self.addresses.push(Ipv4Addr::new(a, b, c, d).into()),
            (AAAA, data) if len == 16 => {
                let octets: [u8; 16] = *data.first_chunk()?;
                self.addresses.push(Ipv6Addr::from(octets).into());
            }
            (CNAME, _) => self.cnames.push(name(message, data_at)?.0),
            _ => self.other.push(other_text(message, kind, data, data_at)),
        }
        data_at.checked_add(len)
    }
}

/// Bytes by which [`looks_like_message`] tells.
pub(crate) const TELLING_BYTES: usize = 8;

/// Does this look like a message over TCP, length first?
pub(crate) fn looks_like_message(bytes: &[u8]) -> bool {
    let mut cursor = Cursor::new(bytes);
    let (Some(len), Some(_), Some(flags), Some(questions)) =
        (cursor.u16(), cursor.u16(), cursor.u16(), cursor.u16())
    else {
        return false;
    };
    let [high, low] = flags.to_be_bytes();
    let opcode = high >> 3 & 0x0f;
    usize::from(len) > HEADER_BYTES && opcode <= 5 && low & 0x40 == 0 && questions <= 1
}

fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    message.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// Data other than addresses and aliases, for a person.
fn other_text(message: &[u8], kind: u16, data: &[u8], at: usize) -> String {
    let shown = match kind {
        // NS, PTR, DNAME
        2 | 12 | 39 => name(message, at).map(|(name, _)| name),
        // MX: preference, exchange
        15 => name(message, at.saturating_add(2)).map(|(name, _)| name),
        // TXT: character strings
        16 => Some(strings(data)),
        // SRV (RFC 2782): priority, weight, port, target
        33 => u16_at(data, 4)
            .zip(name(message, at.saturating_add(6)))
            .map(|(port, (name, _))| format!("{name}:{port}")),
        _ => None,
    };
    shown.unwrap_or_else(|| hexadecimal(data))
}

fn strings(data: &[u8]) -> String {
    let mut cursor = Cursor::new(data);
    let mut joined = String::new();
    while let Some(string) = cursor.vector8()
        && joined.len() < OTHER_MAX
    {
        joined.push_str(&text(string.rest()));
    }
    joined
}

/// RFC 3597 §5, without the length.
fn hexadecimal(data: &[u8]) -> String {
    data.iter().take(OTHER_MAX / 2).fold(String::from("\\# "), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn type_name(kind: u16) -> String {
    let known = match kind {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        39 => "DNAME",
        41 => "OPT",
        43 => "DS",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        52 => "TLSA",
        64 => "SVCB",
        65 => "HTTPS",
        252 => "AXFR",
        255 => "ANY",
        257 => "CAA",
        other => return format!("TYPE{other}"),
    };
    known.to_owned()
}
