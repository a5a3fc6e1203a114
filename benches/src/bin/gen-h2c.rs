//! `gen-h2c --builds N --out FILE`: a capture of BuildKit builds, most of it HTTP/2 in clear.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use tw_bench::write_h2c;

/// Makes a capture of BuildKit builds, most of it HTTP/2 in clear
#[derive(Parser, Debug)]
struct Args {
    /// Number of builds; 1,000 make some 120 MB
    #[arg(long, default_value_t = 1_000)]
    builds: u32,
    /// Where to write the capture
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The recorded builds that all builds are made from
    #[arg(long, value_name = "FILE", default_values = ["testdata/scenarios/buildx-grpc.pcap", "testdata/scenarios/buildkit-dns.pcap"])]
    recording: Vec<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let read =
        |path: &PathBuf| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let files: Vec<Vec<u8>> = args.recording.iter().map(read).collect::<anyhow::Result<_>>()?;
    let recordings: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let output =
        File::create(&args.out).with_context(|| format!("cannot write {}", args.out.display()))?;
    let output = BufWriter::with_capacity(1 << 20, output);
    let totals = write_h2c(&recordings, args.builds, output)?;
    writeln!(io::stderr(), "{} packets, {} bytes", totals.packets, totals.bytes)?;
    Ok(())
}
