//! pcapng: <https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/>.

use std::io::Read;

use tw_model::Timestamp;

use super::buffer::Buffer;
use super::pcap::{damage, fill};
use super::{Damage, DamageKind, MAX_FRAME, MAX_SECRETS, OpenError, Record, Step};
use crate::LinkType;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
const JOURNAL_EXPORT: u32 = 9;
const DECRYPTION_SECRETS: u32 = 10;
const CUSTOM: u32 = 0x0bad;
const CUSTOM_NOT_COPIED: u32 = 0x4000_0bad;

/// `secrets type` of a TLS key log (§4.7).
const TLS_KEY_LOG: u32 = 0x544c_534b;

/// Interfaces of one section. Captures of "any" have tens.
const MAX_INTERFACES: usize = 65_536;

/// State of the section that is being read.
#[derive(Debug, Default)]
pub(super) struct Pcapng {
    big_endian: bool,
    interfaces: Vec<Interface>,
    /// Interfaces of all sections before this one.
    earlier_interfaces: u32,
    secrets: Vec<Vec<u8>>,
    secret_bytes: usize,
}

/// An Interface Description Block (§4.2).
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: LinkType,
    snap_len: u32,
    resolution: Resolution,
    /// `if_tsoffset`, seconds.
    offset: i64,
}

/// How many nanoseconds a tick is, from `if_tsresol` (§4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    Nanos { times: u64 },
    Fraction { divisor: u64 },
    PowerOfTwo { shift: u8 },
}

/// Type and length of a block (§3.1).
#[derive(Clone, Copy)]
struct BlockHeader {
    kind: u32,
    /// With the padding that careless writers leave out of the length.
    len: usize,
    stated_len: u32,
}

impl Pcapng {
    /// §4.1: block type, length, and the byte-order magic.
    pub(super) fn recognise(bytes: &[u8]) -> Result<bool, OpenError> {
        if bytes.get(..4) != Some(b"\x0a\x0d\x0d\x0a") {
            return Ok(false);
        }
        let offset = bytes.len() as u64;
        let &[.., m0, m1, m2, m3, v0, v1] =
            bytes.first_chunk::<14>().ok_or(OpenError::CutOff { offset })?;
        let version = match [m0, m1, m2, m3] {
            [0x1a, 0x2b, 0x3c, 0x4d] => u16::from_be_bytes([v0, v1]),
            [0x4d, 0x3c, 0x2b, 0x1a] => u16::from_le_bytes([v0, v1]),
            _ => return Ok(false),
        };
        if version == 1 {
            Ok(true)
        } else {
            Err(OpenError::Unsupported { what: "this pcapng version" })
        }
    }

    /// Looks at the next block; `number` counts the records that Wireshark counts and we skip.
    pub(super) fn step<R: Read>(
        &mut self,
        buffer: &mut Buffer<R>,
        number: &mut u64,
    ) -> Result<Step, Damage> {
        if !fill(buffer, 12)? {
            return if buffer.bytes().is_empty() {
                Ok(Step::End)
            } else {
                Err(damage(buffer, DamageKind::CutOff))
            };
        }
        let header = self.block_header(buffer)?;
        if !matches!(
            header.kind,
            INTERFACE_DESCRIPTION | PACKET | SIMPLE_PACKET | ENHANCED_PACKET | DECRYPTION_SECRETS
        ) {
            let counted = [JOURNAL_EXPORT, CUSTOM, CUSTOM_NOT_COPIED].contains(&header.kind);
            *number += u64::from(counted);
            return skip(buffer, header.len);
        }
        let most = if header.kind == DECRYPTION_SECRETS { MAX_SECRETS } else { MAX_FRAME + 65_536 };
        if header.len > most {
            return Err(damage(buffer, DamageKind::Length { length: header.stated_len }));
        }
        if !fill(buffer, header.len)? {
            return Err(damage(buffer, DamageKind::CutOff));
        }
        self.block(buffer, header)
    }

    /// §3.1. A section header tells its own byte order (§4.1).
    fn block_header<R: Read>(&mut self, buffer: &Buffer<R>) -> Result<BlockHeader, Damage> {
        let Some(&[k0, k1, k2, k3, l0, l1, l2, l3, magic @ ..]) = buffer.head::<12>() else {
            return Err(damage(buffer, DamageKind::CutOff));
        };
        let kind = self.u32([k0, k1, k2, k3]);
        if kind == SECTION_HEADER {
            self.big_endian = match magic {
                [0x1a, 0x2b, 0x3c, 0x4d] => true,
                [0x4d, 0x3c, 0x2b, 0x1a] => false,
                _ => return Err(damage(buffer, DamageKind::SectionHeader)),
            };
            let earlier = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
            self.earlier_interfaces = self.earlier_interfaces.saturating_add(earlier);
            self.interfaces.clear();
        }
        let stated_len = self.u32([l0, l1, l2, l3]);
        let len = usize::try_from(stated_len).ok().and_then(|len| len.checked_next_multiple_of(4));
        let least = if kind == SECTION_HEADER { 28 } else { 12 };
        match len {
            Some(len) if len >= least => Ok(BlockHeader { kind, len, stated_len }),
            _ => Err(damage(buffer, DamageKind::Length { length: stated_len })),
        }
    }

    fn block<R: Read>(
        &mut self,
        buffer: &mut Buffer<R>,
        header: BlockHeader,
    ) -> Result<Step, Damage> {
        let bytes = buffer.bytes().get(..header.len).unwrap_or_default();
        let Some((bytes, &trailer)) = bytes.split_last_chunk::<4>() else { return Ok(Step::End) };
        if self.u32(trailer) != header.stated_len {
            return Err(damage(buffer, DamageKind::LengthMismatch));
        }
        let body = bytes.get(8..).unwrap_or_default();
        let record = match header.kind {
            ENHANCED_PACKET => self.enhanced_packet(body),
            PACKET => self.obsolete_packet(body),
            SIMPLE_PACKET => self.simple_packet(body),
            INTERFACE_DESCRIPTION => self.interface(body).map(|()| None),
            _ => {
                self.secrets(body);
                Ok(None)
            }
        };
        match record {
            Ok(Some(record)) => Ok(Step::Frame(Record { record_len: header.len, ..record })),
            Ok(None) => skip(buffer, header.len),
            Err(DamageKind::Length { .. }) => {
                Err(damage(buffer, DamageKind::Length { length: header.stated_len }))
            }
            Err(kind) => Err(damage(buffer, kind)),
        }
    }

    /// §4.3.
    fn enhanced_packet(&self, body: &[u8]) -> Result<Option<Record>, DamageKind> {
        let [id, high, low, captured_len, original_len] = self.words(body)?;
        self.record(body, 20, id, (high, low), captured_len, original_len).map(Some)
    }

    /// Appendix A, Packet Block (obsolete): as §4.3, but for 16 bits of interface and 16 of drops.
    fn obsolete_packet(&self, body: &[u8]) -> Result<Option<Record>, DamageKind> {
        let [_, high, low, captured_len, original_len] = self.words(body)?;
        let &[i0, i1] = body.first_chunk::<2>().ok_or(DamageKind::Length { length: 0 })?;
        let id = if self.big_endian { [i0, i1] } else { [i1, i0] };
        let id = u32::from(u16::from_be_bytes(id));
        self.record(body, 20, id, (high, low), captured_len, original_len).map(Some)
    }

    /// §4.4: of interface 0, without a time; the snap length tells how much was kept.
    fn simple_packet(&self, body: &[u8]) -> Result<Option<Record>, DamageKind> {
        let [original_len] = self.words(body)?;
        let interface =
            self.interfaces.first().ok_or(DamageKind::UnknownInterface { interface: 0 })?;
        let room = u32::try_from(body.len().saturating_sub(4)).unwrap_or(u32::MAX);
        let snap_len = if interface.snap_len == 0 { u32::MAX } else { interface.snap_len };
        let captured_len = original_len.min(room).min(snap_len);
        let record = self.record(body, 4, 0, (0, 0), captured_len, original_len)?;
        Ok(Some(Record { timestamp: Timestamp::EPOCH, ..record }))
    }

    fn record(
        &self,
        body: &[u8],
        header_len: usize,
        id: u32,
        (high, low): (u32, u32),
        captured_len: u32,
        original_len: u32,
    ) -> Result<Record, DamageKind> {
        let interface = usize::try_from(id)
            .ok()
            .and_then(|index| self.interfaces.get(index))
            .ok_or(DamageKind::UnknownInterface { interface: id })?;
        let captured = usize::try_from(captured_len).unwrap_or(usize::MAX);
        if captured > body.len().saturating_sub(header_len) {
            return Err(DamageKind::Length { length: captured_len });
        }
        Ok(Record {
            timestamp: interface.timestamp(u64::from(high) << 32 | u64::from(low)),
            link: interface.link,
            interface: self.earlier_interfaces.saturating_add(id),
            original_len: original_len.max(captured_len),
            start: 8 + header_len,
            captured,
            record_len: 0,
        })
    }

    /// §4.2: link type, snap length, and the options that tell the time's unit and offset.
    fn interface(&mut self, body: &[u8]) -> Result<(), DamageKind> {
        let &[l0, l1, _, _, s0, s1, s2, s3] =
            body.first_chunk::<8>().ok_or(DamageKind::Length { length: 0 })?;
        if self.interfaces.len() >= MAX_INTERFACES {
            return Err(DamageKind::TooManyInterfaces);
        }
        let mut interface = Interface {
            link: LinkType(self.u16([l0, l1])),
            snap_len: self.u32([s0, s1, s2, s3]),
            resolution: Resolution::from_option(6),
            offset: 0,
        };
        let mut options = body.get(8..).unwrap_or_default();
        while let Some((&[c0, c1, n0, n1], rest)) = options.split_first_chunk::<4>() {
            let length = usize::from(self.u16([n0, n1]));
            let Some(value) = rest.get(..length) else { break };
            match (self.u16([c0, c1]), value) {
                (0, _) => break,
                (9, &[value]) => interface.resolution = Resolution::from_option(value),
                (14, value) => {
                    if let Ok(value) = <[u8; 8]>::try_from(value) {
                        interface.offset = self.i64(value);
                    }
                }
                _ => {}
            }
            options = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        self.interfaces.push(interface);
        Ok(())
    }

    /// §4.7. Beyond [`MAX_SECRETS`], later blocks are dropped.
    fn secrets(&mut self, body: &[u8]) {
        let Ok([kind, length]) = self.words(body) else { return };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(data) = body.get(8..).and_then(|data| data.get(..length)) else { return };
        if kind == TLS_KEY_LOG && self.secret_bytes + length <= MAX_SECRETS {
            self.secret_bytes += length;
            self.secrets.push(data.to_vec());
        }
    }

    pub(super) fn take_secrets(&mut self) -> Vec<Vec<u8>> {
        self.secret_bytes = 0;
        std::mem::take(&mut self.secrets)
    }

    /// The first `N` words of a block's body.
    fn words<const N: usize>(&self, body: &[u8]) -> Result<[u32; N], DamageKind> {
        let mut words = [0; N];
        let mut rest = body;
        for word in &mut words {
            let (&bytes, after) =
                rest.split_first_chunk::<4>().ok_or(DamageKind::Length { length: 0 })?;
            *word = self.u32(bytes);
            rest = after;
        }
        Ok(words)
    }

    const fn u16(&self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    const fn u32(&self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    const fn i64(&self, bytes: [u8; 8]) -> i64 {
        if self.big_endian { i64::from_be_bytes(bytes) } else { i64::from_le_bytes(bytes) }
    }
}

impl Interface {
    fn timestamp(&self, ticks: u64) -> Timestamp {
        let nanos = match self.resolution {
            Resolution::Nanos { times } => i64::try_from(ticks.saturating_mul(times)),
            Resolution::Fraction { divisor } => i64::try_from(ticks / divisor.max(1)),
            Resolution::PowerOfTwo { shift } => {
                i64::try_from((u128::from(ticks) * 1_000_000_000) >> shift)
            }
        };
        Timestamp::from_secs_nanos(self.offset, nanos.unwrap_or(i64::MAX))
    }
}

impl Resolution {
    /// §4.2, `if_tsresol`: the highest bit tells a power of 2 from a power of 10.
    fn from_option(value: u8) -> Self {
        let exponent = u32::from(value & 0x7f);
        if value & 0x80 != 0 {
            Self::PowerOfTwo { shift: value & 0x7f }
        } else if exponent <= 9 {
            Self::Nanos { times: 10_u64.pow(9 - exponent) }
        } else {
            Self::Fraction { divisor: 10_u64.checked_pow(exponent - 9).unwrap_or(u64::MAX) }
        }
    }
}

fn skip<R: Read>(buffer: &mut Buffer<R>, len: usize) -> Result<Step, Damage> {
    let offset = buffer.offset();
    match buffer.skip(len as u64) {
        Ok(true) => Ok(Step::Other),
        Ok(false) => Err(Damage { offset, kind: DamageKind::CutOff }),
        Err(error) => Err(Damage { offset, kind: DamageKind::Read(error) }),
    }
}
