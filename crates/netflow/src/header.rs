//! Headers of export datagrams.

use tw_model::Timestamp;

use crate::cursor::Cursor;

/// What stands before the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: u16,
    /// Records (v5, v7), records and templates (v9; some exporters count records only).
    pub(crate) count: u16,
    pub(crate) export: Timestamp,
    pub(crate) uptime_ms: Option<u32>,
    pub(crate) sequence: u32,
    pub(crate) domain: u32,
    /// v5's sampling word: two bits of mode, 14 of interval.
    pub(crate) sampling: Option<u16>,
}

/// The header and what follows it; nothing where the version is none of ours or it is cut off.
pub(crate) fn read(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let mut cursor = Cursor::new(bytes);
    match cursor.u16()? {
        version @ (5 | 7) => fixed(version, cursor),
        9 => v9(cursor),
        10 => ipfix(cursor),
        _ => None,
    }
}

/// Cisco, NetFlow Export Datagram Format, tables B-3 (v5) and B-5 (v7).
fn fixed(version: u16, mut cursor: Cursor<'_>) -> Option<(Header, &[u8])> {
    let count = cursor.u16()?;
    let uptime_ms = Some(cursor.u32()?);
    let (secs, nanos) = (cursor.u32()?, cursor.u32()?);
    let sequence = cursor.u32()?;
    let (engine, sampling) = (cursor.u16()?, cursor.u16()?);
    let export = Timestamp::from_secs_nanos(i64::from(secs), i64::from(nanos));
    let (domain, sampling) =
        if version == 5 { (u32::from(engine), Some(sampling)) } else { (0, None) };
    let header = Header { version, count, export, uptime_ms, sequence, domain, sampling };
    Some((header, cursor.take(cursor.len())?))
}

/// RFC 3954 §5.1.
fn v9(mut cursor: Cursor<'_>) -> Option<(Header, &[u8])> {
    let count = cursor.u16()?;
    let uptime_ms = Some(cursor.u32()?);
    let export = Timestamp::from_secs_nanos(i64::from(cursor.u32()?), 0);
    let (sequence, domain) = (cursor.u32()?, cursor.u32()?);
    let header = Header { version: 9, count, export, uptime_ms, sequence, domain, sampling: None };
    Some((header, cursor.take(cursor.len())?))
}

/// RFC 7011 §3.1. What lies behind the message's own length is not part of it.
fn ipfix(mut cursor: Cursor<'_>) -> Option<(Header, &[u8])> {
    let body = usize::from(cursor.u16()?).checked_sub(16)?;
    let export = Timestamp::from_secs_nanos(i64::from(cursor.u32()?), 0);
    let (sequence, domain) = (cursor.u32()?, cursor.u32()?);
    let uptime_ms = None;
    let header =
        Header { version: 10, count: 0, export, uptime_ms, sequence, domain, sampling: None };
    Some((header, cursor.take(body.min(cursor.len()))?))
}
