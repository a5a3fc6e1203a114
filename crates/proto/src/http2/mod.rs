//! HTTP/2 (RFC 9113), passively: by its preface, after `Upgrade: h2c`, or joined in mid-stream.
//!
//! Client is who sends the preface, whoever opened the connection: on Docker's `/session` the
//! daemon does. Streams become exchanges in the order of their request heads. Pushed streams,
//! and the answer to an upgraded HTTP/1 request on stream 1, give no exchange.

mod frame;
mod hpack;
mod stream;

#[cfg(test)]
mod tests;

use tw_model::{AnomalyKind, Direction};

pub(crate) use self::frame::looks_like_frames;
use self::frame::{
    CONTINUATION, END_HEADERS, END_STREAM, FrameHeader, Frames, HAS_PRIORITY, HEADERS, Missing,
    PADDED, PUSH_PROMISE, RST_STREAM, Step,
};
use self::hpack::{Decoder, Failure};
use self::stream::{Message, Part, Streams};
use crate::cursor::Cursor;
use crate::limits::length;
use crate::out::Out;
use crate::probe::PREFACE;
use crate::{
    BodyEnd, Extent, Header, HttpEventKind, HttpVersion, Limits, RequestHead, ResponseHead,
};

/// One HTTP/2 connection.
pub(crate) struct Http2 {
    request_direction: Option<Direction>,
    halves: [Half; 2],
    streams: Streams,
    /// Highest stream that a client opened, and the lowest whose request was seen since any may have
    /// been missed.
    last_stream: u32,
    first_request: u32,
    /// Header blocks may have been missed.
    joined: bool,
    resets: u32,
    limit_told: bool,
}

/// One direction.
#[derive(Default)]
struct Half {
    start: Start,
    frames: Frames,
    decoder: Decoder,
    /// A header block that CONTINUATION frames complete.
    block: Option<Block>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Start {
    /// So many bytes of the preface have come.
    #[default]
    Fresh,
    Preface(usize),
    Frames,
    /// Where frames begin is not known.
    Lost,
    Done,
}

struct Block {
    stream: u32,
    end_stream: bool,
    /// Of a PUSH_PROMISE.
    promise: bool,
    bytes: Vec<u8>,
}

impl Http2 {
    /// A connection seen from its start (`joined` false), or one of which header blocks may have
    /// been missed.
    pub(crate) fn new(joined: bool, limits: &Limits) -> Self {
        let mut halves = [Half::default(), Half::default()];
        if joined {
            for half in &mut halves {
                half.start = Start::Lost;
                half.decoder.forget(limits);
            }
        }
        Self {
            request_direction: None,
            halves,
            streams: Streams::default(),
            last_stream: 0,
            first_request: u32::MAX,
            joined,
            resets: 0,
            limit_told: false,
        }
    }

    pub(crate) const fn request_direction(&self) -> Option<Direction> {
        self.request_direction
    }

    pub(crate) fn wants_more(&self) -> bool {
        !self.halves.iter().all(|half| half.start == Start::Done)
    }

    pub(crate) fn data(&mut self, direction: Direction, bytes: &[u8], out: &mut Out<'_>) {
        let mut input = bytes;
        while !input.is_empty() {
            let Some(half) = self.halves.get_mut(direction.index()) else {
                return;
            };
            match half.start {
                Start::Fresh => half.start = Start::Preface(0),
                Start::Preface(matched) => {
                    let Some(next) = preface(matched, &mut input) else {
                        // The preface was not sent in this direction: these are the server's frames.
                        half.start = Start::Frames;
                        let begun = PREFACE.get(..matched).unwrap_or_default();
                        self.request_direction.get_or_insert_with(|| direction.reversed());
                        self.frames(direction, &mut &*begun, out);
                        continue;
                    };
                    half.start = next;
                    if next == Start::Frames {
                        self.request_direction = Some(direction);
                    }
                }
                Start::Lost if input.starts_with(PREFACE) => half.start = Start::Preface(0),
                Start::Lost if looks_like_frames(input) => half.start = Start::Frames,
                Start::Lost | Start::Done => return,
                Start::Frames => self.frames(direction, &mut input, out),
            }
        }
    }

    pub(crate) fn gap(&mut self, direction: Direction, len: u64, out: &mut Out<'_>) {
        let Some(half) = self.halves.get_mut(direction.index()) else {
            return;
        };
        if half.start == Start::Done {
            return;
        }
        let missing =
            if half.start == Start::Frames { half.frames.gap(len) } else { Missing::Unknown };
        match missing {
            Missing::Data(id) => {
                let part = part_of(self.request_direction, direction);
                let toward = self.request_direction.unwrap_or(direction);
                if let (Some(part), Some(stream)) = (part, self.streams.get_mut(id)) {
                    stream.gap(part, toward, len, out);
                }
            }
            Missing::Nothing => {}
            Missing::EndOf(frame, payload, alone) => {
                self.cut_block(direction, frame, &payload, out);
                if !alone {
                    self.lose(direction, len, out);
                }
            }
            Missing::Unknown => self.lose(direction, len, out),
        }
    }

    /// Where frames begin, and what header blocks refer to, is no longer known in that direction.
    fn lose(&mut self, direction: Direction, len: u64, out: &mut Out<'_>) {
        let Some(half) = self.halves.get_mut(direction.index()) else { return };
        let mut decoder = std::mem::take(&mut half.decoder);
        decoder.forget(out.limits);
        *half = Half { start: Start::Lost, decoder, ..Half::default() };
        // From here on requests may be missed again.
        self.first_request = u32::MAX;
        self.joined = true;
        let toward = self.request_direction.unwrap_or(direction);
        let Some(part) = part_of(self.request_direction, direction) else { return };
        for stream in self.streams.values_mut() {
            stream.gap(part, toward, len, out);
        }
    }

    /// A header block of which the end is missing: the fields that came are told, and later blocks
    /// may refer to what did not.
    fn cut_block(
        &mut self,
        direction: Direction,
        frame: FrameHeader,
        payload: &[u8],
        out: &mut Out<'_>,
    ) {
        let Some(half) = self.halves.get_mut(direction.index()) else { return };
        let bytes = match (frame.kind, half.block.take()) {
            (HEADERS, None) => fragment(frame, payload, false, false).unwrap_or_default().to_vec(),
            (CONTINUATION, Some(block)) if block.stream == frame.stream && !block.promise => {
                [block.bytes.as_slice(), payload].concat()
            }
            (RST_STREAM, None) => return,
            _ => Vec::new(),
        };
        let fields = half.decoder.decode_cut(&bytes, out.limits);
        half.decoder.forget(out.limits);
        self.fields(direction, frame.stream, fields, Extent::Fields, out);
        if frame.kind == HEADERS && frame.has(END_STREAM) {
            self.end_stream(direction, frame.stream, out);
        }
    }

    pub(crate) fn close(&mut self, out: &mut Out<'_>) {
        if let Some(direction) = self.request_direction {
            for stream in self.streams.values_mut() {
                stream.cut(direction, out);
            }
        }
        self.streams = Streams::default();
    }

    fn frames(&mut self, direction: Direction, input: &mut &[u8], out: &mut Out<'_>) {
        let limit = length(out.limits.header_block_bytes);
        loop {
            let Some(half) = self.halves.get_mut(direction.index()) else {
                return;
            };
            let failure = match half.frames.step(input, limit) {
                Step::More => return,
                Step::Data(id, bytes) => {
                    self.stream_data(direction, id, bytes, out);
                    continue;
                }
                Step::DataEnd(id, end) => {
                    if end {
                        self.end_stream(direction, id, out);
                    }
                    continue;
                }
                Step::Frame(frame, payload) => match self.frame(direction, frame, &payload, out) {
                    Ok(()) => continue,
                    Err(failure) => failure,
                },
                Step::Malformed => Failure::Malformed,
                Step::TooLong => Failure::Limit,
            };
            *input = &[];
            return self.give_up(direction, failure, out);
        }
    }

    fn give_up(&mut self, direction: Direction, failure: Failure, out: &mut Out<'_>) {
        if let Some(half) = self.halves.get_mut(direction.index()) {
            *half = Half { start: Start::Done, ..Half::default() };
        }
        match failure {
            Failure::Malformed => out.anomaly(AnomalyKind::Http2Malformed),
            Failure::Limit => out.anomaly(AnomalyKind::Http2Limit),
        }
    }

    fn frame(
        &mut self,
        direction: Direction,
        frame: FrameHeader,
        payload: &[u8],
        out: &mut Out<'_>,
    ) -> Result<(), Failure> {
        match frame.kind {
            HEADERS | PUSH_PROMISE => self.begin_block(direction, frame, payload, out),
            CONTINUATION => self.continue_block(direction, frame, payload, out),
            RST_STREAM => {
                self.reset(direction, frame.stream, out);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// RFC 9113 §6.2 and §6.6.
    fn begin_block(
        &mut self,
        direction: Direction,
        frame: FrameHeader,
        payload: &[u8],
        out: &mut Out<'_>,
    ) -> Result<(), Failure> {
        let half = self.halves.get_mut(direction.index()).ok_or(Failure::Malformed)?;
        if frame.stream == 0 || half.block.is_some() {
            return Err(Failure::Malformed);
        }
        let promise = frame.kind == PUSH_PROMISE;
        let fragment = fragment(frame, payload, promise, true).ok_or(Failure::Malformed)?;
        let end_stream = frame.has(END_STREAM) && !promise;
        let block = Block { stream: frame.stream, end_stream, promise, bytes: fragment.to_vec() };
        if frame.has(END_HEADERS) {
            return self.finish_block(direction, block, out);
        }
        half.block = Some(block);
        Ok(())
    }

    /// RFC 9113 §6.10.
    fn continue_block(
        &mut self,
        direction: Direction,
        frame: FrameHeader,
        payload: &[u8],
        out: &mut Out<'_>,
    ) -> Result<(), Failure> {
        let half = self.halves.get_mut(direction.index()).ok_or(Failure::Malformed)?;
        let incomplete = half.decoder.is_incomplete();
        let Some(mut block) = half.block.take() else {
            // Joined between a HEADERS frame and its continuation.
            return if incomplete { Ok(()) } else { Err(Failure::Malformed) };
        };
        if block.stream != frame.stream {
            return Err(Failure::Malformed);
        }
        if block.bytes.len().saturating_add(payload.len()) > length(out.limits.header_block_bytes) {
            return Err(Failure::Limit);
        }
        block.bytes.extend_from_slice(payload);
        if frame.has(END_HEADERS) {
            return self.finish_block(direction, block, out);
        }
        half.block = Some(block);
        Ok(())
    }

    fn finish_block(
        &mut self,
        direction: Direction,
        block: Block,
        out: &mut Out<'_>,
    ) -> Result<(), Failure> {
        let half = self.halves.get_mut(direction.index()).ok_or(Failure::Malformed)?;
        let decoded = half.decoder.decode(&block.bytes, out.limits)?;
        if decoded.over {
            self.limit(out);
        }
        if block.promise {
            return Ok(());
        }
        self.fields(direction, block.stream, decoded.fields, Extent::Whole, out);
        if block.end_stream {
            self.end_stream(direction, block.stream, out);
        }
        Ok(())
    }

    fn fields(
        &mut self,
        direction: Direction,
        stream: u32,
        fields: Vec<Header>,
        extent: Extent,
        out: &mut Out<'_>,
    ) {
        if self.request_direction.is_none() {
            self.request_direction = role_by_fields(direction, &fields);
        }
        match part_of(self.request_direction, direction) {
            Some(Part::Request) => self.request_fields(direction, stream, fields, extent, out),
            Some(Part::Response) => {
                self.response_fields(direction.reversed(), stream, fields, extent, out)
            }
            None => {}
        }
    }

    fn request_fields(
        &mut self,
        direction: Direction,
        id: u32,
        fields: Vec<Header>,
        extent: Extent,
        out: &mut Out<'_>,
    ) {
        let Some(head) = request_head(fields, extent) else {
            return;
        };
        self.open(id, direction, out);
        self.first_request = self.first_request.min(id);
        // A block on a stream that has a head is its trailers.
        if let Some(stream) = self.streams.get_mut(id)
            && matches!(stream.request, Message::Due)
        {
            stream.begin(Part::Request, &head.headers, out);
            out.http(stream.exchange, direction, HttpEventKind::RequestHead(&head));
        }
    }

    fn response_fields(
        &mut self,
        request_direction: Direction,
        id: u32,
        fields: Vec<Header>,
        extent: Extent,
        out: &mut Out<'_>,
    ) {
        let is_trailers = !fields.iter().any(|field| field.name.starts_with(':'));
        if let (true, Some(stream)) = (is_trailers, self.streams.get_mut(id))
            && matches!(stream.response, Message::Body { .. })
        {
            let kind = HttpEventKind::ResponseTrailers(&fields);
            return out.http(stream.exchange, request_direction, kind);
        }
        let Some(head) = response_head(fields, extent).filter(|head| head.status >= 200) else {
            return;
        };
        // Even streams are pushed. Stream 1 without a request is the answer to an upgraded HTTP/1
        // request, unless the connection's opener answers, as on Docker's `/session`.
        let is_upgraded = id == 1 && request_direction == Direction::ToResponder;
        if id % 2 == 1 && !is_upgraded {
            self.open(id, request_direction, out);
            self.open_missed(id, request_direction, out);
        }
        if let Some(stream) = self.streams.get_mut(id)
            && matches!(stream.response, Message::Due)
        {
            stream.begin(Part::Response, &head.headers, out);
            out.http(stream.exchange, request_direction, HttpEventKind::ResponseHead(&head));
        }
    }

    /// Opens a stream unless it is, or was, open.
    fn open(&mut self, id: u32, request_direction: Direction, out: &mut Out<'_>) {
        if id <= self.last_stream {
            return;
        }
        self.last_stream = id;
        if self.streams.open(id, request_direction, out) {
            self.limit(out);
        }
    }

    /// Opens a stream of which the request was missed; answers come in any order.
    fn open_missed(&mut self, id: u32, request_direction: Direction, out: &mut Out<'_>) {
        if id >= self.first_request || id.is_multiple_of(2) || self.streams.get_mut(id).is_some() {
            return;
        }
        if self.streams.open(id, request_direction, out) {
            self.limit(out);
        }
    }

    fn stream_data(&mut self, direction: Direction, id: u32, bytes: &[u8], out: &mut Out<'_>) {
        let (Some(toward), Some(part)) =
            (self.request_direction, part_of(self.request_direction, direction))
        else {
            return;
        };
        if self.joined && part == Part::Response {
            self.open_missed(id, toward, out);
        }
        if let Some(stream) = self.streams.get_mut(id) {
            stream.data(part, toward, bytes, out);
        }
    }

    fn end_stream(&mut self, direction: Direction, id: u32, out: &mut Out<'_>) {
        let (Some(toward), Some(part)) =
            (self.request_direction, part_of(self.request_direction, direction))
        else {
            return;
        };
        if let Some(stream) = self.streams.get_mut(id) {
            stream.end(part, toward, BodyEnd::Complete, out);
            self.streams.forget_ended(id);
        }
    }

    /// RFC 9113 §6.4. An answer that was on its way when the client gave up is still read. Streams
    /// that are reset as fast as they are opened (CVE-2023-44487) cost nothing here, but are worth
    /// a word.
    fn reset(&mut self, from: Direction, id: u32, out: &mut Out<'_>) {
        let (Some(direction), Some(stream)) = (self.request_direction, self.streams.get_mut(id))
        else {
            return;
        };
        let unanswered = matches!(stream.response, Message::Due);
        stream.cut(direction, out);
        out.http(stream.exchange, direction, HttpEventKind::Reset(from));
        if from == direction && unanswered {
            self.resets = self.resets.saturating_add(1);
            if self.resets == out.limits.resets {
                self.limit(out);
            }
        } else {
            self.streams.remove(id);
        }
    }

    fn limit(&mut self, out: &mut Out<'_>) {
        if !std::mem::replace(&mut self.limit_told, true) {
            out.anomaly(AnomalyKind::Http2Limit);
        }
    }
}

/// Compares with the preface from `matched` on; `None` where it differs.
fn preface(matched: usize, input: &mut &[u8]) -> Option<Start> {
    let left = PREFACE.get(matched..)?;
    let len = left.len().min(input.len());
    if left.get(..len) != input.get(..len) {
        return None;
    }
    *input = input.get(len..).unwrap_or_default();
    let matched = matched.saturating_add(len);
    Some(if matched >= PREFACE.len() { Start::Frames } else { Start::Preface(matched) })
}

fn part_of(request_direction: Option<Direction>, direction: Direction) -> Option<Part> {
    let requests = request_direction?;
    Some(if requests == direction { Part::Request } else { Part::Response })
}

/// Without a preface: only requests have a method, and only responses a status.
fn role_by_fields(direction: Direction, fields: &[Header]) -> Option<Direction> {
    let any = |names: &[&str]| fields.iter().any(|field| names.contains(&&*field.name));
    if any(&[":method", ":path", ":scheme", ":authority"]) {
        Some(direction)
    } else {
        any(&[":status"]).then(|| direction.reversed())
    }
}

/// The field block fragment of a HEADERS or PUSH_PROMISE frame, of which the end may be missing.
fn fragment(frame: FrameHeader, payload: &[u8], promise: bool, whole: bool) -> Option<&[u8]> {
    let mut cursor = Cursor::new(payload);
    let padding = if frame.has(PADDED) { cursor.u8()? } else { 0 };
    if promise {
        cursor.take(4)?;
    } else if frame.has(HAS_PRIORITY) {
        cursor.take(5)?;
    }
    let padding = if whole { usize::from(padding) } else { 0 };
    let len = cursor.rest().len().checked_sub(padding)?;
    cursor.take(len)
}

/// RFC 9113 §8.3.1. `None` without a method: trailers, or a head that refers to what was missed.
fn request_head(fields: Vec<Header>, extent: Extent) -> Option<RequestHead> {
    let (mut method, mut target, mut authority) = (None, None, None);
    let mut headers = Vec::with_capacity(fields.len());
    for field in fields {
        match &*field.name {
            ":method" => method = Some(field.value),
            ":path" => target = Some(field.value),
            ":authority" => authority = Some(field.value),
            name if name.starts_with(':') => {}
            _ => headers.push(field),
        }
    }
    let method = method?;
    // CONNECT has no path (§8.5).
    let target = match target {
        None if method == "CONNECT" => authority.clone()?,
        target => target?,
    };
    let host = || headers.iter().find(|field| field.name == "host").map(|host| host.value.clone());
    let authority = authority.or_else(host);
    Some(RequestHead { method, target, version: HttpVersion::Http2, authority, headers, extent })
}

/// RFC 9113 §8.3.2.
fn response_head(fields: Vec<Header>, extent: Extent) -> Option<ResponseHead> {
    let status = fields.iter().find(|field| field.name == ":status")?.value.parse().ok()?;
    let headers = fields.into_iter().filter(|field| !field.name.starts_with(':')).collect();
    Some(ResponseHead { status, version: HttpVersion::Http2, headers, extent })
}
