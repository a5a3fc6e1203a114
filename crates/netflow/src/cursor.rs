//! Reads big-endian values off a slice; what is not there is `None`, never a panic.

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_be_bytes)
    }
}

/// An unsigned integer of 1 to 8 octets (RFC 7011 §6.1.1 and §6.2, reduced-size encoding).
pub(crate) fn unsigned(bytes: &[u8]) -> Option<u64> {
    match *bytes {
        [a] => return Some(a.into()),
        [a, b] => return Some(u16::from_be_bytes([a, b]).into()),
        [a, b, c, d] => return Some(u32::from_be_bytes([a, b, c, d]).into()),
        [] | [_, _, _, _, _, _, _, _, _, ..] => return None,
        _ => {}
    }
    if let Ok(octets) = bytes.try_into() {
        return Some(u64::from_be_bytes(octets));
    }
    Some(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reduced_sizes_are_read() {
        assert_eq!(unsigned(&[1, 2, 3]), Some(0x0001_0203));
        assert_eq!(unsigned(&[0xff; 8]), Some(u64::MAX));
        assert_eq!(unsigned(&[]), None);
        assert_eq!(unsigned(&[0; 9]), None);
    }

    #[test]
    fn what_is_not_there_is_not_taken() {
        let mut cursor = Cursor::new(&[0, 1, 2]);
        assert_eq!(cursor.u16(), Some(1));
        assert_eq!(cursor.u16(), None);
        assert_eq!(cursor.len(), 1);
    }
}
