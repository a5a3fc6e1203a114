//! Sets of a NetFlow v9 or IPFIX message.

/// One set, or what stands where one should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set<'a> {
    /// A set that lies wholly inside the message.
    Whole {
        /// Its id.
        id: u16,
        /// What follows its header.
        body: &'a [u8],
    },
    /// A set that claims more than there is.
    Cut {
        /// Its id.
        id: u16,
        /// What there is of it.
        body: &'a [u8],
    },
    /// Up to three zero bytes at the end.
    Padding,
    /// A length that cannot be: the rest is not read.
    Malformed,
}

/// RFC 3954 §5.2 and RFC 7011 §3.3.2: id and length, the header's four octets included.
pub(crate) fn sets(message: &[u8]) -> impl Iterator<Item = Set<'_>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let all = std::mem::take(&mut rest);
        let Some(([a, b, c, d], body)) = all.split_first_chunk() else {
            let zero = all.iter().all(|byte| *byte == 0);
            return Some(if zero { Set::Padding } else { Set::Malformed });
        };
        let id = u16::from_be_bytes([*a, *b]);
        let Some(len) = usize::from(u16::from_be_bytes([*c, *d])).checked_sub(4) else {
            return Some(Set::Malformed);
        };
        let Some((body, after)) = body.split_at_checked(len) else {
            return Some(Set::Cut { id, body });
        };
        rest = after;
        Some(Set::Whole { id, body })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_end_at_the_first_length_that_cannot_be() {
        let message = [1, 0, 0, 5, 9, 2, 0, 0, 3, 7, 7];
        let all: Vec<_> = sets(&message).collect();
        assert_eq!(all, [Set::Whole { id: 256, body: &[9] }, Set::Malformed]);
    }

    #[test]
    fn a_set_that_is_cut_off_is_told_as_such() {
        let all: Vec<_> = sets(&[1, 0, 0, 9, 9]).collect();
        assert_eq!(all, [Set::Cut { id: 256, body: &[9] }]);
        assert_eq!(sets(&[0, 0]).collect::<Vec<_>>(), [Set::Padding]);
    }
}
