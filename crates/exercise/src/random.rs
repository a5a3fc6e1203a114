//! Numbers that look random.

/// xorshift64*: seeded (not with 0), so that a failure can be had again.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number below `end`; 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap_or(usize::MAX) % end.max(1)
    }
}
