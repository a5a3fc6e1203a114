//! `replay`: captures to findings.

use std::io::Write;

use anyhow::Context as _;
use tw_model::{Observation, Secrets, Timestamp};
use tw_store::{How, Memory, Store};

use super::Ended;
use super::args::{Format, Replay};
use super::common::{self, Read};
use crate::files::{Files, Written};
use crate::pipeline::{Outcome, Pipeline};
use crate::report::case::Case;
use crate::report::{Sources, json, lines, stats, text};
use crate::settings::SettingsError;

pub(crate) fn run(args: &Replay) -> anyhow::Result<Ended> {
    check(args)?;
    let settings = common::settings(&args.place)?;
    let mut files = Files::prepare(args, &settings)?;
    let secrets =
        if args.show_secrets && common::to_terminal() { Secrets::Keep } else { Secrets::Redact };
    if args.learn {
        let dir = common::data_dir(&args.place)?;
        let store = Store::open(&dir, common::options(&settings))?;
        let pipeline = Pipeline::new(settings, store, How::Learned, secrets);
        let (mut outcome, read) = replay(args, &mut files, pipeline)?;
        super::learn::commit(&mut outcome, &read.sources)?;
        return finish(args, files, &outcome, &read);
    }
    let memory = common::overlay(&args.place, &settings)?;
    let pipeline = Pipeline::new(settings, memory, How::Observed, secrets);
    let (outcome, read) = replay(args, &mut files, pipeline)?;
    common::warn_of_no_store(&args.place);
    finish(args, files, &outcome, &read)
}

fn check(args: &Replay) -> Result<(), SettingsError> {
    let usage = |message: &str| Err(SettingsError::Usage(message.to_owned()));
    if args.all_events && args.format != Format::Json {
        return usage("--all-events needs --format json");
    }
    if args.show_secrets && (args.format != Format::Text || !common::to_terminal()) {
        return usage("--show-secrets works only with --format text on a terminal");
    }
    if args.show_secrets && args.report.is_some() {
        return usage(
            "--show-secrets shows secrets on the terminal only: leave it out to write a --report",
        );
    }
    Ok(())
}

fn replay<M: Memory>(
    args: &Replay,
    files: &mut Files,
    mut pipeline: Pipeline<M>,
) -> anyhow::Result<(Outcome<M>, Read)> {
    if args.all_events {
        pipeline.fingerprint();
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut stream = |sources: &Sources, environment: &str, observation: &Observation| {
        files.observe(observation);
        if !args.all_events {
            return Ok(());
        }
        let writer = json::Writer::new(sources, &args.sensor);
        if let Some(line) = lines::streamed(&writer, environment, observation) {
            writeln!(out, "{line}").context("cannot write to standard output")?;
        }
        Ok(())
    };
    let read = common::read(&args.captures, &args.reading, pipeline, &mut stream)?;
    out.flush().context("cannot write to standard output")?;
    Ok(read)
}

/// What was found is printed even where a file could not be written.
fn finish<M>(
    args: &Replay,
    files: Files,
    outcome: &Outcome<M>,
    read: &Read,
) -> anyhow::Result<Ended> {
    let reading = text::Reading {
        counters: outcome.counters.clone(),
        span: outcome.span,
        baseline: !outcome.case.lacks_baseline(),
        warnings: read.warnings.clone(),
    };
    let written = files.write(&read.sources, &outcome.case, &reading);
    print(args, outcome, read, &reading, written.as_ref().ok())?;
    written?;
    Ok(ended(args, &outcome.case))
}

fn print<M>(
    args: &Replay,
    outcome: &Outcome<M>,
    read: &Read,
    reading: &text::Reading,
    written: Option<&Written>,
) -> anyhow::Result<()> {
    match args.format {
        Format::Text => {
            let mut account = text::account(&outcome.case, &read.sources, reading);
            account.push_str(&written.map_or_else(String::new, Written::text));
            common::print(&account)
        }
        Format::Json => {
            let writer = json::Writer::new(&read.sources, &args.sensor);
            let mut all = String::new();
            for line in lines::sorted(&writer, &outcome.case) {
                all.push_str(&line);
                all.push('\n');
            }
            all.push_str(&stats::line(&writer, &run_of(args, outcome, read, written)));
            all.push('\n');
            common::print(&all)
        }
    }
}

fn run_of<'a, M>(
    args: &Replay,
    outcome: &'a Outcome<M>,
    read: &'a Read,
    written: Option<&'a Written>,
) -> stats::Run<'a> {
    stats::Run {
        counters: &outcome.counters,
        detector: &outcome.detector,
        audit: None,
        findings: outcome.case.by_severity().into_iter().collect(),
        sources: &read.sources,
        reached: &outcome.reached,
        committed: args.learn,
        warnings: &read.warnings,
        until: outcome.span.map_or(Timestamp::EPOCH, |(_, last)| last),
        elapsed: read.elapsed,
        files: written.filter(|written| !written.is_empty()),
    }
}

fn ended(args: &Replay, case: &Case) -> Ended {
    match (args.fail_on, case.worst()) {
        (Some(bar), Some(worst)) if worst >= bar => Ended::Found,
        _ => Ended::Ran,
    }
}
