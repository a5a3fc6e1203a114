//! Frames (RFC 9113 §4): DATA passes through as it comes, the few kinds that matter are collected,
//! the others skipped.

use crate::http1::take_up_to;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const HAS_PRIORITY: u8 = 0x20;

const HEADER_BYTES: usize = 9;
/// RFC 9113 §6.5.2: the initial SETTINGS_MAX_FRAME_SIZE.
const PLAUSIBLE_FRAME_BYTES: u32 = 16_384;

/// RFC 9113 §4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) len: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

/// One step through the frames.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// All input was used.
    More,
    /// Bytes of a DATA frame, without padding.
    Data(u32, &'a [u8]),
    /// A DATA frame is over; was it the stream's last?
    DataEnd(u32, bool),
    /// A frame of a kind that is collected.
    Frame(FrameHeader, Vec<u8>),
    Malformed,
    TooLong,
}

/// What missing bytes were.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Data of that stream.
    Data(u32),
    /// Nothing that matters.
    Nothing,
    /// The end of a frame that is collected, of which this came; true if nothing else is missing.
    EndOf(FrameHeader, Vec<u8>, bool),
    /// Not known.
    Unknown,
}

/// The frames of one direction.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: Vec<u8>,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Header,
    PadLength(FrameHeader),
    Data {
        frame: FrameHeader,
        left: u32,
        padding: u32,
    },
    Padding {
        frame: FrameHeader,
        left: u32,
    },
    Collect(FrameHeader, Vec<u8>),
    Skip(u32),
}

impl FrameHeader {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let &[l2, l1, l0, kind, flags, s3, s2, s1, s0] = bytes.first_chunk::<HEADER_BYTES>()?;
        Some(Self {
            len: u32::from_be_bytes([0, l2, l1, l0]),
            kind,
            flags,
            stream: u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]),
        })
    }

    pub(super) const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What an ordinary peer sends (RFC 9113 §6).
    const fn is_plausible(self) -> bool {
        let Self { len, kind, flags, stream } = self;
        let on_stream = stream != 0;
        len <= PLAUSIBLE_FRAME_BYTES
            && match kind {
                DATA => on_stream && flags & !0x9 == 0,
                HEADERS => on_stream && flags & !0x2d == 0 && len > 0,
                PRIORITY => on_stream && len == 5 && flags == 0,
                RST_STREAM => on_stream && len == 4 && flags == 0,
                SETTINGS => !on_stream && flags <= 1 && len <= 240 && len % 6 == 0,
                PUSH_PROMISE => on_stream && flags & !0xc == 0 && len > 4,
                PING => !on_stream && len == 8 && flags <= 1,
                GOAWAY => !on_stream && len >= 8 && flags == 0,
                WINDOW_UPDATE => len == 4 && flags == 0,
                CONTINUATION => on_stream && flags & !END_HEADERS == 0,
                _ => false,
            }
    }
}

impl Frames {
    /// Takes the next step off the front of `input`; frames longer than `limit` are not collected.
    pub(super) fn step<'a>(&mut self, input: &mut &'a [u8], limit: usize) -> Step<'a> {
        loop {
            match std::mem::take(&mut self.state) {
                State::Header => match self.header(input) {
                    Some(frame) => match begin(frame, limit) {
                        Some(state) => self.state = state,
                        None => return Step::TooLong,
                    },
                    None => return Step::More,
                },
                State::PadLength(frame) => {
                    let Some((&padding, rest)) = input.split_first() else {
                        self.state = State::PadLength(frame);
                        return Step::More;
                    };
                    *input = rest;
                    let padding = u32::from(padding);
                    let Some(left) = frame.len.checked_sub(padding.saturating_add(1)) else {
                        return Step::Malformed;
                    };
                    self.state = State::Data { frame, left, padding };
                }
                State::Data { frame, left: 0, padding } => {
                    self.state = State::Padding { frame, left: padding };
                }
                State::Data { frame, left, padding } => {
                    let piece = take_up_to(input, u64::from(left));
                    let left = left.saturating_sub(u32::try_from(piece.len()).unwrap_or(u32::MAX));
                    self.state = State::Data { frame, left, padding };
                    return if piece.is_empty() {
                        Step::More
                    } else {
                        Step::Data(frame.stream, piece)
                    };
                }
                State::Padding { frame, left } => {
                    let left = skip(input, left);
                    if left == 0 {
                        return Step::DataEnd(frame.stream, frame.has(END_STREAM));
                    }
                    self.state = State::Padding { frame, left };
                    return Step::More;
                }
                State::Collect(frame, mut payload) => {
                    let len = usize::try_from(frame.len).unwrap_or(usize::MAX);
                    let missing = len.saturating_sub(payload.len());
                    payload.extend_from_slice(take_up_to(
                        input,
                        u64::try_from(missing).unwrap_or(u64::MAX),
                    ));
                    if payload.len() >= len {
                        return Step::Frame(frame, payload);
                    }
                    self.state = State::Collect(frame, payload);
                    return Step::More;
                }
                State::Skip(left) => {
                    let left = skip(input, left);
                    if left > 0 {
                        self.state = State::Skip(left);
                        return Step::More;
                    }
                }
            }
        }
    }

    /// Says what missing bytes were.
    pub(super) fn gap(&mut self, len: u64) -> Missing {
        match &mut self.state {
            State::Data { frame, left, .. } if u64::from(*left) >= len => {
                // In range: not above `left`.
                #[expect(clippy::cast_possible_truncation, reason = "not above `left`, a u32")]
                let len = len as u32;
                *left -= len;
                Missing::Data(frame.stream)
            }
            State::Collect(frame, payload) => {
                let (frame, payload) = (*frame, std::mem::take(payload));
                let came = u64::try_from(payload.len()).unwrap_or(u64::MAX);
                let left = u64::from(frame.len).saturating_sub(came).checked_sub(len);
                let left = left.and_then(|left| u32::try_from(left).ok());
                self.state = left.map_or(State::Header, State::Skip);
                Missing::EndOf(frame, payload, left.is_some())
            }
            State::Padding { left, .. } | State::Skip(left) if u64::from(*left) >= len => {
                #[expect(clippy::cast_possible_truncation, reason = "not above `left`, a u32")]
                let len = len as u32;
                *left -= len;
                Missing::Nothing
            }
            _ => Missing::Unknown,
        }
    }

    fn header(&mut self, input: &mut &[u8]) -> Option<FrameHeader> {
        let missing = HEADER_BYTES.saturating_sub(self.header.len()).min(input.len());
        let (taken, rest) = input.split_at_checked(missing)?;
        self.header.extend_from_slice(taken);
        *input = rest;
        let frame = FrameHeader::parse(&self.header)?;
        self.header.clear();
        Some(frame)
    }
}

fn begin(frame: FrameHeader, limit: usize) -> Option<State> {
    match frame.kind {
        DATA if frame.has(PADDED) && frame.len > 0 => Some(State::PadLength(frame)),
        DATA => Some(State::Data { frame, left: frame.len, padding: 0 }),
        HEADERS | PUSH_PROMISE | CONTINUATION | RST_STREAM => {
            let fits = usize::try_from(frame.len).is_ok_and(|len| len <= limit);
            fits.then(|| State::Collect(frame, Vec::new()))
        }
        _ => Some(State::Skip(frame.len)),
    }
}

fn skip(input: &mut &[u8], left: u32) -> u32 {
    let skipped = take_up_to(input, u64::from(left)).len();
    left.saturating_sub(u32::try_from(skipped).unwrap_or(u32::MAX))
}

/// Do frames begin here? All that is there must look like them: one of another kind than DATA, or
/// two.
pub(crate) fn looks_like_frames(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut weight = 0_u32;
    while let Some(frame) = FrameHeader::parse(rest) {
        if !frame.is_plausible() || rest.get(5).is_some_and(|byte| byte & 0x80 != 0) {
            return false;
        }
        weight = weight.saturating_add(if frame.kind == DATA { 1 } else { 2 });
        let len = usize::try_from(frame.len).unwrap_or(usize::MAX);
        rest = rest.get(HEADER_BYTES.saturating_add(len)..).unwrap_or_default();
    }
    weight >= 2
}
