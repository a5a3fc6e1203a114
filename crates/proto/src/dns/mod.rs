//! DNS responses (RFC 1035) over UDP and TCP: what gives an address a name.

mod message;
mod name;

#[cfg(test)]
mod tests;

use tw_model::{AnomalyKind, Direction};

use self::message::{Parsed, Response};
pub(crate) use self::message::{TELLING_BYTES, looks_like_message};
use crate::Event;
use crate::out::Out;
use crate::reader::Ends;

/// Domain, mDNS and LLMNR.
pub(crate) const fn is_port(port: u16) -> bool {
    matches!(port, 53 | 5353 | 5355)
}

/// Reads one message; tells it if it is a response to a query. `cut` says that its end was not
/// captured.
pub(crate) fn message(
    ends: &Ends,
    direction: Direction,
    bytes: &[u8],
    cut: bool,
    out: &mut Out<'_>,
) {
    let (server, client) = ends.sender_and_receiver(direction);
    match Response::parse(bytes, out.limits) {
        Parsed::Response(answer) => out.event(Event::Dns(answer.told(client, server))),
        Parsed::Malformed if !cut => out.anomaly(AnomalyKind::DnsMalformed),
        Parsed::Malformed | Parsed::Ignored => {}
    }
}

/// DNS over TCP (RFC 1035 §4.2.2): messages with a 16-bit length before them.
pub(crate) struct DnsStream {
    ends: Ends,
    /// By `Direction::index`.
    held: [Held; 2],
}

/// The message that has begun in one direction.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// Bytes of a message with a hole that are still to come.
    skip: u64,
    /// Where messages begin is not known.
    lost: bool,
}

impl DnsStream {
    pub(crate) fn new(ends: Ends) -> Self {
        Self { ends, held: Default::default() }
    }

    pub(crate) fn data(&mut self, direction: Direction, bytes: &[u8], out: &mut Out<'_>) {
        let Some(held) = self.held.get_mut(direction.index()) else {
            return;
        };
        let skipped = usize::try_from(held.skip).unwrap_or(usize::MAX).min(bytes.len());
        held.skip = held.skip.saturating_sub(u64::try_from(skipped).unwrap_or(u64::MAX));
        let bytes = bytes.get(skipped..).unwrap_or_default();
        if held.lost && !looks_like_message(bytes) {
            return;
        }
        held.lost = false;
        held.bytes.extend_from_slice(bytes);
        // Messages are at most 64 KiB, and what is whole is taken out at once.
        let mut rest = held.bytes.as_slice();
        while let Some((message, after)) = first_message(rest) {
            self::message(&self.ends, direction, message, false, out);
            rest = after;
        }
        let used = held.bytes.len().saturating_sub(rest.len());
        held.bytes.drain(..used);
    }

    /// A hole inside a message leaves the next one in its place.
    pub(crate) fn gap(&mut self, direction: Direction, len: u64) {
        let Some(held) = self.held.get_mut(direction.index()) else {
            return;
        };
        let begun = std::mem::take(&mut held.bytes);
        let missing = match begun.first_chunk() {
            Some(prefix) => {
                let whole = u64::from(u16::from_be_bytes(*prefix)).saturating_add(2);
                whole.saturating_sub(u64::try_from(begun.len()).unwrap_or(u64::MAX))
            }
            None => held.skip,
        };
        held.skip = missing.saturating_sub(len);
        held.lost = len > missing;
    }
}

fn first_message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (prefix, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*prefix)))
}
