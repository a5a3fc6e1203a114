//! `flow-costs`: what flow records cost, in nanoseconds of processor time each: the decoder alone,
//! joined into connections, with look-ups in a store, and with detector and learner as well.
//!
//! The datagrams are made before the clock runs. The kernel's count of processor time moves in ticks, so a
//! single round says little: the mean of all rounds and their median are told.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use tw_bench::{ExportVersion as Version, Exports};
use tw_detect::{Detector, Environments, Fact, Key, Learner, Policy, Seen};
use tw_model::{
    Connection, Endpoint, Evidence, Observation, ObservationBody, SourceId, Timestamp, Via,
};
use tw_netflow::{Collector, Datagram, Decoder, Limits, Told};
use tw_store::{How, Memory, Options, Store};

/// Measures what flow records cost
#[derive(Parser, Debug)]
struct Args {
    /// Conversations under way
    #[arg(long, default_value_t = 100_000)]
    conversations: u32,
    /// Entries of the store
    #[arg(long, default_value_t = 10_000_000)]
    entries: u32,
    /// Folder of the store; made where there is none, and kept
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Rounds of export that are measured, after six that are not
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Only the decoder and the join
    #[arg(long)]
    without_store: bool,
}

const ENVIRONMENT: &str = "default";

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut out = io::stdout().lock();
    writeln!(out, "{} conversations, ns a record (records a second)", args.conversations)?;
    for version in [Version::V5, Version::V9, Version::Ipfix] {
        let rounds = made(version, &args);
        report(&mut out, version, "decoder alone", &decoder(&rounds)?)?;
        report(&mut out, version, "joined", &joined(&rounds)?)?;
        if args.without_store {
            continue;
        }
        let folder = tempfile::tempdir()?;
        let path = args.store.clone().unwrap_or_else(|| folder.path().to_path_buf());
        let mut store = filled(&path, args.entries)?;
        report(&mut out, version, "joined, store asked", &asked(&rounds, &mut store)?)?;
        report(&mut out, version, "joined, detector and learner", &observed(&rounds, &mut store)?)?;
    }
    writeln!(out, "peak memory {} MB", peak_memory()? >> 10)?;
    Ok(())
}

/// One round of export: when, how many records, and the datagrams.
struct Round {
    at: Timestamp,
    records: u32,
    datagrams: Vec<Vec<u8>>,
}

/// Rounds before the table is as full as it stays.
const WARM_UP: usize = 6;

fn made(version: Version, args: &Args) -> Vec<Round> {
    let mut exports = Exports::new(version, args.conversations);
    (0..args.rounds + WARM_UP)
        .map(|_| {
            let at = Timestamp::from_secs_nanos(exports.time().into(), 0);
            let mut datagrams = Vec::new();
            let records = exports.round(|bytes| datagrams.push(bytes.to_vec()));
            Round { at, records, datagrams }
        })
        .collect()
}

/// Nanoseconds a record of each measured round.
fn measure(rounds: &[Round], mut each: impl FnMut(&Datagram<'_>)) -> anyhow::Result<Vec<u64>> {
    let exporter = Endpoint::new(IpAddr::from(Ipv4Addr::new(10, 255, 0, 1)), 50_000);
    let mut costs = Vec::new();
    for (index, round) in rounds.iter().enumerate() {
        let evidence = Evidence::frame(SourceId(0), 1, round.at);
        let before = processor_nanos()?;
        for bytes in &round.datagrams {
            each(&Datagram { exporter, bytes, evidence });
        }
        if index >= WARM_UP {
            let spent = processor_nanos()?.saturating_sub(before);
            costs.push(spent * 10 / u64::from(round.records).max(1));
        }
    }
    Ok(costs)
}

fn decoder(rounds: &[Round]) -> anyhow::Result<Vec<u64>> {
    let mut decoder = Decoder::new(Limits::default());
    let mut bytes = 0u64;
    let costs = measure(rounds, |datagram| {
        decoder.push(datagram, &mut |record, _| bytes += record.forward.bytes.unwrap_or(0));
    })?;
    anyhow::ensure!(bytes > 0, "nothing was decoded");
    Ok(costs)
}

fn joined(rounds: &[Round]) -> anyhow::Result<Vec<u64>> {
    let mut collector = Collector::new(Limits::default());
    let mut told = 0u64;
    let costs = measure(rounds, |datagram| {
        collector
            .push(datagram, &mut |what| told += u64::from(matches!(what, Told::Connection(..))));
    })?;
    anyhow::ensure!(told > 0 && collector.counters().repeated == 0, "nothing was joined");
    Ok(costs)
}

fn asked(rounds: &[Round], store: &mut Store) -> anyhow::Result<Vec<u64>> {
    let mut collector = Collector::new(Limits::default());
    let mut baselines = 0u64;
    measure(rounds, |datagram| {
        collector.push(datagram, &mut |what| {
            let Told::Connection(c, _) = what else { return };
            let key = Key::Address(c.responder.ip);
            let answer = store.ask(ENVIRONMENT, c.opener.ip, key, c.first);
            baselines += u64::from(answer.baseline);
        });
    })
}

fn observed(rounds: &[Round], store: &mut Store) -> anyhow::Result<Vec<u64>> {
    let mut collector = Collector::new(Limits::default());
    let mut detector = Detector::new(Policy::default(), Environments::default());
    let mut learner = Learner::new(Environments::default());
    measure(rounds, |datagram| {
        collector.push(datagram, &mut |what| {
            let Told::Connection(connection, evidence) = what else { return };
            let observation = observation(*connection, evidence);
            learner.push(&observation, &mut |fact| store.record(&fact, How::Observed));
            detector.push(observation, store, &mut |_| {});
        });
    })
}

fn observation(connection: Connection, evidence: Vec<Evidence>) -> Observation {
    Observation { at: connection.last, evidence, body: ObservationBody::Connection(connection) }
}

/// A store with so many addresses that a host of the records' network has contacted.
fn filled(folder: &std::path::Path, entries: u32) -> anyhow::Result<Store> {
    let mut store = Store::open(folder, Options::default())?;
    if store.filter_stats().keys >= u64::from(entries) {
        return Ok(store);
    }
    let host = IpAddr::from(Ipv4Addr::new(10, 0, 0, 5));
    let at = Timestamp::from_secs_nanos(1_795_000_000, 0);
    for number in 0..entries {
        // Scattered over the address space; an odd factor makes it one to one.
        let ip = Ipv4Addr::from(number.wrapping_mul(2_654_435_761));
        let key = Key::Address(ip.into());
        store.record(
            &Fact { environment: ENVIRONMENT, host, key, at, via: Via::Netflow },
            How::Learned,
        );
    }
    store.commit(&[])?;
    store.rebuild()?;
    Ok(store)
}

fn report(out: &mut impl Write, version: Version, name: &str, costs: &[u64]) -> io::Result<()> {
    let mut costs = costs.to_vec();
    costs.sort_unstable();
    let rounds = u64::try_from(costs.len()).unwrap_or(u64::MAX).max(1);
    let mean = (costs.iter().sum::<u64>() / rounds).max(1);
    let median = costs.get(costs.len() / 2).copied().unwrap_or_default().max(1);
    write!(out, "{:<6} {name:<30}", format!("{version:?}"))?;
    for (what, tenths) in [("mean", mean), ("median", median)] {
        let (whole, part) = (10_000 / tenths, 1_000_000 / tenths % 100);
        write!(out, "  {what} {:>5}.{} ({whole:>3}.{part:02} M/s)", tenths / 10, tenths % 10)?;
    }
    writeln!(out)
}

/// Time that this thread has spent on a processor: `proc(5)`, `/proc/pid/schedstat`.
fn processor_nanos() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").context("needs Linux")?;
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().context("an odd schedstat")
}

/// In KiB: `proc(5)`, `VmHWM`.
fn peak_memory() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/self/status").context("needs Linux")?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM")?;
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse().context("an odd VmHWM")
}
