//! The form of inputs: records of a fixed head and some bytes, so that a mutation of one record
//! leaves the others as they are. Integers are little-endian; what is cut off is 0 or empty.

use std::net::{IpAddr, Ipv4Addr};

use tw_model::{Endpoint, Evidence, SourceId, Timestamp};

/// Reads records.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    fn integer(&mut self, len: usize) -> u32 {
        let bytes = self.bytes(len);
        bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.integer(1) as u8
    }

    pub(crate) fn u16(&mut self) -> u16 {
        self.integer(2) as u16
    }

    pub(crate) fn u32(&mut self) -> u32 {
        self.integer(4)
    }

    /// A length of two bytes, and as many bytes.
    pub(crate) fn block(&mut self) -> &'a [u8] {
        let len = self.u16();
        self.bytes(usize::from(len))
    }
}

/// Writes what [`Input::block`] reads; longer blocks are cut.
pub(crate) fn push_block(record: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    record.extend(len.to_le_bytes());
    record.extend(&bytes[..usize::from(len)]);
}

pub(crate) fn evidence(number: u64, millis: u64) -> Evidence {
    let nanos = i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    Evidence::frame(SourceId(0), number, Timestamp::from_nanos(nanos))
}

pub(crate) const fn endpoint(last: u8, port: u16) -> Endpoint {
    Endpoint::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), port)
}
