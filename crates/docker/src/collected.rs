//! The beginning of a body, up to a limit.

/// Bytes in order without a hole: ends at the first missing byte or at the limit.
pub(crate) struct Collected {
    bytes: Vec<u8>,
    limit: usize,
    ended: bool,
}

impl Collected {
    /// Takes up to `limit` bytes.
    pub(crate) const fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, ended: false }
    }

    /// Adds bytes, unless it has ended.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.ended {
            return;
        }
        let room = self.limit.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or(&[]));
        self.ended = bytes.len() > room;
    }

    /// Ends it: bytes are missing here.
    pub(crate) const fn cut(&mut self) {
        self.ended = true;
    }

    /// What came; nothing is left and nothing more is taken.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.ended = true;
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::Collected;

    #[test]
    fn ends_at_the_limit_and_at_a_hole() {
        let mut body = Collected::new(4);
        body.push(b"abc");
        body.push(b"de");
        body.push(b"f");
        assert_eq!(body.take(), b"abcd");
        let mut body = Collected::new(4);
        body.push(b"a");
        body.cut();
        body.push(b"b");
        assert_eq!(body.take(), b"a");
        body.push(b"c");
        assert!(body.take().is_empty());
    }
}
