//! What the tests of several files share.

use std::net::IpAddr;
use std::time::Duration;

use tw_detect::{Fact, Key};
use tw_model::{Timestamp, Via};

/// A small seeded generator (xorshift64*), so that a failure can be repeated.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn below_i32(&mut self, bound: i32) -> i32 {
        i32::try_from(self.below(u64::try_from(bound).unwrap())).unwrap()
    }
}

pub(crate) const HOST: &str = "10.0.0.5";

/// A moment: this day after an arbitrary first one, this many seconds into it.
pub(crate) fn at(day: u64, seconds: u64) -> Timestamp {
    Timestamp::EPOCH.plus(Duration::from_secs((20_000 + day) * 86_400 + seconds))
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A contact of 10.0.0.5 in the environment `default`.
pub(crate) fn fact(key: Key<'_>, at: Timestamp) -> Fact<'_> {
    Fact { environment: "default", host: ip(HOST), key, at, via: Via::Packets }
}
