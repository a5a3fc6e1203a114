//! Newline-separated JSON answers, one line at a time, in bounded memory.

/// Longer lines are dropped whole.
const MAX_LINE: usize = 64 * 1024;

/// Cuts a body into lines.
#[derive(Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
    /// The current line is too long, or its beginning is missing.
    spoilt: bool,
}

impl Lines {
    /// Hands every line that ends in `bytes` to `sink`.
    pub(crate) fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len().saturating_add(piece.len()) > MAX_LINE {
                self.spoilt = true;
            }
            if !self.spoilt {
                self.line.extend_from_slice(piece);
            }
            if piece.last() == Some(&b'\n') {
                self.end(sink);
            }
        }
    }

    /// Bytes are missing here: the line they are in is lost.
    pub(crate) fn gap(&mut self) {
        self.spoilt = true;
    }

    /// The body is over: what is left is a line.
    pub(crate) fn end(&mut self, sink: &mut dyn FnMut(&[u8])) {
        let blank = self.line.iter().all(u8::is_ascii_whitespace);
        if !self.spoilt && !blank {
            sink(&self.line);
        }
        self.line.clear();
        self.spoilt = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut reader, mut seen) = (Lines::default(), Vec::new());
        let mut sink = |line: &[u8]| seen.push(String::from_utf8_lossy(line).trim().to_owned());
        for piece in pieces {
            reader.push(piece, &mut sink);
        }
        reader.end(&mut sink);
        seen
    }

    #[test]
    fn any_cut_gives_the_same_lines() {
        let text = b"{\"a\":1}\r\n\r\n{\"b\":2}\n{\"c\":3}";
        for cut in 0..=text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(lines(&[a, b]), ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"], "{cut}");
        }
    }

    #[test]
    fn long_lines_and_gaps_lose_one_line_only() {
        let long = vec![b'x'; MAX_LINE + 1];
        assert_eq!(lines(&[b"a\n", &long, b"\nb\n"]), ["a", "b"]);
        let (mut reader, mut seen) = (Lines::default(), 0);
        reader.push(b"a\nb", &mut |_| seen += 1);
        reader.gap();
        reader.push(b"c\nd\n", &mut |_| seen += 1);
        assert_eq!(seen, 2);
    }
}
