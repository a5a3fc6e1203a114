//! Templates: how the octets of a data record fall into elements.

use tw_model::Timestamp;

use crate::cursor::Cursor;
use crate::element::Slot;
use crate::values::Values;

/// One field of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) element: u16,
    pub(crate) enterprise: u32,
    pub(crate) len: u16,
    /// Scopes of v9 have numbers of their own (RFC 3954 §6.1); those of IPFIX are elements.
    pub(crate) is_v9_scope: bool,
}

/// Marks a field whose length stands in the record (RFC 7011 §7).
const VARIABLE: u16 = 65_535;

/// A field that matters, at a place that is the same in every record.
#[derive(Clone, Copy, Debug)]
struct Pick {
    slot: Slot,
    offset: usize,
    len: usize,
}

/// What a data set's records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Flow records.
    Flow,
    /// Options: what the exporter says of itself.
    Options,
}

/// One template.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) kind: Kind,
    pub(crate) seen: Timestamp,
    pub(crate) fields: Box<[Field]>,
    picks: Box<[Pick]>,
    /// Octets of a record; with fields of variable length, of the shortest.
    min_len: usize,
    variable: bool,
}

/// Which of the two encodings of templates is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// RFC 3954: 16-bit types, lengths of option parts in octets.
    V9,
    /// RFC 7011: enterprise bit, variable length, numbers of fields.
    Ipfix,
}

/// What one template record says.
pub(crate) enum Announced {
    /// A template.
    Template(u16, Template),
    /// The template of that id, or all of the set's kind where the id is the set's own, are gone
    /// (RFC 7011 §8.1).
    Withdrawn(u16),
    /// More fields than the limit, or records without any octet.
    Refused,
}

impl Template {
    pub(crate) fn new(kind: Kind, fields: Vec<Field>, seen: Timestamp) -> Option<Self> {
        let mut picks = Vec::new();
        let mut offset = 0;
        let variable = fields.iter().any(|field| field.len == VARIABLE);
        for field in &fields {
            let len = usize::from(if field.len == VARIABLE { 1 } else { field.len });
            if let Some(slot) = field.slot().filter(|_| !variable) {
                picks.push(Pick { slot, offset, len });
            }
            offset += len;
        }
        (offset > 0).then(|| Self {
            kind,
            seen,
            fields: fields.into(),
            picks: picks.into(),
            min_len: offset,
            variable,
        })
    }

    /// How many fields it has: what it costs to keep.
    pub(crate) const fn cost(&self) -> usize {
        self.fields.len()
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.fields == other.fields
    }

    /// Reads the next record of a data set; nothing where only padding is left.
    pub(crate) fn record(&self, set: &mut Cursor<'_>, values: &mut Values) -> Option<()> {
        if set.len() < self.min_len {
            return None;
        }
        values.clear();
        if self.variable {
            return self.walk(set, values);
        }
        let record = set.take(self.min_len)?;
        for pick in &self.picks {
            values.set(pick.slot, record.get(pick.offset..pick.offset + pick.len)?);
        }
        Some(())
    }

    fn walk(&self, set: &mut Cursor<'_>, values: &mut Values) -> Option<()> {
        for field in &self.fields {
            let len = if field.len == VARIABLE { variable_len(set)? } else { field.len.into() };
            let bytes = set.take(len)?;
            if let Some(slot) = field.slot() {
                values.set(slot, bytes);
            }
        }
        Some(())
    }
}

impl Field {
    /// The element's slot, if it matters.
    const fn slot(&self) -> Option<Slot> {
        if self.is_v9_scope { None } else { Slot::of(self.element, self.enterprise) }
    }
}

/// RFC 7011 §7: one octet, or 255 and two.
fn variable_len(set: &mut Cursor<'_>) -> Option<usize> {
    match set.u8()? {
        255 => set.u16().map(usize::from),
        len => Some(len.into()),
    }
}

/// Templates of a set (RFC 3954 §5.2, RFC 7011 §3.4.1); stops at the first that is cut off.
pub(crate) fn templates(
    set: &mut Cursor<'_>,
    dialect: Dialect,
    limit: usize,
    at: Timestamp,
) -> Option<Announced> {
    let (id, count) = (set.u16()?, usize::from(set.u16()?));
    if count == 0 && dialect == Dialect::Ipfix && id > 1 {
        return Some(Announced::Withdrawn(id));
    }
    if id < 256 {
        return None;
    }
    let fields = fields(set, dialect, count, 0, limit)?;
    Some(announced(id, Kind::Flow, fields, at))
}

/// Options templates of a set (RFC 3954 §6.1, RFC 7011 §3.4.2.2).
pub(crate) fn options_templates(
    set: &mut Cursor<'_>,
    dialect: Dialect,
    limit: usize,
    at: Timestamp,
) -> Option<Announced> {
    let (id, a) = (set.u16()?, usize::from(set.u16()?));
    if a == 0 && dialect == Dialect::Ipfix && id > 1 {
        return Some(Announced::Withdrawn(id));
    }
    let b = usize::from(set.u16()?);
    if id < 256 {
        return None;
    }
    let (count, scopes) = match dialect {
        Dialect::V9 => (a / 4 + b / 4, a / 4),
        Dialect::Ipfix => (a, 0),
    };
    let fields = fields(set, dialect, count, scopes, limit)?;
    Some(announced(id, Kind::Options, fields, at))
}

fn announced(id: u16, kind: Kind, fields: Vec<Field>, at: Timestamp) -> Announced {
    Template::new(kind, fields, at).map_or(Announced::Refused, |t| Announced::Template(id, t))
}

/// Field specifiers; more than the limit are read over, and none is kept.
fn fields(
    set: &mut Cursor<'_>,
    dialect: Dialect,
    count: usize,
    scopes: usize,
    limit: usize,
) -> Option<Vec<Field>> {
    let mut fields = Vec::with_capacity(count.min(limit).min(set.len() / 4));
    for index in 0..count {
        let (element, len) = (set.u16()?, set.u16()?);
        let (element, enterprise) = match dialect {
            Dialect::Ipfix if element & 0x8000 != 0 => (element & 0x7fff, set.u32()?),
            _ => (element, 0),
        };
        if count <= limit {
            fields.push(Field { element, enterprise, len, is_v9_scope: index < scopes });
        }
    }
    Some(fields)
}
