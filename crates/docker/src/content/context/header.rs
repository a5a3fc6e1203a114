//! Tar headers: ustar and pax (POSIX.1-2017 XCU `pax`), GNU, and the old V7 form.
//!
//! What is accepted, and which of several sizes and names wins, follows Go's `archive/tar`, because
//! Docker and Podman read the context with it: a reader that disagrees can be shown another
//! Dockerfile than the daemon sees.

/// Everything in a tar is a multiple of this.
pub(super) const BLOCK_BYTES: usize = 512;

/// One header block, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) size: i64,
    pub(super) mode: i64,
    pub(super) type_flag: u8,
    pub(super) is_gnu: bool,
    /// An old GNU sparse header that goes on in further blocks.
    pub(super) is_extended: bool,
}

/// The records of a pax extended header that change where bytes go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<i64>,
    pub(super) sparse_name: Option<Vec<u8>>,
    pub(super) is_sparse: bool,
}

/// Is it a header, or the block of zeros that ends an archive?
pub(super) fn is_block(block: &[u8]) -> bool {
    is_zero(block) || Header::read(block).is_some()
}

pub(super) fn is_zero(block: &[u8]) -> bool {
    block.len() == BLOCK_BYTES && block.iter().all(|byte| *byte == 0)
}

impl Header {
    /// `None` where the checksum or a number is wrong.
    pub(super) fn read(block: &[u8]) -> Option<Self> {
        if block.len() != BLOCK_BYTES || !checksum_is_right(block) {
            return None;
        }
        let magic = block.get(257..265)?;
        let is_ustar = magic.starts_with(b"ustar\0");
        let is_gnu = magic == b"ustar  \0";
        let size = number(block.get(124..136)?)?;
        let mode = number(block.get(100..108)?)?;
        for field in [108..116, 116..124, 136..148] {
            number(block.get(field)?)?;
        }
        if is_ustar || is_gnu {
            number(block.get(329..337)?)?;
            number(block.get(337..345)?)?;
        }
        let mut name = text(block.get(..100)?).to_vec();
        let is_star = is_ustar && block.get(508..512)? == b"tar\0";
        let prefix = text(block.get(345..if is_star { 476 } else { 500 })?);
        let has_prefix = is_ustar || (is_gnu && has_wrong_times(block) && prefix.is_ascii());
        if has_prefix && !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        Some(Self {
            name,
            link: text(block.get(157..257)?).to_vec(),
            size,
            mode,
            type_flag: *block.get(156)?,
            is_gnu,
            is_extended: block.get(482)? & 1 == 1,
        })
    }
}

/// Where GNU headers have an access and a change time, Go's old writer put a path prefix, and Go's
/// reader takes it for one when it cannot be read as times.
fn has_wrong_times(block: &[u8]) -> bool {
    [345..357, 357..369]
        .into_iter()
        .filter_map(|field| block.get(field))
        .any(|field| field.first() != Some(&0) && number(field).is_none())
}

/// Sum of all bytes with the field itself as blanks; old writers summed signed bytes.
fn checksum_is_right(block: &[u8]) -> bool {
    let Some(written) = block.get(148..156).and_then(octal) else { return false };
    let byte = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { b' ' } else { *byte };
    let unsigned: i64 = block.iter().enumerate().map(byte).map(i64::from).sum();
    let signed: i64 = block.iter().enumerate().map(byte).map(|b| i64::from(b.cast_signed())).sum();
    written == unsigned || written == signed
}

/// A number in octal, or in base 256 where the first bit is set (GNU).
fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 == 0 {
        return octal(field);
    }
    let negative = first & 0x40 != 0;
    let flip = if negative { 0xff } else { 0 };
    let mut value = 0_u64;
    for (index, byte) in field.iter().enumerate() {
        let mut byte = byte ^ flip;
        if index == 0 {
            byte &= 0x7f;
        }
        if value >> 56 != 0 {
            return None;
        }
        value = (value << 8) | u64::from(byte);
    }
    let value = i64::try_from(value).ok()?;
    Some(if negative { !value } else { value })
}

fn octal(field: &[u8]) -> Option<i64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let end = field.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    let digits = text(field.get(start..end)?);
    if digits.is_empty() {
        return Some(0);
    }
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    i64::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

/// Up to the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    field.get(..end).unwrap_or(field)
}

impl Pax {
    /// `length key=value\n` records. `None` where one is malformed, which ends the archive.
    pub(super) fn read(mut records: &[u8]) -> Option<Self> {
        let mut pax = Self::default();
        while !records.is_empty() {
            let space = records.iter().position(|byte| *byte == b' ')?;
            let digits = std::str::from_utf8(records.get(..space)?).ok()?;
            if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let length: usize = digits.parse().ok()?;
            let record = records.get(space + 1..length)?;
            let (b'\n', record) = record.split_last()? else { return None };
            let equals = record.iter().position(|byte| *byte == b'=')?;
            pax.record(record.get(..equals)?, record.get(equals + 1..)?)?;
            records = records.get(length..)?;
        }
        Some(pax)
    }

    /// An empty value means that the header's own counts.
    fn record(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let named = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname");
        if key.is_empty() || (named && value.contains(&0)) || (!named && key.contains(&0)) {
            return None;
        }
        let kept = (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = kept,
            b"linkpath" => self.link = kept,
            b"size" if value.is_empty() => self.size = None,
            b"size" => self.size = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
            b"GNU.sparse.name" => self.sparse_name = kept,
            b"GNU.sparse.map" => self.is_sparse |= !value.is_empty(),
            b"GNU.sparse.major" => self.is_sparse |= matches!(value, b"0" | b"1"),
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Pax, number};

    #[test]
    fn numbers_in_both_forms() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b" 644  \0\0"), Some(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"0000648\0"), None);
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 1, 0]), Some(256));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(&[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0]), None);
    }

    #[test]
    fn records_and_their_malformed_twins() {
        let pax = Pax::read(b"16 path=a/b/c/d\n12 size=123\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(b"a/b/c/d".as_slice()));
        assert_eq!(pax.size, Some(123));
        for bad in [
            b"15 path=a/b/c/d\n".as_slice(),
            b"17 path=a/b/c/d\n",
            b"+16 path=a/b/c/\n",
            b"12 size=12x\n",
            b"8 =value\n",
            b"99999999999999999999 a=b\n",
            b"11 path=a\0b\n",
            b"4 a=",
            b"x",
        ] {
            assert_eq!(Pax::read(bad), None, "{bad:?}");
        }
        assert_eq!(Pax::read(b""), Some(Pax::default()));
    }
}
