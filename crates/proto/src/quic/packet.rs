//! Long headers (RFC 9000 §17.2; RFC 9369 §3.2): where a packet ends, whose it is, and its type.

use super::keys::Version;
use crate::cursor::Cursor;

/// Connection ids of the versions that are read (RFC 9000 §17.2).
const MAX_ID_BYTES: usize = 20;

/// The part of a packet that is not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LongHeader<'a> {
    pub(super) version: Version,
    pub(super) kind: PacketType,
    /// Destination connection id.
    pub(super) destination: &'a [u8],
    /// Where the packet number begins.
    pub(super) number_at: usize,
    /// Length of the whole packet, as it says; a Retry takes the rest of the datagram.
    pub(super) packet_bytes: usize,
}

impl<'a> LongHeader<'a> {
    /// RFC 9000 §17.2. The fixed bit is not looked at: it may be greased (RFC 9287). `None` for short
    /// headers, Version Negotiation and versions that are not read.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let first = cursor.u8()?;
        if first & 0x80 == 0 {
            return None;
        }
        let version = Version::find(u32::from_be_bytes(*cursor.take(4)?.first_chunk()?))?;
        let destination = id(&mut cursor)?;
        id(&mut cursor)?;
        let kind = version.packet_type(first);
        if kind == PacketType::Retry {
            let (number_at, packet_bytes) = (bytes.len(), bytes.len());
            return Some(Self { version, kind, destination, number_at, packet_bytes });
        }
        if kind == PacketType::Initial {
            let token_bytes = integer(&mut cursor)?;
            cursor.take(usize::try_from(token_bytes).ok()?)?;
        }
        let len = usize::try_from(integer(&mut cursor)?).ok()?;
        let number_at = bytes.len().checked_sub(cursor.rest().len())?;
        Some(Self {
            version,
            kind,
            destination,
            number_at,
            packet_bytes: number_at.checked_add(len)?,
        })
    }
}

/// Types of packets with a long header (RFC 9000 §17.2, table 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PacketType {
    Initial,
    ZeroRtt,
    Handshake,
    Retry,
}

fn id<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let id = cursor.vector8()?.rest();
    (id.len() <= MAX_ID_BYTES).then_some(id)
}

/// RFC 9000 §16: a variable-length integer.
pub(super) fn integer(cursor: &mut Cursor<'_>) -> Option<u64> {
    let first = cursor.u8()?;
    let more = (1_usize << (first >> 6)) - 1;
    let start = u64::from(first & 0x3f);
    Some(cursor.take(more)?.iter().fold(start, |value, byte| value << 8 | u64::from(*byte)))
}
