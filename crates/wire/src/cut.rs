//! A slice of a frame that knows how long it was before the snap length cut it.

/// Captured bytes with the length that they had on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut<'a> {
    /// What was captured.
    pub(crate) bytes: &'a [u8],
    /// Length on the wire, at least `bytes.len()`.
    pub(crate) wire: u32,
}

impl<'a> Cut<'a> {
    /// `bytes` of something that was `wire` bytes long.
    pub(crate) fn new(bytes: &'a [u8], wire: u32) -> Self {
        Self { bytes, wire: wire.max(saturating_u32(bytes.len())) }
    }

    /// Takes a header of `N` bytes off the front.
    #[inline]
    pub(crate) fn take<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        self.wire -= saturating_u32(N);
        Some(head)
    }

    /// Looks at the first `N` bytes.
    #[inline]
    pub(crate) fn peek<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.bytes.first_chunk::<N>()
    }

    /// Drops `count` bytes from the front, `None` when the wire had not so many. Bytes that were not
    /// captured can be dropped as well.
    #[inline]
    pub(crate) fn skip(&mut self, count: u32) -> Option<()> {
        self.wire = self.wire.checked_sub(count)?;
        let captured = usize::try_from(count).unwrap_or(usize::MAX);
        self.bytes = self.bytes.get(captured..).unwrap_or_default();
        Some(())
    }

    /// Sets the length on the wire to what a header says, which cuts off padding and trailers.
    #[inline]
    pub(crate) fn set_wire(&mut self, wire: u32) {
        let captured = usize::try_from(wire).unwrap_or(usize::MAX);
        self.bytes = self.bytes.get(..captured).unwrap_or(self.bytes);
        self.wire = wire;
    }
}

/// `length` as `u32`; frames are never longer than that.
#[inline]
pub(crate) fn saturating_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::Cut;

    #[test]
    fn skipping_past_the_capture_but_not_past_the_wire_leaves_nothing_captured() {
        let mut cut = Cut::new(&[1, 2, 3], 10);
        assert_eq!(cut.skip(5), Some(()));
        assert_eq!((cut.bytes.len(), cut.wire), (0, 5));
        assert_eq!(cut.skip(6), None);
    }

    #[test]
    fn a_header_s_length_trims_padding_and_may_exceed_the_capture() {
        let mut cut = Cut::new(&[1, 2, 3, 0, 0], 5);
        cut.set_wire(3);
        assert_eq!((cut.bytes, cut.wire), (&[1, 2, 3][..], 3));
        cut.set_wire(9);
        assert_eq!((cut.bytes, cut.wire), (&[1, 2, 3][..], 9));
    }
}
