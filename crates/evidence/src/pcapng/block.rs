//! One block, put together before it is written: its length stands at its head.

/// §3.1, little-endian.
#[derive(Debug, Default)]
pub(super) struct Block(Vec<u8>);

impl Block {
    /// Begins a block of this type; what was there before is gone.
    pub(super) fn begin(&mut self, kind: u32) {
        self.0.clear();
        self.u32(kind);
        self.u32(0);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// To the next multiple of four.
    pub(super) fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// §3.5: code, length without padding, value. A value that is too long for its length is left out.
    pub(super) fn option(&mut self, code: u16, value: &[u8]) {
        let Ok(len) = u16::try_from(value.len()) else { return };
        self.u16(code);
        self.u16(len);
        self.bytes(value);
        self.pad();
    }

    /// §3.5, `opt_endofopt`.
    pub(super) fn end_of_options(&mut self) {
        self.u32(0);
    }

    /// Length when it is finished.
    pub(super) fn len(&self) -> usize {
        self.0.len().saturating_add(4)
    }

    /// The whole block, with its length at both ends.
    pub(super) fn finished(&mut self) -> &[u8] {
        let len = u32::try_from(self.len()).unwrap_or(u32::MAX);
        if let Some(place) = self.0.get_mut(4..8) {
            place.copy_from_slice(&len.to_le_bytes());
        }
        self.u32(len);
        &self.0
    }
}
