//! Classic pcap: <https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/>.

use std::io::Read;

use tw_model::Timestamp;

use super::buffer::Buffer;
use super::{Damage, DamageKind, MAX_FRAME, OpenError, Record, Step};
use crate::LinkType;

const RECORD_HEADER: usize = 16;

/// What the file header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pcap {
    big_endian: bool,
    nanos_per_tick: u32,
    link: LinkType,
}

impl Pcap {
    /// §4, file header. The upper 16 bits of the network field tell the length of the frame check
    /// sequence, which the IP header's length cuts off anyway. The snap length is not used: files exist
    /// in which it is 0, or less than what was kept.
    pub(super) fn recognise<R: Read>(buffer: &mut Buffer<R>) -> Result<Option<Self>, OpenError> {
        let Some(magic) = buffer.head::<4>() else {
            return if buffer.bytes().is_empty() { Err(OpenError::Empty) } else { Ok(None) };
        };
        let (big_endian, nanos_per_tick) = match magic {
            b"\xd4\xc3\xb2\xa1" => (false, 1000),
            b"\xa1\xb2\xc3\xd4" => (true, 1000),
            b"\x4d\x3c\xb2\xa1" => (false, 1),
            b"\xa1\xb2\x3c\x4d" => (true, 1),
            b"\x34\xcd\xb2\xa1" | b"\xa1\xb2\xcd\x34" => {
                return Err(OpenError::Unsupported { what: "modified pcap (magic a1b2cd34)" });
            }
            _ => return Ok(None),
        };
        let offset = buffer.bytes_read();
        let header = buffer.head::<24>().ok_or(OpenError::CutOff { offset })?;
        let [.., a, b, c, d] = *header;
        let [low, high] = if big_endian { [d, c] } else { [a, b] };
        let link = LinkType(u16::from_le_bytes([low, high]));
        buffer.consume(24);
        Ok(Some(Self { big_endian, nanos_per_tick, link }))
    }

    /// §5, packet record.
    #[inline]
    pub(super) fn step<R: Read>(&self, buffer: &mut Buffer<R>) -> Result<Step, Damage> {
        if !fill(buffer, RECORD_HEADER)? {
            return if buffer.bytes().is_empty() {
                Ok(Step::End)
            } else {
                Err(damage(buffer, DamageKind::CutOff))
            };
        }
        let Some(&header) = buffer.head::<RECORD_HEADER>() else { return Ok(Step::End) };
        let [s0, s1, s2, s3, f0, f1, f2, f3, c0, c1, c2, c3, o0, o1, o2, o3] = header;
        let captured_len = self.u32([c0, c1, c2, c3]);
        let captured = usize::try_from(captured_len).unwrap_or(usize::MAX);
        if captured > MAX_FRAME {
            return Err(damage(buffer, DamageKind::Length { length: captured_len }));
        }
        if !fill(buffer, RECORD_HEADER + captured)? {
            return Err(damage(buffer, DamageKind::CutOff));
        }
        let seconds = i64::from(self.u32([s0, s1, s2, s3]));
        let nanos = i64::from(self.u32([f0, f1, f2, f3])) * i64::from(self.nanos_per_tick);
        Ok(Step::Frame(Record {
            timestamp: Timestamp::from_secs_nanos(seconds, nanos),
            link: self.link,
            interface: 0,
            original_len: self.u32([o0, o1, o2, o3]).max(captured_len),
            start: RECORD_HEADER,
            captured,
            record_len: RECORD_HEADER + captured,
        }))
    }

    const fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

/// As [`Buffer::fill`], with read errors as damage.
#[inline]
pub(super) fn fill<R: Read>(buffer: &mut Buffer<R>, need: usize) -> Result<bool, Damage> {
    match buffer.fill(need) {
        Ok(enough) => Ok(enough),
        Err(error) => Err(damage(buffer, DamageKind::Read(error))),
    }
}

/// Damage at the record or block that begins at the front of `buffer`.
#[cold]
pub(super) fn damage<R: Read>(buffer: &Buffer<R>, kind: DamageKind) -> Damage {
    Damage { offset: buffer.offset(), kind }
}
