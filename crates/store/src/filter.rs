//! Immutable filters that say "surely never seen" or "maybe seen" of a keyed hash.
//!
//! Binary fuse filters with 16-bit fingerprints, sharded by the upper bits of the hash. "Maybe" is
//! wrong once in 65,536 times and is always settled by `SQLite`, so a filter never makes an answer
//! wrong, only slow. A shard whose file is missing or damaged says "maybe" to everything.

use xorf::{BinaryFuse16, Filter};

mod file;

pub(crate) use file::{FilterError, ShardFile};

/// Chance that a filter says "maybe" of something never seen: one fingerprint of 16 bits.
pub(crate) const FALSE_MAYBE: f64 = 1.0 / 65_536.0;
/// Shards are kept at about this many keys, so that one is built in some tens of milliseconds.
const SHARD_KEYS: u64 = 500_000;
/// At most 256 shards.
const MAX_BITS: u8 = 8;
/// Fewer keys than this are kept as they are: a fuse filter gains nothing on them.
const MIN_FUSE_KEYS: usize = 64;

/// All shards.
#[derive(Debug)]
pub(crate) struct Filters {
    bits: u8,
    shards: Vec<Shard>,
}

/// One shard.
#[derive(Clone, Debug, Default)]
pub(crate) enum Shard {
    /// Never built: all its keys are still in the map of what came since.
    #[default]
    Unbuilt,
    /// The usual form, with its number of keys.
    Fuse(std::sync::Arc<BinaryFuse16>, u64),
    /// Sorted hashes: few keys, or keys for which no filter could be built.
    Exact(std::sync::Arc<[u64]>),
    /// Its file could not be used.
    Damaged,
}

impl Filters {
    /// Shards in order; there must be `2^bits` of them, missing ones are taken as damaged.
    pub(crate) fn new(bits: u8, mut shards: Vec<Shard>) -> Self {
        let bits = bits.min(MAX_BITS);
        shards.resize(1 << bits, Shard::Damaged);
        Self { bits, shards }
    }

    /// Those of a new store.
    pub(crate) fn unbuilt() -> Self {
        Self { bits: 0, shards: vec![Shard::Unbuilt] }
    }

    pub(crate) const fn bits(&self) -> u8 {
        self.bits
    }

    pub(crate) fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// `false` only if the hash was in no shard when it was built.
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        match self.shards.get(shard_of(hash, self.bits)) {
            Some(Shard::Unbuilt) => false,
            Some(Shard::Fuse(filter, _)) => filter.contains(&hash),
            Some(Shard::Exact(hashes)) => hashes.binary_search(&hash).is_ok(),
            Some(Shard::Damaged) | None => true,
        }
    }

    /// Whether the filter itself vouches for this hash, so that it need not be kept elsewhere. A
    /// damaged shard vouches for nothing.
    pub(crate) fn covers(&self, hash: u64) -> bool {
        let shard = self.shards.get(shard_of(hash, self.bits));
        !matches!(shard, Some(Shard::Damaged) | None) && self.may_contain(hash)
    }

    /// Keys in all usable shards.
    pub(crate) fn keys(&self) -> u64 {
        self.shards.iter().map(Shard::keys).sum()
    }

    /// Bytes of memory in all shards.
    pub(crate) fn bytes(&self) -> u64 {
        self.shards.iter().map(Shard::bytes).sum()
    }

    /// Shards that say "maybe" to everything.
    pub(crate) fn damaged(&self) -> u64 {
        self.shards.iter().map(|shard| u64::from(matches!(shard, Shard::Damaged))).sum()
    }
}

impl Shard {
    /// Builds a shard of any hashes, in any order, repeated or not.
    pub(crate) fn build(mut hashes: Vec<u64>) -> Self {
        hashes.sort_unstable();
        hashes.dedup();
        if hashes.len() >= MIN_FUSE_KEYS
            && let Ok(filter) = BinaryFuse16::try_from(&hashes)
        {
            return Self::Fuse(filter.into(), u64::try_from(hashes.len()).unwrap_or(u64::MAX));
        }
        Self::Exact(hashes.into())
    }

    pub(crate) fn keys(&self) -> u64 {
        match self {
            Self::Fuse(_, keys) => *keys,
            Self::Exact(hashes) => u64::try_from(hashes.len()).unwrap_or(u64::MAX),
            Self::Unbuilt | Self::Damaged => 0,
        }
    }

    fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Fuse(filter, _) => filter.fingerprints.len().saturating_mul(2),
            Self::Exact(hashes) => hashes.len().saturating_mul(8),
            Self::Unbuilt | Self::Damaged => 0,
        };
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// Which shard a hash belongs to: its upper bits.
pub(crate) fn shard_of(hash: u64, bits: u8) -> usize {
    let shift = 64_u32.saturating_sub(u32::from(bits));
    usize::try_from(hash.checked_shr(shift).unwrap_or(0)).unwrap_or(usize::MAX)
}

/// The hashes of one shard as the signed integers that `SQLite` keeps.
pub(crate) fn signed_range(shard: u32, bits: u8) -> (i64, i64) {
    if bits == 0 {
        return (i64::MIN, i64::MAX);
    }
    let shift = 64_u32.saturating_sub(u32::from(bits));
    let first = u64::from(shard).checked_shl(shift).unwrap_or(0);
    let last = first | 1_u64.checked_shl(shift).unwrap_or(0).wrapping_sub(1);
    (first.cast_signed(), last.cast_signed())
}

/// How many shard bits suit so many keys.
pub(crate) fn bits_for(keys: u64) -> u8 {
    let shards = keys.div_ceil(SHARD_KEYS).max(1).next_power_of_two();
    u8::try_from(shards.trailing_zeros()).unwrap_or(MAX_BITS).min(MAX_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn every_key_is_maybe_and_nearly_every_other_is_never() {
        let mut random = Random::new(1);
        for size in [0, 1, 2, 63, 64, 65, 1_000, 20_000] {
            let mut hashes: Vec<u64> = (0..size).map(|_| random.next()).collect();
            hashes.extend_from_within(..size / 2);
            let filters = Filters::new(0, vec![Shard::build(hashes.clone())]);
            assert_eq!(filters.keys(), size as u64);
            assert!(hashes.iter().all(|&hash| filters.may_contain(hash)));
            let wrong = (0..20_000).filter(|_| filters.may_contain(random.next())).count();
            assert!(wrong < 8, "{wrong} of 20,000 wrong at size {size}");
        }
    }

    #[test]
    fn shards_are_told_by_the_upper_bits() {
        let mut random = Random::new(2);
        for bits in 0..=8 {
            for _ in 0..50 {
                let hash = random.next();
                let shard = shard_of(hash, bits);
                assert!(shard < 1 << bits);
                let (first, last) = signed_range(u32::try_from(shard).unwrap(), bits);
                assert!((first..=last).contains(&hash.cast_signed()));
            }
        }
        assert_eq!([0, 500_000, 500_001, u64::MAX / 2].map(bits_for), [0, 0, 1, 8]);
    }

    #[test]
    fn damage_is_maybe_and_vouches_for_nothing() {
        let filters = Filters::new(1, vec![Shard::build(vec![5])]);
        assert!(filters.may_contain(5) && filters.covers(5));
        assert!(!filters.may_contain(6));
        assert!(filters.may_contain(u64::MAX) && !filters.covers(u64::MAX));
        assert_eq!(filters.damaged(), 1);
    }
}
