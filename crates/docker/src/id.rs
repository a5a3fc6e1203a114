//! Identities that are the same in every run over the same traffic.

use sha2::{Digest, Sha256};
use tw_model::{BuildId, Endpoint, Timestamp};

/// What a [`BuildId`] is made of. Nothing in it depends on how packets were captured or wrapped;
/// time is cut to microseconds because not every capture format keeps more.
pub(crate) struct BuildIdentity<'i> {
    pub(crate) kind: &'i str,
    pub(crate) daemon: Endpoint,
    pub(crate) client: Endpoint,
    pub(crate) started: Timestamp,
    pub(crate) exchange: u64,
}

impl BuildIdentity<'_> {
    /// `build-` and 16 hex digits.
    pub(crate) fn id(&self) -> BuildId {
        let micros = self.started.as_nanos().div_euclid(1_000);
        let text =
            format!("{}\0{}\0{}\0{micros}\0{}", self.kind, self.daemon, self.client, self.exchange);
        let digest = Sha256::digest(text.as_bytes());
        let mut id = String::from("build-");
        push_hex(&mut id, digest.iter().take(8).copied());
        BuildId(id)
    }
}

/// Lower-case hex.
pub(crate) fn push_hex(text: &mut String, bytes: impl Iterator<Item = u8>) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_ignores_nanoseconds_and_nothing_else() {
        let endpoint = |port| Endpoint::new([10, 0, 0, 1].into(), port);
        let id = |kind, client, nanos, exchange| {
            let started = Timestamp::from_nanos(nanos);
            let (daemon, client) = (endpoint(2375), endpoint(client));
            BuildIdentity { kind, daemon, client, started, exchange }.id()
        };
        let one = id("build", 40_000, 5_000_999, 0);
        assert_eq!(one.0.len(), 22);
        assert_eq!(one, id("build", 40_000, 5_000_000, 0));
        for other in [
            id("load", 40_000, 5_000_999, 0),
            id("build", 40_001, 5_000_999, 0),
            id("build", 40_000, 5_001_000, 0),
            id("build", 40_000, 5_000_999, 1),
        ] {
            assert_ne!(one, other);
        }
    }
}
