//! What is printed in the place of a secret.

use sha2::{Digest, Sha256};

/// Whether secrets are kept as they are. Only `replay`'s text output on a terminal asks for
/// [`Secrets::Keep`]; everything else redacts where the bytes are first read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secrets {
    /// Replace each secret with [`redacted`].
    #[default]
    Redact,
    /// Keep each secret.
    Keep,
}

/// `<redacted:1a2b3c4d>`: the first 8 hex digits of the SHA-256, so that equal secrets can be told
/// to be equal.
#[must_use]
pub fn redacted(secret: &[u8]) -> String {
    let digest = Sha256::digest(secret);
    let mut text = String::from("<redacted:");
    for byte in digest.iter().take(4) {
        text.push_str(&format!("{byte:02x}"));
    }
    text.push('>');
    text
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn equal_secrets_look_equal_and_show_nothing() {
        assert_eq!(redacted(b"hunter2"), "<redacted:f52fbd32>");
        assert_eq!(redacted(b"hunter2"), redacted(b"hunter2"));
        assert_ne!(redacted(b"hunter2"), redacted(b"hunter3"));
    }
}
