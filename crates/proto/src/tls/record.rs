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
pub(crate) enum Message<'a> {
    More,
    /// Type and body of the message.
    Whole(u8, &'a [u8]),
    /// No handshake record.
    Other,
    /// Over the limit.
    TooLong,
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

impl Handshake {
    pub(crate) fn push<'a>(&'a mut self, mut bytes: &'a [u8], limit: usize) -> Message<'a> {
        if let Some((kind, body)) = self.begins_whole(bytes, limit) {
            return Message::Whole(kind, body);
        }
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
            if self.is_finished(limit) {
                return self.finish(limit);
            }
        }
        Message::More
    }

    /// A message that is the first and lies whole in one record of one segment, as most do: it need not
    /// be held.
    fn begins_whole<'a>(&self, bytes: &'a [u8], limit: usize) -> Option<(u8, &'a [u8])> {
        let [HANDSHAKE, 3, _, high, low, record @ ..] = bytes else { return None };
        let record = record.get(..usize::from(u16::from_be_bytes([*high, *low])))?;
        let [kind, high, middle, low, body @ ..] = record else { return None };
        let body = body.get(..message_len(*high, *middle, *low))?;
        let is_first = self.header.is_empty() && self.left == 0 && self.message.is_empty();
        (is_first && body.len() <= limit).then_some((*kind, body))
    }

    /// Two bytes tell a TLS record from anything else.
    fn is_plausible(&self) -> bool {
        self.header.first().is_none_or(|kind| matches!(*kind, ALERT | HANDSHAKE))
            && self.header.get(1).is_none_or(|major| *major == 3)
    }

    fn is_finished(&self, limit: usize) -> bool {
        let [_, high, middle, low, ref body @ ..] = *self.message else { return false };
        let len = message_len(high, middle, low);
        len > limit || body.len() >= len
    }

    fn finish(&self, limit: usize) -> Message<'_> {
        let [kind, high, middle, low, ref body @ ..] = *self.message else {
            return Message::More;
        };
        let len = message_len(high, middle, low);
        match body.get(..len) {
            _ if len > limit => Message::TooLong,
            Some(body) => Message::Whole(kind, body),
            None => Message::More,
        }
    }
}

/// RFC 8446 §4: 24 bits.
fn message_len(high: u8, middle: u8, low: u8) -> usize {
    usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
}
