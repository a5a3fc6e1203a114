//! IPFIX files (RFC 5655): messages one after the other. Each is given as a frame of
//! [`LinkType::IPFIX_MESSAGE`], at its time of export.

use std::io::Read;

use tw_model::Timestamp;

use super::buffer::Buffer;
use super::pcap::{damage, fill};
use super::{Damage, DamageKind, Record, Step};
use crate::LinkType;

/// RFC 7011 §3.1: version, length, export time, sequence number, observation domain.
const HEADER: usize = 16;
const VERSION: [u8; 2] = [0, 10];

/// Does this begin with a message that has a set? RFC 5655 §7.1.1; RFC 7011 §3.3.2 for the ids of sets.
pub(super) fn recognise(head: &[u8]) -> bool {
    let Some((header, rest)) = head.split_first_chunk::<HEADER>() else { return false };
    let [v0, v1, l0, l1, s0, s1, s2, s3, ..] = *header;
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    let Some(&[i0, i1, n0, n1]) = rest.first_chunk() else { return false };
    let (id, set) = (u16::from_be_bytes([i0, i1]), usize::from(u16::from_be_bytes([n0, n1])));
    [v0, v1] == VERSION
        && [s0, s1, s2, s3] != [0; 4]
        && matches!(id, 2 | 3 | 256..)
        && set >= 4
        && HEADER + set <= len
}

/// The next message.
pub(super) fn step<R: Read>(buffer: &mut Buffer<R>) -> Result<Step, Damage> {
    if !fill(buffer, HEADER)? {
        let is_end = buffer.bytes().is_empty();
        return if is_end { Ok(Step::End) } else { Err(damage(buffer, DamageKind::CutOff)) };
    }
    let Some(&header) = buffer.head::<HEADER>() else { return Ok(Step::End) };
    let [v0, v1, l0, l1, s0, s1, s2, s3, ..] = header;
    let length = u16::from_be_bytes([l0, l1]);
    let len = usize::from(length);
    if [v0, v1] != VERSION || len < HEADER {
        return Err(damage(buffer, DamageKind::Length { length: length.into() }));
    }
    if !fill(buffer, len)? {
        return Err(damage(buffer, DamageKind::CutOff));
    }
    let seconds = u32::from_be_bytes([s0, s1, s2, s3]);
    Ok(Step::Frame(Record {
        timestamp: Timestamp::from_secs_nanos(seconds.into(), 0),
        link: LinkType::IPFIX_MESSAGE,
        interface: 0,
        original_len: length.into(),
        start: 0,
        captured: len,
        record_len: len,
    }))
}
