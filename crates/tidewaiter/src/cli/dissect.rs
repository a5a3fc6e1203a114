//! `dissect`: every decoded thing of one capture, without state and without judgement.

use std::io::Write;

use anyhow::Context as _;
use tw_capture::Inputs;
use tw_model::{Observation, Secrets};

use super::Ended;
use super::args::Dissect;
use super::common;
use crate::engine::{Engine, Limits};
use crate::report::{Sources, escape, json, lines, links};

pub(crate) fn run(args: &Dissect) -> anyhow::Result<Ended> {
    let mut engine = Engine::new(Limits::default(), Secrets::Redact);
    engine.fingerprint();
    common::key_log(&args.reading, &mut |lines| engine.keys(lines))?;
    let mut inputs = Inputs::open(std::slice::from_ref(&args.capture))?;
    let sources = Sources::new(inputs.sources().to_vec());
    let writer = json::Writer::new(&sources, "dissect");
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut failed = None;
    let mut print = |observation: Observation| {
        if failed.is_none()
            && let Some(line) = lines::streamed(&writer, "", &observation)
        {
            failed = writeln!(out, "{line}").err();
        }
    };
    loop {
        let more = inputs.advance()?;
        if inputs.may_carry_secrets() {
            engine.await_keys();
            inputs.take_secrets().iter().for_each(|lines| engine.keys(lines));
        }
        let Some(frame) = inputs.frame().filter(|_| more) else { break };
        engine.push(&frame, &mut print);
    }
    engine.finish(&mut print);
    if let Some(error) = failed {
        return Err(error).context("cannot write to standard output");
    }
    out.flush().context("cannot write to standard output")?;
    let unread = links::unread(&engine.counters().wire.unknown_links);
    for warning in inputs.take_warnings().iter().map(ToString::to_string).chain(unread) {
        tracing::warn!("{}", escape::terminal(&warning));
    }
    Ok(Ended::Ran)
}
