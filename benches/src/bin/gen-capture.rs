//! `gen-capture --flows N --seed S --out FILE`: a large capture, and beside it what must be found.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use tw_bench::{Packets, Sessions, write_mix};

/// Makes a capture of an office's traffic with Docker builds in it
#[derive(Parser, Debug)]
struct Args {
    /// Number of flows; 200,000 make some 3 million packets, 1.8 GB
    #[arg(long, default_value_t = 10_000)]
    flows: u64,
    /// The same seed gives the same bytes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Bodies in short packets, 84 bytes on average
    #[arg(long)]
    short: bool,
    /// Where to write the capture; the truth is written beside it, as `.truth.json`
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The recorded build that all builds are made from
    #[arg(long, value_name = "FILE", default_value = "testdata/scenarios/classic-http.pcap")]
    recording: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let name = args.recording.display();
    let recording = fs::read(&args.recording).with_context(|| format!("cannot read {name}"))?;
    let mut sessions =
        Sessions::new(&recording).with_context(|| format!("{name} is no capture of builds"))?;

    let output =
        File::create(&args.out).with_context(|| format!("cannot write {}", args.out.display()))?;
    let output = BufWriter::with_capacity(1 << 20, output);
    let packets = if args.short { Packets::Short } else { Packets::Full };
    let totals = write_mix(args.flows, args.seed, packets, &mut sessions, output)?;

    let truth = sessions.into_truth();
    let path = args.out.with_extension("truth.json");
    fs::write(&path, format!("{:#}\n", truth.to_json()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(
        io::stderr(),
        "{} flows, {} packets, {} bytes, {} destinations to be found",
        totals.flows,
        totals.packets,
        totals.bytes,
        truth.findings()
    )?;
    Ok(())
}
