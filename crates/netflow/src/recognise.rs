//! Tells export datagrams from other UDP payload by their header.

use crate::fixed::record_len;
use crate::header::{self, Header};
use crate::set::{Set, sets};

/// Does this payload look like an export datagram: a version, counts or lengths, and set headers
/// that add up? `missing` is how many bytes at its end were not captured.
///
/// Cost: one step for each set. Any port: exporters are configured to many.
#[must_use]
pub fn looks_like_export(bytes: &[u8], missing: u32) -> bool {
    let Some((header, body)) = header::read(bytes) else { return false };
    let whole = missing == 0;
    match header.version {
        9 => has_time(&header) && header.count > 0 && adds_up(body, whole),
        10 => {
            let stated = usize::from(u16::from_be_bytes([byte(bytes, 2), byte(bytes, 3)]));
            has_time(&header) && (!whole || stated == bytes.len()) && adds_up(body, whole)
        }
        version => {
            let len = usize::from(header.count).saturating_mul(record_len(version));
            (1..=MAX_FIXED).contains(&header.count)
                && has_time(&header)
                && if whole { body.len() == len } else { body.len() < len }
        }
    }
}

fn byte(bytes: &[u8], index: usize) -> u8 {
    bytes.get(index).copied().unwrap_or(0)
}

/// Exporters that have no clock yet send times after 1970 by their uptime; random bytes rarely
/// stay below 2106 and above 0 at once with all else, so only zero is refused.
fn has_time(header: &Header) -> bool {
    header.export.as_nanos() > 0
}

/// Do the sets fill the message, and is there one? Up to three bytes of padding may follow.
fn adds_up(body: &[u8], whole: bool) -> bool {
    let mut any = false;
    for set in sets(body) {
        match set {
            Set::Whole { id, .. } if is_known(id) => any = true,
            Set::Cut { id, .. } if is_known(id) => return any || !whole,
            Set::Padding => return any,
            _ => return false,
        }
    }
    any
}

/// Ids of templates, options templates and data sets (RFC 3954 §5.2, RFC 7011 §3.3.2).
const fn is_known(id: u16) -> bool {
    matches!(id, 0..=3 | 256..)
}

/// A v5 datagram has up to 30 records, some senders more; a datagram ends at 64 KiB anyway.
const MAX_FIXED: u16 = 255;
