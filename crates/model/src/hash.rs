//! Hashing of what comes from the wire: fast, and with keys that are drawn once a process, so that
//! nobody outside can build collisions. Nothing that is put out depends on it.

use std::hash::BuildHasher;
use std::sync::LazyLock;

/// Makes hashers of one key.
#[derive(Clone, Debug)]
pub struct KeyedHash(ahash::RandomState);

impl Default for KeyedHash {
    fn default() -> Self {
        static KEYS: LazyLock<[u64; 4]> = LazyLock::new(|| {
            [0_u8, 1, 2, 3].map(|key| std::hash::RandomState::new().hash_one(key))
        });
        let [a, b, c, d] = *KEYS;
        Self(ahash::RandomState::with_seeds(a, b, c, d))
    }
}

impl BuildHasher for KeyedHash {
    type Hasher = ahash::AHasher;

    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}
