//! `stage-costs FILE`: where the time goes, in nanoseconds of processor time a packet, stage by stage.
//!
//! Runs the capture through one stage more each time: reading, decoding, the connection table, the
//! whole engine, and detector, learner and memory behind it. What a stage costs is the difference
//! to the run without it. The runs alternate, and each number is the median of the rounds.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use tidewaiter::engine::{Engine, Limits};
use tw_capture::Inputs;
use tw_detect::{Detector, Environments, Learner, Policy};
use tw_model::{Observation, Secrets};
use tw_store::{How, Memory, Options, Overlay, Store};
use tw_stream::{Interest, StreamEvent, Table};
use tw_wire::{Decoded, Decoder, Frame};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures where the time of a replay goes
#[derive(Parser, Debug)]
struct Args {
    /// A capture
    capture: PathBuf,
    /// A store to judge by; without it, an empty one
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Runs of each stage
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// What is run, each containing the one before.
const STAGES: [(&str, Stage); 6] = [
    ("read", read),
    ("decode", decode),
    ("connection table, counting only", table),
    ("readers and Docker semantics", engine),
    ("detector, learner and memory", observe),
    ("judgement at the end", judge),
];

type Stage = fn(&Args) -> anyhow::Result<u64>;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut times = vec![Vec::new(); STAGES.len()];
    let mut packets = 1;
    for _ in 0..args.rounds.max(1) {
        for ((_, stage), times) in STAGES.iter().zip(&mut times) {
            let before = processor_nanos()?;
            packets = stage(&args)?.max(1);
            times.push(processor_nanos()?.saturating_sub(before));
        }
    }
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{packets} packets; nanoseconds a packet, median of {} runs",
        args.rounds.max(1)
    )?;
    let mut before = 0;
    for ((name, _), times) in STAGES.iter().zip(&mut times) {
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default() / packets;
        writeln!(out, "{name:<34} {:>6} {median:>6} in all", median.saturating_sub(before))?;
        before = median;
    }
    Ok(())
}

/// Time that this thread has spent on a processor, in user mode and in the kernel: wall time means
/// little on a machine that others use too. `proc(5)`, `/proc/pid/schedstat`.
fn processor_nanos() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").context("needs Linux")?;
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().context("an odd schedstat")
}

fn each_frame(capture: &Path, mut each: impl FnMut(&Frame<'_>)) -> anyhow::Result<u64> {
    let mut inputs = Inputs::open(&[capture.to_path_buf()])?;
    let mut frames = 0;
    while let Some(frame) = inputs.next_frame()? {
        frames += 1;
        each(&frame);
    }
    Ok(frames)
}

fn read(args: &Args) -> anyhow::Result<u64> {
    each_frame(&args.capture, |_| {})
}

fn decode(args: &Args) -> anyhow::Result<u64> {
    let mut decoder = Decoder::new(tw_wire::Limits::default());
    each_frame(&args.capture, |frame| decoder.push(frame, &mut |_| {}))
}

fn table(args: &Args) -> anyhow::Result<u64> {
    let mut decoder = Decoder::new(tw_wire::Limits::default());
    let mut table = Table::<()>::new(tw_stream::Limits::default());
    each_frame(&args.capture, |frame| {
        decoder.push(frame, &mut |decoded| {
            let Decoded::Packet(packet) = decoded else { return };
            table.push(&packet, &mut |flow, _, event| {
                if event == StreamEvent::Open {
                    flow.interest = Interest::Counts;
                }
            });
        });
    })
}

fn engine(args: &Args) -> anyhow::Result<u64> {
    let mut engine = Engine::new(Limits::default(), Secrets::Redact);
    let frames = each_frame(&args.capture, |frame| engine.push(frame, &mut |_| {}))?;
    engine.finish(&mut |_| {});
    Ok(frames)
}

fn observe(args: &Args) -> anyhow::Result<u64> {
    run(args).map(|(frames, _, _)| frames)
}

fn judge(args: &Args) -> anyhow::Result<u64> {
    let (frames, mut detector, mut memory) = run(args)?;
    detector.finish(&mut memory, &mut |_| {});
    Ok(frames)
}

/// As `tidewaiter replay` does it.
fn run(args: &Args) -> anyhow::Result<(u64, Detector, Overlay)> {
    let mut memory = match &args.data_dir {
        Some(dir) => Overlay::over(Store::open_read_only(dir, Options::default())?),
        None => Overlay::empty(Options::default()),
    };
    let mut detector = Detector::new(Policy::default(), Environments::default());
    let mut learner = Learner::new(Environments::default());
    let mut engine = Engine::new(Limits::default(), Secrets::Redact);
    let mut observe = |observation: Observation| {
        learner.push(&observation, &mut |fact| memory.record(&fact, How::Observed));
        detector.push(observation, &mut memory, &mut |_| {});
    };
    let frames = each_frame(&args.capture, |frame| engine.push(frame, &mut observe))?;
    engine.finish(&mut observe);
    Ok((frames, detector, memory))
}
