//! Keys as they are stored: an axis and a few bytes.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use tw_detect::Key;

/// Longest stored key. Longer names, paths and digests are refused and counted: they cannot be
/// remembered, so they stay new.
pub(crate) const MAX_KEY_BYTES: usize = 512;

/// First byte of a digest kept as its 32 bytes, and of any other.
const SHA256: u8 = 1;
const OTHER_DIGEST: u8 = 0;

/// What kind of thing a key is. The order is the one in listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeenAxis {
    /// Destination address.
    Address,
    /// Destination name.
    Name,
    /// A name and an address that DNS gave it.
    NameAddress,
    /// Caller of a Docker API.
    Caller,
    /// Caller that built there.
    Builder,
    /// Registry.
    Registry,
    /// Repository in a registry.
    Repository,
    /// Image or manifest digest.
    Digest,
    /// First two path segments on a multi-tenant name.
    Tenant,
}

impl SeenAxis {
    /// All axes, in order.
    pub const ALL: [Self; 9] = [
        Self::Address,
        Self::Name,
        Self::NameAddress,
        Self::Caller,
        Self::Builder,
        Self::Registry,
        Self::Repository,
        Self::Digest,
        Self::Tenant,
    ];

    /// The axis of a key.
    #[must_use]
    pub const fn of(key: Key<'_>) -> Self {
        match key {
            Key::Address(_) => Self::Address,
            Key::Name(_) => Self::Name,
            Key::NameAddress(..) => Self::NameAddress,
            Key::Caller { .. } => Self::Caller,
            Key::Builder { .. } => Self::Builder,
            Key::Registry(_) => Self::Registry,
            Key::Repository(_) => Self::Repository,
            Key::Digest(_) => Self::Digest,
            Key::Tenant(_) => Self::Tenant,
        }
    }

    /// The number used on disk.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Address => 1,
            Self::Name => 2,
            Self::NameAddress => 3,
            Self::Caller => 4,
            Self::Builder => 5,
            Self::Registry => 6,
            Self::Repository => 7,
            Self::Digest => 8,
            Self::Tenant => 9,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|axis| axis.code() == code)
    }

    /// The word used in listings, exports and in the texts that name a key.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Name => "name",
            Self::NameAddress => "name-address",
            Self::Caller => "caller",
            Self::Builder => "builder",
            Self::Registry => "registry",
            Self::Repository => "repository",
            Self::Digest => "digest",
            Self::Tenant => "tenant",
        }
    }

    /// What its values look like, for a person who mistyped one.
    const fn form(self) -> &'static str {
        match self {
            Self::Address => "an IP address",
            Self::Name => "a host name",
            Self::NameAddress => "NAME ADDRESS",
            Self::Caller | Self::Builder => "the address of the client and that of the daemon",
            Self::Registry => "HOST:PORT",
            Self::Repository => "HOST:PORT/REPOSITORY",
            Self::Digest => "ALGORITHM:HEX",
            Self::Tenant => "HOST/PATH",
        }
    }

    /// Whether each host's own history is kept beside the environment's. Callers and builders carry
    /// their host in the key, and what DNS says is the same for all.
    #[must_use]
    pub const fn has_hosts(self) -> bool {
        !matches!(self, Self::NameAddress | Self::Caller | Self::Builder)
    }
}

impl fmt::Display for SeenAxis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a text names no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing there.
    #[error("empty key")]
    Empty,
    /// Longer than what is stored.
    #[error("key longer than {MAX_KEY_BYTES} bytes")]
    TooLong,
    /// Not of the form that its axis asks for.
    #[error("not a valid {axis}: {text:?} (expected {})", axis.form())]
    Malformed {
        /// The axis, given or guessed.
        axis: SeenAxis,
        /// The text.
        text: String,
    },
}

/// A key of its own: what a list, a query or an export names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredKey {
    pub(crate) axis: SeenAxis,
    pub(crate) bytes: Box<[u8]>,
}

impl StoredKey {
    /// The kind of thing.
    #[must_use]
    pub const fn axis(&self) -> SeenAxis {
        self.axis
    }

    /// What stands after the axis in its text form.
    #[must_use]
    pub fn value(&self) -> String {
        decode(self.axis, &self.bytes)
    }
}

impl TryFrom<Key<'_>> for StoredKey {
    type Error = KeyError;

    fn try_from(key: Key<'_>) -> Result<Self, KeyError> {
        let mut bytes = Vec::new();
        encode(key, &mut bytes)?;
        let axis = SeenAxis::of(key);
        Ok(Self { axis, bytes: bytes.into_boxed_slice() })
    }
}

/// `address 192.0.2.1`, `registry ghcr.io:443`: what [`std::str::FromStr`] reads.
impl fmt::Display for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.axis, self.value())
    }
}

/// Writes a key's bytes into `out`, emptied first.
pub(crate) fn encode(key: Key<'_>, out: &mut Vec<u8>) -> Result<(), KeyError> {
    out.clear();
    match key {
        Key::Address(address) => push_address(out, address),
        Key::Name(name) => push_lower(out, name.trim_end_matches('.'))?,
        Key::NameAddress(name, address) => {
            push_address(out, address);
            push_lower(out, name.trim_end_matches('.'))?;
        }
        Key::Caller { client, daemon } | Key::Builder { client, daemon } => {
            push_address(out, client);
            push_address(out, daemon);
        }
        Key::Registry(registry) => push_lower(out, registry)?,
        Key::Repository(path) | Key::Tenant(path) => push_host_lower(out, path)?,
        Key::Digest(digest) => push_digest(out, digest)?,
    }
    if out.len() > MAX_KEY_BYTES { Err(KeyError::TooLong) } else { Ok(()) }
}

/// An IPv4 address as its mapped IPv6 address, so that both spellings are one key.
pub(crate) fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    let octets = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    out.extend_from_slice(&octets);
}

fn push_lower(out: &mut Vec<u8>, text: &str) -> Result<(), KeyError> {
    if text.is_empty() {
        return Err(KeyError::Empty);
    }
    if text.len() > MAX_KEY_BYTES {
        return Err(KeyError::TooLong);
    }
    out.extend(text.bytes().map(|byte| byte.to_ascii_lowercase()));
    Ok(())
}

/// Only the host is without case, the path after it is not.
fn push_host_lower(out: &mut Vec<u8>, text: &str) -> Result<(), KeyError> {
    let Some((host, path)) = text.split_once('/') else { return push_lower(out, text) };
    push_lower(out, host)?;
    if path.len() > MAX_KEY_BYTES {
        return Err(KeyError::TooLong);
    }
    out.push(b'/');
    out.extend_from_slice(path.as_bytes());
    Ok(())
}

fn push_digest(out: &mut Vec<u8>, digest: &str) -> Result<(), KeyError> {
    match digest.strip_prefix("sha256:").and_then(unhex) {
        Some(hash) => {
            out.push(SHA256);
            out.extend_from_slice(&hash);
            Ok(())
        }
        None => {
            out.push(OTHER_DIGEST);
            push_lower(out, digest)
        }
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        for &digit in pair {
            let value =
                char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())?;
            *byte = (*byte << 4) | value;
        }
    }
    Some(hash)
}

/// The text of stored bytes. Bytes that no key has are shown as far as they go.
fn decode(axis: SeenAxis, bytes: &[u8]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match axis {
        SeenAxis::Address => address(bytes).0,
        SeenAxis::NameAddress => {
            let (address, name) = address(bytes);
            format!("{} {address}", text(name))
        }
        SeenAxis::Caller | SeenAxis::Builder => {
            let (client, rest) = address(bytes);
            format!("{client} {}", address(rest).0)
        }
        SeenAxis::Digest => match bytes.split_first() {
            Some((&SHA256, hash)) => {
                hash.iter().fold("sha256:".to_owned(), |all, byte| format!("{all}{byte:02x}"))
            }
            Some((_, other)) => text(other),
            None => String::new(),
        },
        SeenAxis::Name | SeenAxis::Registry | SeenAxis::Repository | SeenAxis::Tenant => {
            text(bytes)
        }
    }
}

fn address(bytes: &[u8]) -> (String, &[u8]) {
    match bytes.split_first_chunk::<16>() {
        Some((octets, rest)) => (from_octets(*octets).to_string(), rest),
        None => ("?".to_owned(), &[]),
    }
}

/// The reverse of [`push_address`].
pub(crate) fn from_octets(octets: [u8; 16]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
}
