//! Static and dynamic table (RFC 7541 §2.3, Appendix A).

use std::collections::VecDeque;
use std::sync::Arc;

/// RFC 7541 Appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
/// RFC 7541 §4.1.
const ENTRY_OVERHEAD: usize = 32;
/// RFC 9113 §6.5.2, SETTINGS_HEADER_TABLE_SIZE.
const INITIAL_MAX: usize = 4096;

/// The table of one direction.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    size: usize,
    max: usize,
    /// Older entries than these may exist that were not seen to be made.
    pub(super) incomplete: bool,
}

/// A field of the dynamic table; `None` where it refers to an entry that was not seen.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: Option<Name>,
    pub(super) value: Vec<u8>,
}

/// A name. Shared, because two bytes of a block are enough to use the longest one again.
#[derive(Clone, Debug)]
pub(super) enum Name {
    Static(&'static str),
    Shared(Arc<[u8]>),
}

impl Name {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Static(name) => name.as_bytes(),
            Self::Shared(name) => name,
        }
    }
}

/// What an index refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'t> {
    Field(&'t [u8], &'t [u8]),
    /// An entry that is not known in full.
    Unseen,
    /// No such entry.
    Nothing,
}

/// No such entry can be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unknown;

impl Entry {
    fn size(&self) -> usize {
        let name = self.name.as_ref().map_or(0, |name| name.as_bytes().len());
        name.saturating_add(self.value.len()).saturating_add(ENTRY_OVERHEAD)
    }
}

impl Default for Table {
    fn default() -> Self {
        Self { entries: VecDeque::new(), size: 0, max: INITIAL_MAX, incomplete: false }
    }
}

impl Table {
    /// RFC 7541 §2.3.3.
    pub(super) fn get(&self, index: usize) -> Found<'_> {
        let Some(at) = index.checked_sub(1) else {
            return Found::Nothing;
        };
        if let Some((name, value)) = STATIC.get(at) {
            return Found::Field(name.as_bytes(), value.as_bytes());
        }
        match self.entries.get(at.saturating_sub(STATIC.len())) {
            Some(Entry { name: Some(name), value }) => Found::Field(name.as_bytes(), value),
            Some(_) => Found::Unseen,
            None if self.incomplete => Found::Unseen,
            None => Found::Nothing,
        }
    }

    /// The name of an entry; `None` where that is not known.
    pub(super) fn name(&self, index: usize) -> Result<Option<Name>, Unknown> {
        let at = index.checked_sub(1).ok_or(Unknown)?;
        if let Some((name, _)) = STATIC.get(at) {
            return Ok(Some(Name::Static(name)));
        }
        match self.entries.get(at.saturating_sub(STATIC.len())) {
            Some(Entry { name, .. }) => Ok(name.clone()),
            None if self.incomplete => Ok(None),
            None => Err(Unknown),
        }
    }

    /// RFC 7541 §4.4: an entry larger than the table empties it.
    pub(super) fn insert(&mut self, entry: Entry) {
        let size = entry.size();
        self.evict(self.max.saturating_sub(size));
        if size <= self.max {
            self.size = self.size.saturating_add(size);
            self.entries.push_front(entry);
        }
    }

    /// RFC 7541 §4.3.
    pub(super) fn resize(&mut self, max: usize) {
        self.max = max;
        self.evict(max);
    }

    /// Blocks were missed: what the entries' numbers are now is unknown. `max` is what the table
    /// may have grown to meanwhile.
    pub(super) fn forget(&mut self, max: usize) {
        *self = Self { max, incomplete: true, ..Self::default() };
    }

    fn evict(&mut self, max: usize) {
        while self.size > max
            && let Some(entry) = self.entries.pop_back()
        {
            self.size = self.size.saturating_sub(entry.size());
        }
    }
}
