//! `send-exports`: sends the datagrams of `flow-costs` to a collector over UDP, at a steady rate.
//!
//! The time of export in them is that of their making: a collector that goes by the clock sees an exporter
//! whose clock is off.

use std::io::{self, Write};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use tw_bench::{ExportVersion, Exports};

/// Sends flow records over UDP at a steady rate
#[derive(Parser, Debug)]
struct Args {
    /// Address and port of the collector
    to: String,
    /// 5, 9 or 10
    #[arg(long, default_value_t = 9)]
    version: u8,
    /// Records a second
    #[arg(long, default_value_t = 500_000)]
    rate: u64,
    /// For so long
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Conversations under way
    #[arg(long, default_value_t = 100_000)]
    conversations: u32,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let version = match args.version {
        5 => ExportVersion::V5,
        9 => ExportVersion::V9,
        10 => ExportVersion::Ipfix,
        _ => anyhow::bail!("version 5, 9 or 10"),
    };
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(&args.to).with_context(|| format!("no way to {}", args.to))?;
    let mut exports = Exports::new(version, args.conversations);
    let begun = now();
    let (mut sent, mut datagrams, mut refused) = (0u64, 0u64, 0u64);
    while begun.elapsed() < Duration::from_secs(args.seconds) {
        let per_datagram = if version == ExportVersion::V5 { 30 } else { 32 };
        exports.round(|bytes| {
            refused += u64::from(socket.send(bytes).is_err());
            datagrams += 1;
            sent += per_datagram;
            // A millisecond's worth at a time.
            let due = Duration::from_nanos(sent.saturating_mul(1_000_000_000) / args.rate.max(1));
            let ahead = due.saturating_sub(begun.elapsed());
            if ahead > Duration::from_millis(1) {
                std::thread::sleep(ahead);
            }
        });
    }
    let seconds = begun.elapsed().as_secs_f64();
    writeln!(
        io::stdout(),
        "{datagrams} datagrams, about {sent} records in {seconds:.1} s, {:.0} a second, {refused} refused",
        f64::from(u32::try_from(sent / 1_000).unwrap_or(u32::MAX)) * 1_000.0 / seconds
    )?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "keeps a rate on this machine")]
fn now() -> Instant {
    Instant::now()
}
