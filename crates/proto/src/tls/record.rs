//! The first handshake message of a direction, joined over records and segments (RFC 8446 §5.1).

/// Collects the first handshake message.
#[derive(Debug, Default)]
pub(crate) struct Handshake {
    /// Bytes of the record header that has begun.
    header: Vec<u8>,
    /// Bytes left in the record.
    left: usize,
    /// In an alert's record, which may come before a hello (RFC 5246 §7.2, warning).
    skipping: bool,
    message: Vec<u8>,
}

/// What came of the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    More,
    /// Type and body of the message.
    Whole(u8, Vec<u8>),
    /// No handshake record.
    Other,
    /// Over the limit.
    TooLong,
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

impl Handshake {
    pub(crate) fn push(&mut self, mut bytes: &[u8], limit: usize) -> Message {
        while !bytes.is_empty() {
            if self.left == 0 {
                let wanted = 5_usize.saturating_sub(self.header.len()).min(bytes.len());
                let (taken, rest) = bytes.split_at_checked(wanted).unwrap_or_default();
                self.header.extend_from_slice(taken);
                bytes = rest;
                let [kind, major, _, high, low] = *self.header else {
                    return if self.is_plausible() { Message::More } else { Message::Other };
                };
                self.skipping = kind == ALERT;
                self.left = usize::from(u16::from_be_bytes([high, low]));
                self.header.clear();
                if major != 3 || !(self.skipping || kind == HANDSHAKE) || self.left == 0 {
                    return Message::Other;
                }
            }
            let (taken, rest) =
                bytes.split_at_checked(self.left.min(bytes.len())).unwrap_or_default();
            self.left = self.left.saturating_sub(taken.len());
            bytes = rest;
            if self.skipping {
                continue;
            }
            self.message.extend_from_slice(taken);
            match self.finish(limit) {
                Message::More => {}
                done => return done,
            }
        }
        Message::More
    }

    /// Two bytes tell a TLS record from anything else.
    fn is_plausible(&self) -> bool {
        self.header.first().is_none_or(|kind| matches!(*kind, ALERT | HANDSHAKE))
            && self.header.get(1).is_none_or(|major| *major == 3)
    }

    fn finish(&mut self, limit: usize) -> Message {
        let [kind, high, middle, low, ref body @ ..] = *self.message else {
            return Message::More;
        };
        let len = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if len > limit {
            return Message::TooLong;
        }
        match body.get(..len) {
            Some(body) => Message::Whole(kind, body.to_vec()),
            None => Message::More,
        }
    }
}
