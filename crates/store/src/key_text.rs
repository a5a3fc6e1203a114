//! Keys as a person writes them: `192.0.2.1`, `example.org`, `registry ghcr.io:443`, `sha256:…`.

use std::net::IpAddr;
use std::str::FromStr;

use tw_detect::Key;

use crate::key::{KeyError, SeenAxis, StoredKey};

/// `AXIS VALUE` as [`StoredKey`] prints it. The axis may be left out before an address, a name, a
/// registry and a digest, which tell themselves.
impl FromStr for StoredKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let named = SeenAxis::ALL.into_iter().find(|axis| axis.as_str() == word);
        match named {
            Some(axis) if !rest.is_empty() => Self::parse(axis, rest.trim()),
            _ if text.is_empty() => Err(KeyError::Empty),
            _ => Self::parse(guess(text), text),
        }
    }
}

impl StoredKey {
    /// The key of a given axis that a person wrote.
    ///
    /// # Errors
    /// When the text is not of that axis' form.
    pub fn parse(axis: SeenAxis, text: &str) -> Result<Self, KeyError> {
        let clean = !text.chars().any(char::is_control);
        if clean && is_well_formed(axis, text) {
            Self::from_value(axis, text)
        } else {
            Err(malformed(axis, text))
        }
    }

    /// The key whose [`StoredKey::value`] this is. The network gives stranger names than a person
    /// may write, and an export must bring them back.
    pub(crate) fn from_value(axis: SeenAxis, text: &str) -> Result<Self, KeyError> {
        let address = |text: &str| text.parse::<IpAddr>().map_err(|_| malformed(axis, text));
        let pair = || text.rsplit_once(' ').ok_or_else(|| malformed(axis, text));
        let key = match axis {
            SeenAxis::Address => Key::Address(address(text)?),
            SeenAxis::Name => Key::Name(text),
            SeenAxis::NameAddress => {
                let (name, mapped) = pair()?;
                Key::NameAddress(name, address(mapped)?)
            }
            SeenAxis::Caller => {
                let (client, daemon) = pair()?;
                Key::Caller { client: address(client)?, daemon: address(daemon)? }
            }
            SeenAxis::Builder => {
                let (client, daemon) = pair()?;
                Key::Builder { client: address(client)?, daemon: address(daemon)? }
            }
            SeenAxis::Registry => Key::Registry(text),
            SeenAxis::Repository => Key::Repository(text),
            SeenAxis::Digest => Key::Digest(text),
            SeenAxis::Tenant => Key::Tenant(text),
        };
        Self::try_from(key)
    }
}

fn malformed(axis: SeenAxis, text: &str) -> KeyError {
    KeyError::Malformed { axis, text: text.chars().take(100).collect() }
}

/// Addresses are judged by [`StoredKey::from_value`].
fn is_well_formed(axis: SeenAxis, text: &str) -> bool {
    let path_of = |is_host: fn(&str) -> bool| {
        text.split_once('/').is_some_and(|(host, path)| is_host(host) && !path.is_empty())
    };
    let one_word = !text.contains(char::is_whitespace);
    match axis {
        SeenAxis::Address | SeenAxis::Caller | SeenAxis::Builder => true,
        SeenAxis::Name => is_name(text),
        SeenAxis::NameAddress => text.split_once(' ').is_some_and(|(name, _)| is_name(name)),
        SeenAxis::Registry => is_host_port(text),
        SeenAxis::Repository => one_word && path_of(is_host_port),
        SeenAxis::Digest => is_digest(text),
        SeenAxis::Tenant => one_word && path_of(is_name),
    }
}

fn guess(text: &str) -> SeenAxis {
    if text.parse::<IpAddr>().is_ok() {
        SeenAxis::Address
    } else if is_digest(text) {
        SeenAxis::Digest
    } else if is_host_port(text) {
        SeenAxis::Registry
    } else {
        SeenAxis::Name
    }
}

/// What DNS and TLS carry as names, underscores included; an address is none.
fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    text.len() <= 253 && text.split('.').all(label) && text.parse::<IpAddr>().is_err()
}

fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    port.parse::<u16>().is_ok() && (is_name(host) || bare.parse::<IpAddr>().is_ok())
}

/// OCI Image Format Specification, "Digests": `algorithm:encoded`.
fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, encoded)| {
        algorithm.starts_with("sha")
            && encoded.len() >= 32
            && encoded.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ip;

    fn text(text: &str) -> Result<String, KeyError> {
        text.parse::<StoredKey>().map(|key| key.to_string())
    }

    #[test]
    fn every_axis_reads_what_it_prints() {
        let digest = format!("digest sha256:{}", "0a".repeat(32));
        let other = format!("digest sha512:{}", "0b".repeat(64));
        for line in [
            "address 192.0.2.1",
            "address 2001:db8::1",
            "name example.org",
            "name-address example.org 192.0.2.1",
            "caller 10.0.0.9 10.0.0.5",
            "builder 2001:db8::9 10.0.0.5",
            "registry ghcr.io:443",
            "registry [2001:db8::1]:5000",
            "repository ghcr.io:443/Owner/image",
            "tenant github.com/Owner/repo",
            digest.as_str(),
            other.as_str(),
        ] {
            assert_eq!(text(line).as_deref(), Ok(line));
        }
    }

    #[test]
    fn addresses_names_registries_and_digests_tell_themselves() {
        assert_eq!(text("ghcr.io:443").as_deref(), Ok("registry ghcr.io:443"));
        assert_eq!(text(" 192.0.2.1 ").as_deref(), Ok("address 192.0.2.1"));
        assert_eq!(text("::ffff:192.0.2.1").as_deref(), Ok("address 192.0.2.1"));
        assert_eq!(text("Example.ORG.").as_deref(), Ok("name example.org"));
        let digest = format!("sha256:{}", "Ab".repeat(32));
        assert_eq!(text(&digest), Ok(format!("digest sha256:{}", "ab".repeat(32))));
    }

    #[test]
    fn other_texts_are_refused() {
        assert_eq!(text("  "), Err(KeyError::Empty));
        for line in [
            "registry ghcr.io",
            "registry ghcr.io:99999",
            "repository ghcr.io:443",
            "address example.org",
            "name 192.0.2.1",
            "name a b",
            "caller 10.0.0.9",
            "name-address example.org",
            "tenant github.com",
            "digest sha256:xyz",
            "exa\u{7}mple.org",
        ] {
            assert!(matches!(text(line), Err(KeyError::Malformed { .. })), "{line}");
        }
        let long = format!("repository ghcr.io:443/{}", "a".repeat(600));
        assert_eq!(text(&long), Err(KeyError::TooLong));
    }

    #[test]
    fn case_counts_in_paths_only() {
        let key = |text: &str| StoredKey::try_from(Key::Tenant(text)).unwrap();
        assert_eq!(key("GitHub.com/Owner/x"), key("github.com/Owner/x"));
        assert_ne!(key("github.com/Owner/x"), key("github.com/owner/x"));
        let mapped = StoredKey::try_from(Key::Address(ip("::ffff:10.0.0.1"))).unwrap();
        assert_eq!(mapped, StoredKey::try_from(Key::Address(ip("10.0.0.1"))).unwrap());
    }
}
