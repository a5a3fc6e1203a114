//! Undoes content and transfer codings (RFC 9110 §8.4.1, RFC 9112 §7.2) as the bytes come.
//!
//! Holds the window of each decoder (gzip and deflate 32 KiB, zstd at most 8 MiB as RFC 9659 has
//! it, brotli at most 16 MiB) while the body lasts, and no body.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use crate::limits::Limits;
use crate::out::Totals;

/// Output is handed on in pieces of this size.
const PIECE_BYTES: usize = 8 << 10;
/// RFC 9659 §3: 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Why a coding could not be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Not what the coding says.
    Corrupt,
    /// More output than the limit allows.
    Limit,
}

/// A coding that can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Zstd,
    Brotli,
}

/// The codings of one body, the last one applied first.
pub(crate) struct Codings(Vec<Stage>);

/// What a list of coding names comes to.
pub(crate) enum Listed {
    /// Nothing to undo.
    Plain,
    /// These.
    Coded(Codings),
    /// One that nobody here can undo, or more than the limit: the body stays as it is.
    Unknown,
}

impl Codings {
    /// From coding names in the order in which they were applied.
    pub(crate) fn listed<'n>(names: impl Iterator<Item = &'n str>, limits: &Limits) -> Listed {
        let mut stages = Vec::new();
        for name in names.map(str::trim).filter(|name| !name.is_empty()) {
            let coding = match name.to_ascii_lowercase().as_str() {
                "identity" | "aws-chunked" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                "zstd" => Coding::Zstd,
                "br" => Coding::Brotli,
                _ => return Listed::Unknown,
            };
            if stages.len() >= crate::limits::length(limits.codings) {
                return Listed::Unknown;
            }
            stages.push(Stage { coding, engine: Engine::Unborn(Vec::new()), again: false });
        }
        stages.reverse();
        if stages.is_empty() { Listed::Plain } else { Listed::Coded(Self(stages)) }
    }

    /// Decodes a piece of the body.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        totals: &mut Totals,
        limits: &Limits,
        emit: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Failure> {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        totals.coded_bytes = totals.coded_bytes.saturating_add(len);
        run(&mut self.0, bytes, totals, limits, emit)
    }

    /// The body is over: what was too short to be told from plain bytes is plain.
    pub(crate) fn finish(&mut self, emit: &mut dyn FnMut(&[u8])) {
        if let [Stage { engine: Engine::Unborn(start), again: false, .. }] = self.0.as_slice()
            && !start.is_empty()
        {
            emit(start);
        }
    }
}

fn run(
    stages: &mut [Stage],
    mut input: &[u8],
    totals: &mut Totals,
    limits: &Limits,
    emit: &mut dyn FnMut(&[u8]),
) -> Result<(), Failure> {
    let Some((stage, rest)) = stages.split_first_mut() else {
        emit(input);
        return Ok(());
    };
    let mut buffer = [0; PIECE_BYTES];
    loop {
        if let Some(start) = stage.begin(&mut input) {
            let mut start_input = start.as_slice();
            drain(stage, rest, &mut start_input, &mut buffer, (totals, limits), emit)?;
        }
        if matches!(stage.engine, Engine::Plain) {
            return if input.is_empty() { Ok(()) } else { run(rest, input, totals, limits, emit) };
        }
        drain(stage, rest, &mut input, &mut buffer, (totals, limits), emit)?;
        if input.is_empty() {
            return Ok(());
        }
    }
}

/// Runs one stage until it wants more input or its stream ends.
fn drain(
    stage: &mut Stage,
    rest: &mut [Stage],
    input: &mut &[u8],
    buffer: &mut [u8; PIECE_BYTES],
    (totals, limits): (&mut Totals, &Limits),
    emit: &mut dyn FnMut(&[u8]),
) -> Result<(), Failure> {
    loop {
        if matches!(stage.engine, Engine::Plain) {
            let bytes = std::mem::take(input);
            return if bytes.is_empty() { Ok(()) } else { run(rest, bytes, totals, limits, emit) };
        }
        let (produced, more) = stage.step(input, buffer)?;
        totals.decoded_bytes =
            totals.decoded_bytes.saturating_add(u64::try_from(produced).unwrap_or(u64::MAX));
        if !totals.may_decode(limits) {
            return Err(Failure::Limit);
        }
        if let Some(piece) = buffer.get(..produced)
            && produced > 0
        {
            run(rest, piece, totals, limits, emit)?;
        }
        if !more {
            return Ok(());
        }
    }
}

struct Stage {
    coding: Coding,
    engine: Engine,
    /// At least one gzip member was whole: what follows is another, or rubbish.
    again: bool,
}

enum Engine {
    /// Not enough bytes yet to tell.
    Unborn(Vec<u8>),
    Flate(Decompress),
    Zstd(Box<ZstdDecoder<'static>>),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    /// Declared, but not so coded.
    Plain,
    /// Its stream is over.
    Ended,
}

impl Stage {
    /// Chooses the engine once enough bytes are there; returns the bytes it has to begin with.
    fn begin(&mut self, input: &mut &[u8]) -> Option<Vec<u8>> {
        let Engine::Unborn(start) = &mut self.engine else {
            return None;
        };
        let needed = match self.coding {
            Coding::Gzip | Coding::Deflate => 2,
            Coding::Zstd => 4,
            Coding::Brotli => 1,
        };
        let missing = needed.min(start.len().saturating_add(input.len())) - start.len();
        let (taken, rest) = input.split_at_checked(missing)?;
        start.extend_from_slice(taken);
        *input = rest;
        if start.len() < needed {
            return None;
        }
        let start = std::mem::take(start);
        self.engine = engine(self.coding, &start);
        if self.again && matches!(self.engine, Engine::Plain) {
            self.engine = Engine::Ended;
        }
        Some(start)
    }

    /// One call of the decoder: how much it produced, and whether to call again.
    fn step(
        &mut self,
        input: &mut &[u8],
        buffer: &mut [u8; PIECE_BYTES],
    ) -> Result<(usize, bool), Failure> {
        match &mut self.engine {
            Engine::Unborn(_) | Engine::Plain => Ok((0, false)),
            Engine::Ended => {
                *input = &[];
                Ok((0, false))
            }
            Engine::Flate(inflate) => {
                let (step, ended) = flate_step(inflate, input, buffer)?;
                if ended && self.coding == Coding::Gzip {
                    self.engine = Engine::Unborn(Vec::new());
                    self.again = true;
                } else if ended {
                    self.engine = Engine::Ended;
                }
                Ok(step)
            }
            Engine::Zstd(decoder) => zstd_step(decoder, input, buffer),
            Engine::Brotli(state) => {
                let (step, ended) = brotli_step(state, input, buffer)?;
                if ended {
                    self.engine = Engine::Ended;
                }
                Ok(step)
            }
        }
    }
}

/// `deflate` is zlib in the RFC (9110 §8.4.1.2) and raw in the world; both are told by the zlib header.
fn engine(coding: Coding, start: &[u8]) -> Engine {
    match (coding, start) {
        (Coding::Gzip, [0x1f, 0x8b]) => Engine::Flate(Decompress::new_gzip(15)),
        (Coding::Deflate, [first, second]) => {
            let check = u16::from_be_bytes([*first, *second]);
            let zlib = first & 0x0f == 8 && check.is_multiple_of(31);
            Engine::Flate(Decompress::new(zlib))
        }
        (Coding::Zstd, [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18]) => zstd_engine(),
        (Coding::Brotli, _) => Engine::Brotli(Box::new(BrotliState::new_strict(
            StandardAlloc::default(),
            StandardAlloc::default(),
            StandardAlloc::default(),
        ))),
        _ => Engine::Plain,
    }
}

fn zstd_engine() -> Engine {
    let Ok(mut decoder) = ZstdDecoder::new() else {
        return Engine::Ended;
    };
    match decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)) {
        Ok(()) => Engine::Zstd(Box::new(decoder)),
        Err(_) => Engine::Ended,
    }
}

type Stepped = ((usize, bool), bool);

fn flate_step(
    inflate: &mut Decompress,
    input: &mut &[u8],
    buffer: &mut [u8; PIECE_BYTES],
) -> Result<Stepped, Failure> {
    let (read, written) = (inflate.total_in(), inflate.total_out());
    let status =
        inflate.decompress(input, buffer, FlushDecompress::None).map_err(|_| Failure::Corrupt)?;
    let read = usize::try_from(inflate.total_in().wrapping_sub(read)).unwrap_or(0);
    let produced = usize::try_from(inflate.total_out().wrapping_sub(written)).unwrap_or(0);
    *input = input.get(read..).unwrap_or_default();
    let ended = status == Status::StreamEnd;
    Ok(((produced, !ended && produced == PIECE_BYTES), ended))
}

fn zstd_step(
    decoder: &mut ZstdDecoder<'static>,
    input: &mut &[u8],
    buffer: &mut [u8; PIECE_BYTES],
) -> Result<(usize, bool), Failure> {
    let mut from = InBuffer::around(input);
    let mut to = OutBuffer::around(&mut buffer[..]);
    decoder.run(&mut from, &mut to).map_err(|_| Failure::Corrupt)?;
    let (read, produced) = (from.pos(), to.pos());
    *input = input.get(read..).unwrap_or_default();
    let progress = read > 0 || produced > 0;
    Ok((produced, progress && (produced == PIECE_BYTES || !input.is_empty())))
}

fn brotli_step(
    state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    input: &mut &[u8],
    buffer: &mut [u8; PIECE_BYTES],
) -> Result<Stepped, Failure> {
    let (mut available_in, mut read) = (input.len(), 0);
    let (mut available_out, mut produced, mut total) = (PIECE_BYTES, 0, 0);
    let result = BrotliDecompressStream(
        &mut available_in,
        &mut read,
        input,
        &mut available_out,
        &mut produced,
        buffer,
        &mut total,
        state,
    );
    *input = input.get(read..).unwrap_or_default();
    match result {
        BrotliResult::ResultSuccess => Ok(((produced, false), true)),
        BrotliResult::NeedsMoreInput => Ok(((produced, false), false)),
        BrotliResult::NeedsMoreOutput => Ok(((produced, true), false)),
        BrotliResult::ResultFailure => Err(Failure::Corrupt),
    }
}
