//! One direction of a TLS connection that is being decrypted.

use super::messages::Messages;
use super::protection::Protection;

/// Largest body of a record: RFC 8446 §5.2 allows 2^14 + 256, RFC 5246 §6.2.3 2^14 + 2048.
const RECORD_BYTES: usize = (1 << 14) + 2048;
/// Records that may fail to open where others than ours are to be expected before the first that
/// opens: early data that the server refused (RFC 8446 §4.2.10), handshakes without their secret.
const SKIPPED: u32 = 64;
/// Openings that are tried, in all, to find the way again after holes.
const TRIES: u64 = 1024;

/// Where a direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// In clear.
    Hello,
    /// 0-RTT data (RFC 8446 §2.3).
    Early,
    /// TLS 1.3's handshake keys.
    Handshake,
    /// The keys that application data is under.
    Application,
    /// It cannot be read any more.
    Lost,
}

/// A whole record.
pub(super) struct Record {
    pub(super) header: [u8; 5],
    pub(super) body: Vec<u8>,
}

impl Record {
    pub(super) const fn kind(&self) -> u8 {
        self.header[0]
    }
}

/// What stands at the front of the buffer.
pub(super) enum Front {
    /// A record of that type.
    Record(u8),
    /// The beginning of one.
    More,
    /// No record.
    Malformed,
}

pub(super) struct Side {
    pub(super) phase: Phase,
    pub(super) messages: Messages,
    pub(super) protection: Option<Protection>,
    /// Records that may fail to open.
    pub(super) skips: u32,
    /// Application data was delivered.
    pub(super) delivered: bool,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are done with.
    taken: usize,
    /// The last record's, to be used again.
    spare: Vec<u8>,
    /// After a hole: bytes that are lost so far.
    hole: Option<u64>,
    tries: u64,
}

/// A record found again after a hole.
pub(super) struct Found {
    pub(super) kind: u8,
    pub(super) plain: Vec<u8>,
    /// Bytes of content that were lost.
    pub(super) lost_bytes: u64,
}

impl Side {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Hello,
            messages: Messages::default(),
            protection: None,
            skips: 0,
            delivered: false,
            buffer: Vec::new(),
            taken: 0,
            spare: Vec::new(),
            hole: None,
            tries: TRIES,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.phase != Phase::Lost {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Bytes that wait.
    pub(super) const fn held_bytes(&self) -> usize {
        self.buffer.len().saturating_sub(self.taken)
    }

    /// Gives up the memory of what was taken.
    pub(super) fn compact(&mut self) {
        if self.taken == self.buffer.len() {
            self.buffer.clear();
        } else {
            self.buffer.drain(..self.taken.min(self.buffer.len()));
        }
        self.taken = 0;
    }

    pub(super) fn lose(&mut self) {
        self.phase = Phase::Lost;
        self.protection = None;
        self.buffer = Vec::new();
        self.taken = 0;
        self.spare = Vec::new();
        self.hole = None;
    }

    /// Others than records of the next key may come first.
    pub(super) const fn expect_others(&mut self) {
        self.skips = SKIPPED;
    }

    pub(super) fn front(&self) -> Front {
        let rest = self.buffer.get(self.taken..).unwrap_or_default();
        let Some((&[kind, major, minor, high, low], rest)) = rest.split_first_chunk() else {
            return Front::More;
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if !(20..=24).contains(&kind) || major != 3 || minor > 4 || len > RECORD_BYTES {
            return Front::Malformed;
        }
        if rest.len() < len { Front::More } else { Front::Record(kind) }
    }

    /// The record at the front, taken off.
    pub(super) fn take(&mut self) -> Option<Record> {
        let rest = self.buffer.get(self.taken..)?;
        let (&header, rest) = rest.split_first_chunk::<5>()?;
        let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let mut body = std::mem::take(&mut self.spare);
        body.clear();
        body.extend_from_slice(rest.get(..len)?);
        self.taken += 5 + len;
        Some(Record { header, body })
    }

    /// Gives a record's memory back.
    pub(super) fn put_back(&mut self, record: Record) {
        self.spare = record.body;
    }

    /// Bytes are missing: what is held and what is missing are lost, and so is the sequence number.
    pub(super) fn gap(&mut self, len: u64) {
        let held = u64::try_from(self.held_bytes()).unwrap_or(u64::MAX);
        self.hole = Some(self.hole.unwrap_or(0).saturating_add(held).saturating_add(len));
        self.messages = Messages::default();
        self.buffer.clear();
        self.taken = 0;
    }

    pub(super) const fn is_searching(&self) -> bool {
        self.hole.is_some()
    }

    /// After a hole: looks for a record that opens with one of the next sequence numbers. The
    /// search is bounded in all; where it fails the direction is lost.
    pub(super) fn search(&mut self) -> Option<Found> {
        loop {
            let rest = self.buffer.get(self.taken..)?;
            let (&header, rest) = rest.split_first_chunk::<5>()?;
            let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
            let plausible =
                matches!(header, [21..=23, 3, 3, ..]) && (1..=RECORD_BYTES).contains(&len);
            if plausible {
                let body = rest.get(..len)?.to_vec();
                if let Some(found) = self.try_ahead(header, &body) {
                    self.taken += 5 + len;
                    self.hole = None;
                    return Some(found);
                }
                if self.tries == 0 {
                    self.lose();
                    return None;
                }
            }
            self.taken += 1;
            self.hole = self.hole.map(|lost| lost.saturating_add(1));
        }
    }

    fn try_ahead(&mut self, header: [u8; 5], body: &[u8]) -> Option<Found> {
        let hole = self.hole?;
        let protection = self.protection.as_mut()?;
        let each = u64::try_from(protection.overhead_bytes()).ok()?.saturating_add(5);
        for records in 0..=(hole / each).saturating_add(1) {
            self.tries = self.tries.checked_sub(1)?;
            let mut copy = body.to_vec();
            if let Some(plain) = protection.open_ahead(records, header, &mut copy) {
                let lost_bytes = hole.saturating_sub(records.saturating_mul(each));
                return Some(Found { kind: header[0], plain: plain.to_vec(), lost_bytes });
            }
        }
        None
    }
}
