//! TLS secrets by client random, as the NSS key log format has them.
//!
//! In go lines, tolerantly read; out come the secrets of a connection. Labels that passive
//! decryption does not need are passed over. Nothing here prints or formats a secret.

use std::collections::HashMap;
use std::fmt;

/// `Random` of a `ClientHello` (RFC 8446 §4.1.2): what key log lines go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientRandom(pub [u8; 32]);

/// A secret: 48 bytes at most in all that is read here. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Box<[u8]>);

impl Secret {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    pub(crate) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The secrets of one connection, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionSecrets {
    /// TLS 1.2 and before: the master secret.
    pub(crate) master: Option<Secret>,
    pub(crate) client_early: Option<Secret>,
    pub(crate) client_handshake: Option<Secret>,
    pub(crate) server_handshake: Option<Secret>,
    pub(crate) client_application: Option<Secret>,
    pub(crate) server_application: Option<Secret>,
}

impl SessionSecrets {
    /// Is there all that a connection needs? A key log that is being written may hold a part.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        let handshake = self.client_handshake.is_some() && self.server_handshake.is_some();
        let application = self.client_application.is_some() && self.server_application.is_some();
        self.master.is_some() || handshake && application
    }

    fn slot(&mut self, label: &[u8]) -> Option<&mut Option<Secret>> {
        Some(match label {
            b"CLIENT_RANDOM" => &mut self.master,
            b"CLIENT_EARLY_TRAFFIC_SECRET" => &mut self.client_early,
            b"CLIENT_HANDSHAKE_TRAFFIC_SECRET" => &mut self.client_handshake,
            b"SERVER_HANDSHAKE_TRAFFIC_SECRET" => &mut self.server_handshake,
            b"CLIENT_TRAFFIC_SECRET_0" => &mut self.client_application,
            b"SERVER_TRAFFIC_SECRET_0" => &mut self.server_application,
            _ => return None,
        })
    }
}

/// Connections whose secrets are kept, unless told otherwise.
const SESSIONS: usize = 1 << 18;
/// Longest line that is looked at.
const LINE_BYTES: usize = 512;

/// A table of secrets that grows as lines come.
#[derive(Clone)]
pub struct KeyLog {
    sessions: HashMap<ClientRandom, SessionSecrets>,
    limit: usize,
    counters: KeyLogCounters,
}

/// What a [`KeyLog`] counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyLogCounters {
    /// Secrets taken in.
    pub secrets: u64,
    /// Lines that are no key log lines; comments, empty lines and labels that are not needed do not count.
    pub malformed: u64,
    /// Secrets that there was no room for.
    pub refused: u64,
}

impl Default for KeyLog {
    fn default() -> Self {
        Self::with_limit(SESSIONS)
    }
}

impl fmt::Debug for KeyLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLog").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl KeyLog {
    /// An empty table for the secrets of at most so many connections.
    #[must_use]
    pub fn with_limit(sessions: usize) -> Self {
        Self { sessions: HashMap::new(), limit: sessions, counters: KeyLogCounters::default() }
    }

    /// Takes in whole lines of a key log: `LABEL CLIENT_RANDOM SECRET`, the latter two in
    /// hexadecimal ("The SSLKEYLOGFILE Format for TLS", draft-ietf-tls-keylogfile §2). The first
    /// secret of a kind stays.
    pub fn push(&mut self, lines: &[u8]) {
        for line in lines.split(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            if line.len() > LINE_BYTES || self.line(line).is_none() {
                self.counters.malformed = self.counters.malformed.saturating_add(1);
            }
        }
    }

    /// Secrets of the connection whose `ClientHello` has that random.
    #[must_use]
    pub fn find(&self, random: &ClientRandom) -> Option<&SessionSecrets> {
        self.sessions.get(random)
    }

    /// Are there no secrets at all?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> KeyLogCounters {
        self.counters
    }

    fn line(&mut self, line: &[u8]) -> Option<()> {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let (label, random, secret) = (words.next()?, words.next()?, words.next()?);
        let is_label =
            |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
        if words.next().is_some() || !label.iter().all(is_label) {
            return None;
        }
        if SessionSecrets::default().slot(label).is_none() {
            return Some(());
        }
        let random = ClientRandom(hex(random)?.try_into().ok()?);
        let secret = hex(secret).filter(|secret| matches!(secret.len(), 32 | 48))?;
        if self.sessions.len() >= self.limit && !self.sessions.contains_key(&random) {
            self.counters.refused = self.counters.refused.saturating_add(1);
            return Some(());
        }
        let slot = self.sessions.entry(random).or_default().slot(label)?;
        if slot.is_none() {
            *slot = Some(Secret::new(&secret));
            self.counters.secrets = self.counters.secrets.saturating_add(1);
        }
        Some(())
    }
}

fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.chunks_exact(2)
        .map(|pair| match *pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(label: &str, random: u8, secret: u8, len: usize) -> String {
        format!(
            "{label} {} {}\n",
            format!("{random:02x}").repeat(32),
            format!("{secret:02X}").repeat(len)
        )
    }

    #[test]
    fn lines_become_secrets_whatever_stands_between_them() {
        let mut log = KeyLog::default();
        log.push(b"# a comment\r\n\r\n\0");
        log.push(line("CLIENT_RANDOM", 1, 0xaa, 48).replace('\n', "\r\n").as_bytes());
        log.push(line("  SERVER_TRAFFIC_SECRET_0", 2, 0xbb, 32).as_bytes());
        log.push(line("EXPORTER_SECRET", 2, 0xcc, 32).as_bytes());
        let secrets = log.find(&ClientRandom([1; 32])).unwrap();
        assert_eq!(secrets.master.as_ref().unwrap().as_bytes(), [0xaa; 48]);
        assert!(secrets.is_complete());
        let secrets = log.find(&ClientRandom([2; 32])).unwrap();
        assert_eq!(secrets.server_application.as_ref().unwrap().as_bytes(), [0xbb; 32]);
        assert!(!secrets.is_complete());
        assert_eq!(log.counters(), KeyLogCounters { secrets: 2, ..KeyLogCounters::default() });
    }

    #[test]
    fn what_is_no_line_is_counted() {
        let mut log = KeyLog::default();
        for text in ["CLIENT_RANDOM", "CLIENT_RANDOM 00 00", "client random x", "\u{fffd} a b"] {
            log.push(text.as_bytes());
        }
        log.push(line("CLIENT_RANDOM", 1, 2, 47).as_bytes());
        log.push(format!("CLIENT_RANDOM {}", "0".repeat(1000)).as_bytes());
        assert_eq!(log.counters().malformed, 6);
        assert!(log.is_empty());
    }

    #[test]
    fn a_full_table_refuses_and_counts() {
        let mut log = KeyLog::with_limit(1);
        log.push(line("CLIENT_RANDOM", 1, 2, 48).as_bytes());
        log.push(line("CLIENT_RANDOM", 2, 2, 48).as_bytes());
        log.push(line("CLIENT_EARLY_TRAFFIC_SECRET", 1, 2, 48).as_bytes());
        assert_eq!((log.counters().secrets, log.counters().refused), (2, 1));
    }

    #[test]
    fn nothing_that_is_printed_holds_a_secret() {
        let mut log = KeyLog::default();
        log.push(line("CLIENT_RANDOM", 1, 0xab, 48).as_bytes());
        let text = format!("{log:?} {:?}", log.find(&ClientRandom([1; 32])));
        assert!(!text.contains("171") && !text.to_lowercase().contains("abab"), "{text}");
    }
}
