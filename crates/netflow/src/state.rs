//! What a collector knows and holds as bytes, so that a restart loses none of it.
//!
//! A format of our own, in network order, with a version in front: `read` takes only what `save` of the
//! same version wrote, keeps to the limits, and gives nothing for what is cut off. It is no wire format:
//! who keeps the bytes sees to it that nobody else writes them.

mod conversations;
mod exporters;

use std::net::IpAddr;

use tw_model::{Endpoint, Evidence, RecordNumber, SourceId, Timestamp};

use crate::cursor::Cursor;
use crate::join::Join;
use crate::{Decoder, Limits};

/// Magic and version.
const BEGIN: &[u8; 8] = b"TWFLOW\0\x01";
/// The last octets, by which a state that is cut off is told.
const END: &[u8; 4] = b"END\n";

/// These bytes are no saved state, or only a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAState;

impl std::fmt::Display for NotAState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no saved state of this version, or cut off")
    }
}

impl std::error::Error for NotAState {}

/// Everything, as bytes.
pub(crate) fn save(decoder: &Decoder, join: &Join) -> Vec<u8> {
    let mut out = Out(BEGIN.to_vec());
    exporters::save(&mut out, &decoder.exporters);
    conversations::save(&mut out, join);
    out.0.extend_from_slice(END);
    out.0
}

/// What was saved; nothing where it is not whole.
pub(crate) fn read(saved: &[u8], limits: &Limits) -> Option<(Decoder, Join)> {
    let mut cursor = Cursor::new(saved.strip_prefix(BEGIN)?.strip_suffix(END)?);
    let mut decoder = Decoder::new(*limits);
    exporters::read(&mut cursor, &mut decoder, limits)?;
    let join = conversations::read(&mut cursor, limits)?;
    (cursor.len() == 0).then_some((decoder, join))
}

/// Bytes that grow.
pub(crate) struct Out(Vec<u8>);

impl Out {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend(value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend(value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend(value.to_be_bytes());
    }

    /// How many of something follow.
    pub(crate) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub(crate) fn time(&mut self, at: Timestamp) {
        self.u64(at.as_nanos().cast_unsigned());
    }

    /// A flag, and the value where there is one.
    pub(crate) fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub(crate) fn address(&mut self, ip: IpAddr) {
        let v6 = match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        self.0.extend(v6.octets());
    }

    pub(crate) fn endpoint(&mut self, endpoint: Endpoint) {
        self.address(endpoint.ip);
        self.u16(endpoint.port);
    }

    pub(crate) fn evidence(&mut self, place: Evidence) {
        self.time(place.timestamp);
        self.u32(place.source.0);
        let (kind, number) = match place.record {
            RecordNumber::Frame(number) => (0, number),
            RecordNumber::Record(number) => (1, number),
        };
        self.u8(kind);
        self.u64(number);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }
}

impl<'a> Cursor<'a> {
    pub(crate) fn count(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }

    pub(crate) fn time(&mut self) -> Option<Timestamp> {
        Some(Timestamp::from_nanos(self.u64()?.cast_signed()))
    }

    pub(crate) fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(crate) fn maybe<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Some(None) }
    }

    pub(crate) fn address(&mut self) -> Option<IpAddr> {
        Some(IpAddr::from(self.u128()?.to_be_bytes()).to_canonical())
    }

    pub(crate) fn endpoint(&mut self) -> Option<Endpoint> {
        Some(Endpoint::new(self.address()?, self.u16()?))
    }

    pub(crate) fn evidence(&mut self) -> Option<Evidence> {
        let (timestamp, source) = (self.time()?, SourceId(self.u32()?));
        let is_record = self.flag()?;
        let number = self.u64()?;
        let record =
            if is_record { RecordNumber::Record(number) } else { RecordNumber::Frame(number) };
        Some(Evidence { timestamp, source, record })
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.count()?;
        self.take(len)
    }
}
