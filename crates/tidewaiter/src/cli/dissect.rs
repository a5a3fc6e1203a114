//! `dissect`: every decoded thing of one capture, without state and without judgement.

use std::io::Write;

use anyhow::Context as _;
use tw_capture::Inputs;
use tw_model::{Observation, Secrets};

use super::Ended;
use super::args::Dissect;
use crate::engine::{Engine, Limits};
use crate::report::{Sources, escape, json, lines, links};

pub(crate) fn run(args: &Dissect) -> anyhow::Result<Ended> {
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
    let mut engine = Engine::new(Limits::default(), Secrets::Redact);
    while let Some(frame) = inputs.next_frame()? {
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
