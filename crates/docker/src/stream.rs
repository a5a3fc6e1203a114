//! The stream that attach and exec start hand a connection over to: who sent how much, and whether in
//! frames. What is said is counted and dropped, and never read as anything else. Only where secrets are to
//! be shown is the beginning of it kept: 1 KiB each way.
//!
//! Docker Engine API v1.43, ContainerAttach, "Stream format": with a terminal both directions are raw;
//! without one the daemon sends frames with a header of eight octets: stream (0 to 2), three zeros, length.

use tw_model::{Secrets, StreamFraming, StreamText, StreamUse};

/// Octets that are kept each way.
const KEPT: usize = 1024;
/// Octets of a frame's header.
const HEADER: usize = 8;

/// Counts one stream.
#[derive(Debug, Default)]
pub(crate) struct StreamMeter {
    seen: StreamUse,
    header: Vec<u8>,
    /// Octets left in the frame, and whose they are.
    left: u32,
    stream: u8,
}

impl StreamMeter {
    pub(crate) fn new(secrets: Secrets) -> Self {
        let said = (secrets == Secrets::Keep).then(Box::<StreamText>::default);
        Self { seen: StreamUse { said, ..StreamUse::default() }, ..Self::default() }
    }

    /// Bytes that the caller sent.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        add(&mut self.seen.input_bytes, bytes.len());
        if let Some(said) = &mut self.seen.said {
            keep(&mut said.input, bytes);
        }
    }

    /// Bytes that the daemon sent.
    pub(crate) fn received(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.seen.framing != StreamFraming::Raw {
            if self.left == 0 {
                let wanted = HEADER.saturating_sub(self.header.len()).min(bytes.len());
                let (taken, rest) = bytes.split_at_checked(wanted).unwrap_or_default();
                self.header.extend_from_slice(taken);
                bytes = rest;
                if !self.begins_frame() {
                    // Of what was held back nothing was counted yet.
                    self.seen.framing = StreamFraming::Raw;
                    let held = std::mem::take(&mut self.header);
                    self.output(false, &held);
                    break;
                }
                let [stream, _, _, _, a, b, c, d] = *self.header else { return };
                self.left = u32::from_be_bytes([a, b, c, d]);
                self.stream = stream;
                self.header.clear();
                self.seen.framing = StreamFraming::Frames;
                continue;
            }
            let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (taken, rest) = bytes.split_at_checked(len).unwrap_or_default();
            self.left = self.left.saturating_sub(u32::try_from(len).unwrap_or(u32::MAX));
            bytes = rest;
            self.output(self.stream == 2, taken);
        }
        self.output(false, bytes);
    }

    fn output(&mut self, is_error: bool, bytes: &[u8]) {
        let seen = &mut self.seen;
        add(if is_error { &mut seen.error_bytes } else { &mut seen.output_bytes }, bytes.len());
        if let Some(said) = &mut seen.said {
            keep(&mut said.output, bytes);
        }
    }

    /// Could what was collected be the beginning of a header?
    fn begins_frame(&self) -> bool {
        match *self.header {
            [] => true,
            [stream, ref rest @ ..] => stream <= 2 && rest.iter().take(3).all(|octet| *octet == 0),
        }
    }

    /// What was counted so far.
    pub(crate) fn into_seen(self) -> StreamUse {
        self.seen
    }
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = KEPT.saturating_sub(kept.len()).min(bytes.len());
    kept.extend_from_slice(bytes.get(..room).unwrap_or_default());
}

fn add(count: &mut u64, bytes: usize) {
    *count = count.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, content: &[u8]) -> Vec<u8> {
        let len = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0][..], &len, content].concat()
    }

    fn read(bytes: &[u8]) -> StreamUse {
        let mut whole = StreamMeter::new(Secrets::Keep);
        whole.received(bytes);
        for cut in 1..=bytes.len() {
            let mut pieces = StreamMeter::new(Secrets::Keep);
            bytes.chunks(cut).for_each(|piece| pieces.received(piece));
            assert_eq!(pieces.into_seen(), whole.seen, "cut at {cut}");
        }
        whole.into_seen()
    }

    #[test]
    fn frames_are_counted_by_stream_however_they_are_cut() {
        let bytes =
            [frame(1, b"out\n"), frame(2, b"error\n"), frame(1, b""), frame(1, b"x")].concat();
        let seen = read(&bytes);
        assert_eq!(seen.framing, StreamFraming::Frames);
        assert_eq!((seen.output_bytes, seen.error_bytes), (5, 6));
        assert_eq!(seen.said.unwrap().output, b"out\nerror\nx");
    }

    #[test]
    fn what_is_said_is_kept_only_where_it_is_asked_for_and_not_all_of_it() {
        let mut quiet = StreamMeter::new(Secrets::Redact);
        quiet.sent(b"password");
        quiet.received(b"secret and more");
        assert_eq!(quiet.into_seen().said, None);
        let mut shown = StreamMeter::new(Secrets::Keep);
        for _ in 0..3 {
            shown.sent(&[b'a'; 700]);
        }
        let seen = shown.into_seen();
        assert_eq!((seen.input_bytes, seen.said.unwrap().input.len()), (2100, KEPT));
    }

    #[test]
    fn a_terminal_is_raw_and_so_is_what_stops_being_frames() {
        let seen = read(b"/ # GET / HTTP/1.1\r\n");
        assert_eq!((seen.framing, seen.output_bytes), (StreamFraming::Raw, 20));
        let broken = [frame(1, b"ab"), b"\x01\x00\x07\x00rest".to_vec()].concat();
        let seen = read(&broken);
        assert_eq!((seen.framing, seen.output_bytes), (StreamFraming::Raw, 10));
        assert_eq!(read(b"").framing, StreamFraming::Unknown);
        let huge = read(&[1, 0, 0, 0, 255, 255, 255, 255, 7, 7]);
        assert_eq!((huge.framing, huge.output_bytes), (StreamFraming::Frames, 2));
    }
}
