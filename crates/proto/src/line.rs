//! Lines out of a stream that is cut anywhere.

/// Collects a line that came in pieces. Holds nothing while lines come whole.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    held: Vec<u8>,
    /// The line in `held` was handed out; it is dropped with the next call.
    spent: bool,
    /// Bytes beyond the limit were dropped.
    cut: bool,
}

/// One line, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Without LF and the CR before it.
    pub(crate) bytes: &'a [u8],
    /// It was longer than the limit; `bytes` is its beginning.
    pub(crate) cut: bool,
}

impl LineBuffer {
    /// Takes a line off the front of `input`, or all of it where no line ends. A bare LF ends a
    /// line too (RFC 9112 §2.2). At most `limit` bytes are held.
    pub(crate) fn take<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
        limit: usize,
    ) -> Option<Line<'a>> {
        if self.spent {
            self.clear();
        }
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
            self.hold(input, limit);
            *input = &[];
            return None;
        };
        let (line, rest) = input.split_at_checked(end)?;
        *input = rest.get(1..).unwrap_or_default();
        if self.held.is_empty() && !self.cut {
            let cut = line.len() > limit;
            let bytes = line.get(..limit).unwrap_or(line);
            return Some(Line { bytes: if cut { bytes } else { trim_cr(bytes) }, cut });
        }
        self.hold(line, limit);
        self.spent = true;
        let cut = self.cut;
        Some(Line { bytes: if cut { &self.held } else { trim_cr(&self.held) }, cut })
    }

    /// The line that has begun.
    pub(crate) fn partial(&self) -> &[u8] {
        if self.spent { &[] } else { &self.held }
    }

    /// Did the line that has begun go over the limit?
    pub(crate) const fn is_cut(&self) -> bool {
        self.cut && !self.spent
    }

    pub(crate) fn clear(&mut self) {
        self.held = Vec::new();
        self.spent = false;
        self.cut = false;
    }

    fn hold(&mut self, bytes: &[u8], limit: usize) {
        let room = limit.saturating_sub(self.held.len());
        match bytes.get(..room) {
            Some(fitting) if bytes.len() > room => {
                self.held.extend_from_slice(fitting);
                self.cut = true;
            }
            _ => self.held.extend_from_slice(bytes),
        }
    }
}

/// More than one CR before the LF does happen, and browsers take it.
fn trim_cr(mut line: &[u8]) -> &[u8] {
    while let [rest @ .., b'\r'] = line {
        line = rest;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]], limit: usize) -> Vec<(Vec<u8>, bool)> {
        let mut buffer = LineBuffer::default();
        let mut found = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while !input.is_empty() {
                if let Some(line) = buffer.take(&mut input, limit) {
                    found.push((line.bytes.to_vec(), line.cut));
                }
            }
        }
        found
    }

    #[test]
    fn lines_do_not_depend_on_cuts() {
        let text = b"a\r\n\nbc\n\r\r\nlonger line\r\nrest";
        let whole = lines(&[text], 8);
        assert_eq!(whole[4], (b"longer l".to_vec(), true));
        for at in 0..text.len() {
            let (head, tail) = text.split_at(at);
            assert_eq!(lines(&[head, tail], 8), whole, "cut at {at}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(lines(&bytes, 8), whole);
    }

    #[test]
    fn an_endless_line_is_held_up_to_the_limit_only() {
        let mut buffer = LineBuffer::default();
        for _ in 0..100 {
            assert!(buffer.take(&mut &[b'x'; 100][..], 256).is_none());
        }
        assert_eq!(buffer.partial().len(), 256);
    }
}
