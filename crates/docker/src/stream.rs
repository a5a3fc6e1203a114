//! The stream that attach and exec start hand a connection over to: who sent how much, and whether in
//! frames. What is said is counted and dropped; it is never kept, and never read as anything else.
//!
//! Docker Engine API v1.43, ContainerAttach, "Stream format": with a terminal both directions are raw;
//! without one the daemon sends frames with a header of eight octets: stream (0 to 2), three zeros, length.

use tw_model::{StreamFraming, StreamUse};

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
    /// Bytes that the caller sent.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        add(&mut self.seen.input_bytes, bytes.len());
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
                    add(&mut self.seen.output_bytes, self.header.len());
                    self.header = Vec::new();
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
            let slot = match self.stream {
                2 => &mut self.seen.error_bytes,
                _ => &mut self.seen.output_bytes,
            };
            add(slot, taken.len());
        }
        add(&mut self.seen.output_bytes, bytes.len());
    }

    /// Could what was collected be the beginning of a header?
    fn begins_frame(&self) -> bool {
        match *self.header {
            [] => true,
            [stream, ref rest @ ..] => stream <= 2 && rest.iter().take(3).all(|octet| *octet == 0),
        }
    }

    /// What was counted so far.
    pub(crate) const fn seen(&self) -> StreamUse {
        self.seen
    }
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
        let mut whole = StreamMeter::default();
        whole.received(bytes);
        for cut in 1..=bytes.len() {
            let mut pieces = StreamMeter::default();
            bytes.chunks(cut).for_each(|piece| pieces.received(piece));
            assert_eq!(pieces.seen(), whole.seen(), "cut at {cut}");
        }
        whole.seen()
    }

    #[test]
    fn frames_are_counted_by_stream_however_they_are_cut() {
        let bytes =
            [frame(1, b"out\n"), frame(2, b"error\n"), frame(1, b""), frame(1, b"x")].concat();
        let seen = read(&bytes);
        assert_eq!(seen.framing, StreamFraming::Frames);
        assert_eq!((seen.output_bytes, seen.error_bytes), (5, 6));
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
