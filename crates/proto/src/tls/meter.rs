//! Lengths of the records of a TLS connection that is not decrypted.
//!
//! In go the bytes of both directions, out come the records of application data, with the length of
//! their content: an AEAD adds the same to each. The handshake's are told from it by its last one,
//! `Finished`, whose length is known. Nothing is held but the header that has begun.

use tw_model::Direction;

use super::protection::Suite;
use crate::event::TlsRecord;

const APPLICATION_DATA: u8 = 23;
/// Sealed records without one as long as a `Finished`, after which none is waited for.
const HANDSHAKE_RECORDS: u8 = 8;

/// Measures one connection.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// By `Direction::index`.
    sides: [Measured; 2],
}

#[derive(Debug, Default)]
struct Measured {
    header: [u8; 5],
    header_len: usize,
    /// Bytes left in the record.
    left: u64,
    /// In between records, with a hole before.
    lost: bool,
    handshake_records: u8,
    handshake_over: bool,
}

impl Meter {
    /// `suite` is the server's choice, once it is known.
    pub(super) fn data(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        suite: Option<Suite>,
        tell: &mut dyn FnMut(TlsRecord),
    ) {
        let Some(side) = self.sides.get_mut(direction.index()) else { return };
        side.data(bytes, &mut |kind, len, side| {
            let Some(suite) = suite.filter(|_| kind == APPLICATION_DATA) else { return };
            let content = len.saturating_sub(u16::try_from(suite.overhead_bytes()).unwrap_or(0));
            if side.is_application_data(suite, content) {
                tell(TlsRecord::Begun { direction, content_bytes: content });
            }
        });
    }

    pub(super) fn gap(&mut self, direction: Direction, len: u64, tell: &mut dyn FnMut(TlsRecord)) {
        let Some(side) = self.sides.get_mut(direction.index()) else { return };
        tell(TlsRecord::Missing);
        match side.left.checked_sub(len) {
            Some(left) => side.left = left,
            None => {
                side.left = 0;
                side.header_len = 0;
                side.lost = true;
            }
        }
    }
}

impl Measured {
    fn data(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(u8, u16, &mut Self)) {
        while !bytes.is_empty() {
            if self.left == 0 {
                if self.lost && !matches!(bytes, [20..=23, 3, 1..=3, 0..=0x48, ..]) {
                    // Records often begin with a segment; only there is one looked for.
                    return;
                }
                self.lost = false;
                let wanted = 5_usize.saturating_sub(self.header_len).min(bytes.len());
                let (taken, rest) = bytes.split_at_checked(wanted).unwrap_or_default();
                for (slot, byte) in self.header.iter_mut().skip(self.header_len).zip(taken) {
                    *slot = *byte;
                }
                self.header_len += taken.len();
                bytes = rest;
                if self.header_len < 5 {
                    return;
                }
                self.header_len = 0;
                let [kind, major, _, high, low] = self.header;
                let len = u16::from_be_bytes([high, low]);
                if !(20..=24).contains(&kind) || major != 3 {
                    self.lost = true;
                    return;
                }
                self.left = u64::from(len);
                each(kind, len, self);
            }
            let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (taken, rest) = bytes.split_at_checked(take).unwrap_or_default();
            self.left = self.left.saturating_sub(u64::try_from(taken.len()).unwrap_or(u64::MAX));
            bytes = rest;
        }
    }

    /// TLS 1.3 seals its handshake in records of application data (RFC 8446 §5.1); its `Finished` is
    /// a message header and a hash (§4.4.4). Alerts and later messages cannot be told from data.
    fn is_application_data(&mut self, suite: Suite, content: u16) -> bool {
        if self.handshake_over || !suite.tls13 {
            return true;
        }
        self.handshake_records = self.handshake_records.saturating_add(1);
        self.handshake_over = usize::from(content) == 4 + suite.hash_bytes()
            || self.handshake_records >= HANDSHAKE_RECORDS;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, len: u16) -> Vec<u8> {
        let [high, low] = len.to_be_bytes();
        [vec![kind, 3, 3, high, low], vec![0; usize::from(len)]].concat()
    }

    fn told(bytes: &[u8], step: usize) -> Vec<u16> {
        let mut meter = Meter::default();
        let mut lens = Vec::new();
        for piece in bytes.chunks(step) {
            meter.data(Direction::ToOpener, piece, Suite::find(0x1301), &mut |record| {
                if let TlsRecord::Begun { content_bytes, .. } = record {
                    lens.push(content_bytes);
                }
            });
        }
        lens
    }

    #[test]
    fn what_comes_after_the_finished_is_measured_however_it_is_cut() {
        let bytes = [
            record(22, 90),
            record(20, 1),
            record(23, 1000),
            record(23, 53),
            record(23, 40),
            record(23, 17 + 300),
            record(23, 19),
        ]
        .concat();
        for step in [1, 2, 7, 100, 10_000] {
            assert_eq!(told(&bytes, step), [23, 300, 2], "{step}");
        }
    }

    #[test]
    fn a_hole_inside_a_record_loses_nothing_else_and_a_longer_one_waits_for_a_header() {
        let mut meter = Meter::default();
        let mut lens = Vec::new();
        let suite = Suite::find(0xc02f);
        let mut tell = |record| lens.push(record);
        meter.data(Direction::ToOpener, &record(23, 1000)[..100], suite, &mut tell);
        meter.gap(Direction::ToOpener, 905, &mut tell);
        meter.data(Direction::ToOpener, &record(23, 124), suite, &mut tell);
        meter.gap(Direction::ToOpener, 5, &mut tell);
        meter.data(Direction::ToOpener, &[0; 50], suite, &mut tell);
        meter.data(Direction::ToOpener, &record(23, 74), suite, &mut tell);
        let begun =
            |content_bytes| TlsRecord::Begun { direction: Direction::ToOpener, content_bytes };
        let missing = TlsRecord::Missing;
        assert_eq!(lens, [begun(976), missing, begun(100), missing, begun(50)]);
    }
}
