//! Walks the fields of a protobuf message without a schema of more than the fields that are wanted.
//!
//! In: bytes that may be cut off or hostile. Out: fields in order, as far as they are well formed.
//! Nothing is copied, nothing recurses: who wants a nested message walks that one.

/// One field's value (Protocol Buffers, "Encoding": wire types).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// `VARINT`.
    Number(u64),
    /// `LEN`, whole.
    Bytes(&'a [u8]),
    /// `LEN`, of which only the beginning is there.
    Cut(&'a [u8]),
    /// `I64` and `I32`, which nothing here wants.
    Fixed,
}

impl<'a> Value<'a> {
    /// A string that came whole.
    pub(crate) fn text(self) -> Option<&'a str> {
        let Self::Bytes(bytes) = self else { return None };
        std::str::from_utf8(bytes).ok()
    }

    /// The fields of a nested message, of which the end may be missing.
    pub(crate) const fn message(self) -> Fields<'a> {
        match self {
            Self::Bytes(bytes) | Self::Cut(bytes) => Fields::new(bytes),
            Self::Number(_) | Self::Fixed => Fields::new(&[]),
        }
    }

    /// An entry of a `map<string, …>`.
    pub(crate) fn entry(self) -> Option<(&'a str, Self)> {
        let (mut key, mut value) = ("", Self::Bytes(&[]));
        for (number, field) in self.message() {
            match number {
                1 => key = field.text()?,
                2 => value = field,
                _ => {}
            }
        }
        Some((key, value))
    }
}

/// The fields of a message; ends at the first that is not well formed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    broken: bool,
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(message: &'a [u8]) -> Self {
        Self { rest: message, broken: false }
    }

    /// Were all fields so far well formed and whole?
    pub(crate) const fn is_sound(&self) -> bool {
        !self.broken
    }

    /// At most ten bytes, little end first, seven bits each.
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for (index, byte) in self.rest.iter().enumerate().take(10) {
            let shift = u32::try_from(index).ok()?.checked_mul(7)?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                self.rest = self.rest.get(index.saturating_add(1)..)?;
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, len: u64) -> Value<'a> {
        let split = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let Some((bytes, rest)) = split else {
            self.broken = true;
            return Value::Cut(std::mem::take(&mut self.rest));
        };
        self.rest = rest;
        Value::Bytes(bytes)
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = self.varint()?;
        let number = Some(key >> 3).filter(|number| *number > 0)?;
        let fixed =
            |value| if matches!(value, Value::Bytes(_)) { Some(Value::Fixed) } else { None };
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => fixed(self.take(8))?,
            2 => {
                let len = self.varint()?;
                self.take(len)
            }
            5 => fixed(self.take(4))?,
            _ => return None,
        };
        Some((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken || self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        self.broken |= field.is_none();
        field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_wire_type() {
        let message = b"\x08\x96\x01\x12\x02hi\x19\0\0\0\0\0\0\0\0\x25\0\0\0\0\x2a\0";
        let fields: Vec<_> = Fields::new(message).collect();
        let wanted = [
            (1, Value::Number(150)),
            (2, Value::Bytes(b"hi")),
            (3, Value::Fixed),
            (4, Value::Fixed),
            (5, Value::Bytes(b"")),
        ];
        assert_eq!(fields, wanted);
    }

    #[test]
    fn what_is_cut_off_is_told_apart() {
        let mut fields = Fields::new(b"\x12\x05hi");
        assert_eq!(fields.next(), Some((2, Value::Cut(b"hi"))));
        assert_eq!(fields.next(), None);
        assert!(!fields.is_sound());
        assert_eq!(Value::Cut(b"hi").text(), None);
    }

    #[test]
    fn hostile_bytes_end_the_walk() {
        for bad in [
            &b"\x00\x01"[..],
            b"\x0b",
            b"\x0c",
            b"\x0f",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x08",
            b"\x19\0",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            let mut fields = Fields::new(bad);
            assert_eq!(fields.by_ref().count(), 0, "{bad:x?}");
            assert!(!fields.is_sound(), "{bad:x?}");
        }
        let huge = b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a";
        assert_eq!(Fields::new(huge).collect::<Vec<_>>(), [(2, Value::Cut(b"a"))]);
    }
}
