//! The chunked transfer coding (RFC 9112 §7.1).

use crate::line::LineBuffer;

/// Reads a chunked body: extensions and trailer fields are passed over.
#[derive(Debug, Default)]
pub(crate) struct Chunked {
    state: State,
    line: LineBuffer,
    /// Where chunks begin was lost before, and found again by their looks.
    found_again: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailer,
    /// Where the next chunk begins is not known.
    Lost,
}

/// One step through a framed body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Bytes of the body.
    Piece(&'a [u8]),
    /// All input was used.
    More,
    /// The body is over.
    End,
    /// No server would take this.
    Malformed,
}

impl Chunked {
    /// A body whose first chunks are missing.
    pub(crate) fn lost() -> Self {
        Self { state: State::Lost, ..Self::default() }
    }

    /// Where the next chunk begins is no longer known.
    pub(crate) fn lose(&mut self) {
        *self = Self::lost();
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.state == State::Lost
    }

    /// Was what is read as chunks only found by its looks?
    pub(crate) const fn is_found_again(&self) -> bool {
        self.found_again
    }

    /// Takes a chunk that begins with `segment` for the next one, if it looks like one of dockerd's:
    /// it sends each JSON line as a chunk in a segment of its own (observed: dockerd 20.10, `/build`).
    /// So does the last chunk.
    pub(crate) fn find_again(&mut self, segment: &[u8]) -> bool {
        let digits = segment.iter().take(8).take_while(|byte| byte.is_ascii_hexdigit()).count();
        let after = segment.get(digits..).unwrap_or_default();
        let last = segment.starts_with(b"0\r\n\r\n");
        let found = last || (1..=6).contains(&digits) && after.starts_with(b"\r\n{");
        if found {
            *self = Self { state: State::Size, line: LineBuffer::default(), found_again: true };
        }
        found
    }

    /// Takes the next step off the front of `input`.
    pub(crate) fn step<'a>(&mut self, input: &mut &'a [u8], line_limit: usize) -> Step<'a> {
        loop {
            if input.is_empty() {
                return Step::More;
            }
            if self.state == State::Lost {
                *input = &[];
                return Step::More;
            }
            if let State::Data(left) = self.state {
                let piece = take_up_to(input, left);
                let left = left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                return Step::Piece(piece);
            }
            let Some(line) = self.line.take(input, line_limit) else {
                return if self.line.is_cut() { Step::Malformed } else { Step::More };
            };
            if line.cut {
                return Step::Malformed;
            }
            let Some(next) = after_line(self.state, line.bytes) else {
                return Step::Malformed;
            };
            match next {
                After::Go(state) => self.state = state,
                After::End => return Step::End,
            }
        }
    }

    /// Bytes that are left of the chunk that is being read.
    pub(crate) const fn left(&self) -> u64 {
        match self.state {
            State::Data(left) => left,
            _ => 0,
        }
    }

    /// Missing bytes: true when all of them were inside one chunk's data and the line end after it.
    pub(crate) const fn skip(&mut self, len: u64) -> bool {
        match self.state {
            State::Data(left) if left > len => {
                self.state = State::Data(left - len);
                true
            }
            State::Data(left) if left == len => {
                self.state = State::DataEnd;
                true
            }
            // A segment that ends with its chunk, cut off by the snap length.
            State::Data(left) if left.saturating_add(1) == len => {
                self.state = State::DataEnd;
                true
            }
            State::Data(left) if left.saturating_add(2) == len => {
                self.state = State::Size;
                true
            }
            _ => false,
        }
    }
}

enum After {
    Go(State),
    End,
}

fn after_line(state: State, line: &[u8]) -> Option<After> {
    match state {
        State::Size => match chunk_size(line)? {
            0 => Some(After::Go(State::Trailer)),
            size => Some(After::Go(State::Data(size))),
        },
        State::DataEnd => line.is_empty().then_some(After::Go(State::Size)),
        State::Trailer if line.is_empty() => Some(After::End),
        State::Trailer | State::Data(_) | State::Lost => Some(After::Go(State::Trailer)),
    }
}

/// Does a chunk of a daemon's progress begin here: JSON lines with one of the fields of Docker
/// Engine API's `BuildInfo` and `CreateImageInfo`? Known so even where no head was seen.
pub(crate) fn begins_with_progress(segment: &[u8]) -> bool {
    let digits = segment.iter().take(8).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let Some(line) = segment.get(digits..).and_then(|after| after.strip_prefix(b"\r\n")) else {
        return false;
    };
    let fields: [&[u8]; 4] =
        [br#"{"stream":""#, br#"{"aux":{"#, br#"{"status":""#, br#"{"errorDetail":{"#];
    (1..=6).contains(&digits) && fields.iter().any(|field| line.starts_with(field))
}

/// RFC 9112 §7.1: hexadecimal, then blanks or an extension. More than 16 digits are refused, as
/// Go's net/http does.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&byte| byte == b';').next()?.trim_ascii();
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Takes at most `len` bytes off the front of `input`.
pub(crate) fn take_up_to<'a>(input: &mut &'a [u8], len: u64) -> &'a [u8] {
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(input.len());
    let (piece, rest) = input.split_at_checked(len).unwrap_or_default();
    *input = rest;
    piece
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> (Vec<u8>, Option<bool>) {
        let mut chunked = Chunked::default();
        let mut body = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            loop {
                match chunked.step(&mut input, 64) {
                    Step::Piece(bytes) => body.extend_from_slice(bytes),
                    Step::More => break,
                    Step::End => return (body, Some(true)),
                    Step::Malformed => return (body, Some(false)),
                }
            }
        }
        (body, None)
    }

    #[test]
    fn extensions_trailers_and_bare_lf_at_any_cut() {
        let wire = b"4;name=\"v\"\r\nWiki\r\n05 \n12345\n0;last\r\nTrailer: x\r\nOther: y\r\n\r\n";
        for at in 0..=wire.len() {
            let (head, tail) = wire.split_at(at);
            assert_eq!(read(&[head, tail]), (b"Wiki12345".to_vec(), Some(true)), "cut at {at}");
        }
    }

    #[test]
    fn sizes_that_no_server_takes() {
        for bad in [
            &b"-1\r\n"[..],
            b"0x4\r\n",
            b"\r\n",
            b"11111111111111111\r\n",
            b"4 4\r\nabcd",
            b"4\r\nabcdX\r\n",
        ] {
            assert_eq!(read(&[bad]).1, Some(false), "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(read(&[&[b'1'; 100]]).1, Some(false));
    }

    #[test]
    fn a_hole_inside_a_chunk_is_skipped_exactly() {
        let mut chunked = Chunked::default();
        let mut input = &b"10\r\nab"[..];
        assert_eq!(chunked.step(&mut input, 64), Step::Piece(b"ab"));
        assert!(!chunked.skip(17));
        assert!(chunked.skip(14));
        let mut input = &b"\r\n0\r\n\r\n"[..];
        assert_eq!(chunked.step(&mut input, 64), Step::End);
    }

    #[test]
    fn a_hole_may_take_the_line_end_of_a_chunk_with_it() {
        for (len, rest) in [(14, &b"\r\n0\r\n\r\n"[..]), (15, b"\n0\r\n\r\n"), (16, b"0\r\n\r\n")] {
            let mut chunked = Chunked::default();
            let mut input = &b"10\r\nab"[..];
            assert_eq!(chunked.step(&mut input, 64), Step::Piece(b"ab"));
            assert!(chunked.skip(len));
            assert_eq!(chunked.step(&mut &*rest, 64), Step::End, "{len}");
        }
    }

    #[test]
    fn progress_is_known_by_its_fields() {
        for (segment, known) in [
            (&b"47\r\n{\"stream\":\"Step 1/2 : FROM a\"}\r\n"[..], true),
            (b"5a\r\n{\"aux\":{\"ID\":\"sha256:", true),
            (b"5a\r\n{\"name\":\"x\"}", false),
            (b"{\"stream\":\"x\"}", false),
            (b"\r\n{\"stream\":\"x\"}", false),
            (b"1234567\r\n{\"stream\":\"", false),
            (b"5a\r\n{\"stream\":", false),
            (b"", false),
        ] {
            assert_eq!(
                begins_with_progress(segment),
                known,
                "{}",
                String::from_utf8_lossy(segment)
            );
        }
    }

    #[test]
    fn chunks_are_found_again_by_their_looks() {
        for (segment, found) in [
            (&b"1f\r\n{\"stream\":\"x\"}\r\n"[..], true),
            (b"0\r\n\r\n", true),
            (b"0\r\n", false),
            (b"\r\n{", false),
            (b"1234567\r\n{", false),
            (b"1f\r\nabc", false),
            (b"1f;x\r\n{", false),
            (b"", false),
        ] {
            let mut chunked = Chunked::lost();
            assert_eq!(chunked.find_again(segment), found, "{}", String::from_utf8_lossy(segment));
            assert_eq!(chunked.is_lost(), !found);
        }
    }
}
