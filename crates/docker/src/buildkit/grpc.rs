//! Messages of a gRPC stream (gRPC over HTTP/2, "Length-Prefixed-Message").
//!
//! In: the bytes of one direction of one call, in any pieces, and holes. Out: messages, decompressed,
//! each marked whole or cut. After a hole inside a message the next one is found by length; after any
//! other, where a piece of data is exactly one message. Limits: [`Room`].

use std::io::Read;

use flate2::read::GzDecoder;

/// Bytes that all half-read messages may hold together, and what that cost.
pub(crate) struct Room {
    held: usize,
    limit: usize,
    message_limit: usize,
    /// Messages that were cut to stay within the limits.
    pub(crate) messages_cut: u64,
}

impl Room {
    /// `limit` for all messages together, `message_limit` for each.
    pub(crate) const fn new(limit: usize, message_limit: usize) -> Self {
        Self { held: 0, limit, message_limit, messages_cut: 0 }
    }
}

/// One direction of one call.
#[derive(Default)]
pub(crate) struct Messages {
    prefix: Vec<u8>,
    /// Bytes of the present message that have not come.
    left: u64,
    held: Vec<u8>,
    /// Bytes of the present message are missing, or were not kept.
    cut: bool,
    /// Where the next message begins is not known.
    lost: bool,
    gzip: bool,
}

const PREFIX_BYTES: usize = 5;

impl Messages {
    /// A direction that was under way before: where a message begins is not known.
    pub(crate) fn joined() -> Self {
        Self { lost: true, ..Self::default() }
    }

    /// Is it unknown where the next message begins?
    pub(crate) const fn is_lost(&self) -> bool {
        self.lost
    }

    /// The `grpc-encoding` of this direction.
    pub(crate) fn coding(&mut self, name: Option<&str>) {
        self.gzip = name == Some("gzip");
    }

    /// The next bytes. `on` gets each message, and whether all of it is there.
    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        room: &mut Room,
        on: &mut dyn FnMut(&[u8], bool),
    ) {
        if self.lost {
            if !is_one_message(bytes) {
                return;
            }
            self.lost = false;
        }
        while !bytes.is_empty() {
            if self.prefix.len() < PREFIX_BYTES {
                bytes = self.read_prefix(bytes);
                if self.lost {
                    return;
                }
                if self.prefix.len() == PREFIX_BYTES && self.left == 0 {
                    self.deliver(&[], room, on);
                }
                continue;
            }
            let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (piece, rest) = bytes.split_at_checked(len).unwrap_or((bytes, &[]));
            bytes = rest;
            self.left = self.left.saturating_sub(u64::try_from(len).unwrap_or(u64::MAX));
            let at_once = self.left == 0 && self.held.is_empty() && !self.cut;
            if at_once && piece.len() <= room.message_limit {
                self.deliver(piece, room, on);
                continue;
            }
            self.hold(piece, room);
            if self.left == 0 {
                self.deliver(&[], room, on);
            }
        }
    }

    /// So many bytes are missing here.
    pub(crate) fn gap(&mut self, len: u64, room: &mut Room, on: &mut dyn FnMut(&[u8], bool)) {
        if self.lost {
            return;
        }
        let inside = self.prefix.len() == PREFIX_BYTES && len <= self.left;
        self.cut = true;
        self.left = self.left.saturating_sub(len);
        if !inside {
            self.finish(room, on);
        } else if self.left == 0 {
            self.deliver(&[], room, on);
        }
    }

    /// No more bytes will come: a message that has begun is given as far as it came.
    pub(crate) fn finish(&mut self, room: &mut Room, on: &mut dyn FnMut(&[u8], bool)) {
        if self.prefix.len() == PREFIX_BYTES {
            self.cut = true;
            self.deliver(&[], room, on);
        }
        self.prefix.clear();
        self.lost = true;
    }

    /// A flag of 0 or 1, and the length, big end first.
    fn read_prefix<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let missing = PREFIX_BYTES.saturating_sub(self.prefix.len()).min(bytes.len());
        let (head, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
        self.prefix.extend_from_slice(head);
        if let [flag, a, b, c, d] = *self.prefix.as_slice() {
            self.left = u64::from(u32::from_be_bytes([a, b, c, d]));
            self.cut = false;
            if flag > 1 {
                self.prefix.clear();
                self.lost = true;
            }
        }
        rest
    }

    fn hold(&mut self, piece: &[u8], room: &mut Room) {
        if self.cut {
            return;
        }
        let of_message = room.message_limit.saturating_sub(self.held.len());
        let free = room.limit.saturating_sub(room.held).min(of_message).min(piece.len());
        self.held.extend_from_slice(piece.get(..free).unwrap_or(&[]));
        room.held = room.held.saturating_add(free);
        if free < piece.len() {
            self.cut = true;
            room.messages_cut = room.messages_cut.saturating_add(1);
        }
    }

    /// `piece` is the message where nothing is held.
    fn deliver(&mut self, piece: &[u8], room: &mut Room, on: &mut dyn FnMut(&[u8], bool)) {
        let held = std::mem::take(&mut self.held);
        room.held = room.held.saturating_sub(held.len());
        let message = if held.is_empty() { piece } else { &held };
        let compressed = self.prefix.first() == Some(&1);
        self.prefix.clear();
        self.left = 0;
        let whole = !std::mem::take(&mut self.cut);
        if !compressed {
            return on(message, whole);
        }
        if self.gzip {
            let (plain, all) = inflated(message, room.message_limit);
            if !all {
                room.messages_cut = room.messages_cut.saturating_add(1);
            }
            on(&plain, whole && all);
        }
    }
}

/// As far as it can be decompressed within the limit, and whether that is all.
fn inflated(message: &[u8], limit: usize) -> (Vec<u8>, bool) {
    let mut plain = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = GzDecoder::new(message).take(most).read_to_end(&mut plain);
    let all = read.is_ok() && plain.len() <= limit;
    plain.truncate(limit);
    (plain, all)
}

/// A prefix whose length is just what follows it.
fn is_one_message(bytes: &[u8]) -> bool {
    let [0 | 1, a, b, c, d, rest @ ..] = bytes else { return false };
    usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).is_ok_and(|len| len == rest.len())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
        let len = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[flag], &len[..], message].concat()
    }

    /// What comes of `pieces`; `None` is a hole of that many bytes.
    fn read(pieces: &[Result<&[u8], u64>], limit: usize) -> (Vec<(Vec<u8>, bool)>, u64) {
        let (mut messages, mut room) = (Messages::default(), Room::new(1 << 20, limit));
        messages.coding(Some("gzip"));
        let mut told = Vec::new();
        let mut on = |bytes: &[u8], whole| told.push((bytes.to_vec(), whole));
        for piece in pieces {
            match piece {
                Ok(bytes) => messages.push(bytes, &mut room, &mut on),
                Err(len) => messages.gap(*len, &mut room, &mut on),
            }
        }
        messages.finish(&mut room, &mut on);
        assert_eq!(room.held, 0, "all is given back");
        (told, room.messages_cut)
    }

    #[test]
    fn cuts_do_not_matter() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(b"zipped").unwrap();
        let packed = framed(1, &gzip.finish().unwrap());
        let bytes = [framed(0, b"one"), framed(0, b""), packed, framed(0, b"two")].concat();
        let whole = read(&[Ok(&bytes)], 100).0;
        let texts: Vec<&[u8]> = whole.iter().map(|(text, _)| text.as_slice()).collect();
        assert_eq!(texts, [&b"one"[..], b"", b"zipped", b"two"]);
        assert!(whole.iter().all(|(_, whole)| *whole));
        for at in 1..bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(read(&[Ok(head), Ok(tail)], 100).0, whole, "cut at {at}");
        }
        let single: Vec<Result<&[u8], u64>> = bytes.chunks(1).map(Ok).collect();
        assert_eq!(read(&single, 100).0, whole);
    }

    #[test]
    fn longer_than_the_limit_is_cut_and_skipped_by_length() {
        let bytes = [framed(0, &[b'x'; 50]), framed(0, b"next")].concat();
        let (head, tail) = bytes.split_at(20);
        let (told, cut) = read(&[Ok(head), Ok(tail)], 10);
        assert_eq!(told, [(vec![b'x'; 10], false), (b"next".to_vec(), true)]);
        assert_eq!(cut, 1);
    }

    #[test]
    fn a_hole_inside_a_message_keeps_the_step() {
        let bytes = [framed(0, b"0123456789"), framed(0, b"next")].concat();
        let (told, _) = read(&[Ok(&bytes[..8]), Err(4), Ok(&bytes[12..])], 100);
        assert_eq!(told, [(b"012".to_vec(), false), (b"next".to_vec(), true)]);
    }

    #[test]
    fn after_any_other_hole_a_piece_must_be_one_message() {
        let bytes = framed(0, b"0123456789");
        let next = framed(0, b"next");
        let (told, _) = read(&[Ok(&bytes[..8]), Err(400), Ok(b"garbage"), Ok(&next)], 100);
        assert_eq!(told, [(b"012".to_vec(), false), (b"next".to_vec(), true)]);
    }

    #[test]
    fn hostile_prefixes_and_codings() {
        assert!(read(&[Ok(b"\x02\0\0\0\x01a"), Ok(b"more")], 100).0.is_empty());
        let (told, _) = read(&[Ok(b"\0\xff\xff\xff\xffabc")], 100);
        assert_eq!(told, [(b"abc".to_vec(), false)]);
        let (told, cut) = read(&[Ok(&framed(1, b"no gzip"))], 100);
        assert_eq!((told, cut), (vec![(vec![], false)], 1));
        let mut plain = Messages::default();
        let mut room = Room::new(100, 100);
        plain.push(&framed(1, b"of no coding"), &mut room, &mut |_, _| panic!("unreadable"));
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(&vec![0; 1 << 20]).unwrap();
        let (told, cut) = read(&[Ok(&framed(1, &bomb.finish().unwrap()))], 1000);
        assert_eq!((told[0].0.len(), told[0].1), (1000, false));
        assert!(cut > 0);
    }
}
