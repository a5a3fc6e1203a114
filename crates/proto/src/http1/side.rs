//! One direction of an HTTP/1 connection.

use super::body::Body;
use super::head::{Head, Role};
use super::line::{looks_like_request, may_become_status};

/// Where one direction stands.
pub(crate) struct Side {
    pub(crate) phase: Phase,
    /// Messages may have been missed, so that requests and responses no longer pair by count.
    pub(crate) lost: bool,
    /// No more bytes will come.
    pub(crate) closed: bool,
}

/// What the next bytes of a direction are.
pub(crate) enum Phase {
    /// A head, or the beginning of one.
    Head(Head),
    /// A body.
    Body(Box<Body>),
    /// Unknown: the next line that looks like the first of a message is taken for it. Set: the
    /// line that is under way is not to be looked at again.
    Resync(bool),
    /// To be told by the answer to a CONNECT or an Upgrade.
    Held(Held),
    /// An upgraded connection's, of that exchange.
    Upstream(u64),
    /// Not read any more.
    Done,
}

/// Bytes that wait for an answer, and how many were missing after them.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) exchange: u64,
    pub(crate) connect: bool,
    pub(crate) bytes: Vec<u8>,
    pub(crate) missing: u64,
}

impl Held {
    /// Holds `bytes`; false when that would be more than `limit`.
    pub(crate) fn hold(&mut self, bytes: &[u8], limit: usize) -> bool {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.missing > 0 {
            self.missing = self.missing.saturating_add(len);
        } else if self.bytes.len().saturating_add(bytes.len()) <= limit {
            self.bytes.extend_from_slice(bytes);
        } else {
            return false;
        }
        true
    }
}

impl Side {
    pub(crate) fn new(lost: bool) -> Self {
        let phase = if lost { Phase::Resync(false) } else { Phase::Head(Head::default()) };
        Self { phase, lost, closed: false }
    }

    /// The next message begins here.
    pub(crate) fn next_head(&mut self) {
        self.phase = Phase::Head(Head::default());
    }

    /// The next message seems to begin here, in the middle of a segment.
    pub(crate) fn next_doubtful_head(&mut self) {
        self.phase = Phase::Head(Head::doubtful());
    }

    /// Where messages begin is no longer known.
    pub(crate) fn lose(&mut self) {
        self.phase = Phase::Resync(false);
        self.lost = true;
    }
}

/// Drops `input` up to where a message seems to begin: at the start of a segment (which `input`
/// is, unless `skip_line`) or after a line end. Returns false when it begins nowhere.
pub(crate) fn resync(role: Role, skip_line: bool, input: &mut &[u8]) -> bool {
    let mut at_line_start = !skip_line;
    loop {
        if at_line_start && !input.is_empty() && looks_like_head(role, input) {
            return true;
        }
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
            *input = &[];
            return false;
        };
        *input = input.get(end.saturating_add(1)..).unwrap_or_default();
        at_line_start = true;
    }
}

fn looks_like_head(role: Role, start: &[u8]) -> bool {
    let start = start.get(..512).unwrap_or(start);
    match role {
        Role::Request => looks_like_request(start),
        Role::Response => may_become_status(start),
    }
}
