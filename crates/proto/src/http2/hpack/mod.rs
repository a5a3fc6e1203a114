//! HPACK (RFC 7541): header blocks of one direction into fields.
//!
//! Holds the dynamic table, at most `Limits::hpack_table_bytes`. A block is always decoded to its
//! end, so that the table stays in step with the peers'; fields beyond the limits of a head are
//! not kept. Where blocks were missed, fields that refer to them are left out.

mod huffman;
mod table;

#[cfg(test)]
mod tests;

use self::table::{Entry, Found, Name, Table};
use crate::Header;
use crate::cursor::Cursor;
use crate::http::fields::text;
use crate::limits::{Limits, length};

/// Why a block could not be decoded; nothing after it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Malformed,
    Limit,
}

/// The fields of one block.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) fields: Vec<Header>,
    bytes: usize,
    /// Some were beyond the limit and left out.
    pub(crate) over: bool,
}

impl Block {
    fn push(&mut self, name: &[u8], value: &[u8], limits: &Limits) {
        let bytes = self.bytes.saturating_add(name.len()).saturating_add(value.len());
        if self.fields.len() >= length(limits.headers) || bytes > length(limits.head_bytes) {
            self.over = true;
            return;
        }
        self.bytes = bytes;
        self.fields.push(Header { name: text(name).into(), value: text(value) });
    }
}

/// The decoder of one direction.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    table: Table,
}

impl Decoder {
    /// Blocks may have been missed.
    pub(crate) fn forget(&mut self, limits: &Limits) {
        self.table.forget(length(limits.hpack_table_bytes));
    }

    /// Were blocks missed?
    pub(crate) const fn is_incomplete(&self) -> bool {
        self.table.incomplete
    }

    /// RFC 7541 §3.2 and §6: decodes one whole block.
    pub(crate) fn decode(&mut self, block: &[u8], limits: &Limits) -> Result<Block, Failure> {
        let mut decoded = Block::default();
        self.decode_into(block, &mut decoded, limits)?;
        Ok(decoded)
    }

    /// The fields that are whole in a block of which the end is missing; the table is out of step
    /// afterwards.
    pub(crate) fn decode_cut(&mut self, block: &[u8], limits: &Limits) -> Vec<Header> {
        let mut decoded = Block::default();
        // It fails where the block is cut, if nowhere before.
        let _ = self.decode_into(block, &mut decoded, limits);
        decoded.fields
    }

    fn decode_into(
        &mut self,
        block: &[u8],
        decoded: &mut Block,
        limits: &Limits,
    ) -> Result<(), Failure> {
        let mut input = Cursor::new(block);
        let mut fields = 0_u32;
        while let Some(first) = input.u8() {
            match first {
                // §6.1: indexed field
                0x80.. => {
                    let index = integer(first, 7, &mut input)?;
                    match self.table.get(index) {
                        Found::Field(name, value) => decoded.push(name, value, limits),
                        Found::Unseen => {}
                        Found::Nothing => return Err(Failure::Malformed),
                    }
                }
                // §6.2.1: literal with incremental indexing
                0x40..=0x7f => {
                    let index = integer(first, 6, &mut input)?;
                    let entry = self.literal(index, &mut input)?;
                    if let Some(name) = &entry.name {
                        decoded.push(name.as_bytes(), &entry.value, limits);
                    }
                    self.table.insert(entry);
                }
                // §6.3: table size update, at the beginning of a block only (§4.2)
                0x20..=0x3f => {
                    let max = integer(first, 5, &mut input)?;
                    if fields > 0 {
                        return Err(Failure::Malformed);
                    }
                    if max > length(limits.hpack_table_bytes) {
                        return Err(Failure::Limit);
                    }
                    self.table.resize(max);
                    continue;
                }
                // §6.2.2, §6.2.3: literal without indexing, never indexed
                0x00..=0x1f => {
                    let index = integer(first, 4, &mut input)?;
                    let entry = self.literal(index, &mut input)?;
                    if let Some(name) = &entry.name {
                        decoded.push(name.as_bytes(), &entry.value, limits);
                    }
                }
            }
            fields = fields.saturating_add(1);
        }
        Ok(())
    }

    /// A literal's name, by index or in full, and its value.
    fn literal(&self, index: usize, input: &mut Cursor<'_>) -> Result<Entry, Failure> {
        let name = match index {
            0 => Some(Name::Shared(string(input)?.into())),
            index => self.table.name(index).map_err(|_| Failure::Malformed)?,
        };
        Ok(Entry { name, value: string(input)? })
    }
}

/// RFC 7541 §5.1: an integer with a prefix of that many bits. More than 28 bits are refused.
fn integer(first: u8, prefix_bits: u8, input: &mut Cursor<'_>) -> Result<usize, Failure> {
    let mask = (1_usize << prefix_bits) - 1;
    let mut value = usize::from(first) & mask;
    if value < mask {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = input.u8().ok_or(Failure::Malformed)?;
        value = value.saturating_add(usize::from(byte & 0x7f) << shift);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Failure::Malformed)
}

/// RFC 7541 §5.2.
fn string(input: &mut Cursor<'_>) -> Result<Vec<u8>, Failure> {
    let first = input.u8().ok_or(Failure::Malformed)?;
    let len = integer(first, 7, input)?;
    let bytes = input.take(len).ok_or(Failure::Malformed)?;
    if first & 0x80 == 0 {
        return Ok(bytes.to_vec());
    }
    huffman::decode(bytes).ok_or(Failure::Malformed)
}
