//! `learn`: captures of ordinary traffic to a store.

use std::fmt::Write as _;

use tw_model::{RecordNumber, Secrets};
use tw_store::{CommittedThrough, How, Store};

use super::Ended;
use super::args::Learn;
use super::common;
use crate::pipeline::{Outcome, Pipeline};
use crate::report::Sources;
use crate::report::case::Case;
use crate::report::escape::terminal;

pub(crate) fn run(args: &Learn) -> anyhow::Result<Ended> {
    let settings = common::settings(&args.place)?;
    let dir = common::data_dir(&args.place)?;
    let store = Store::open(&dir, common::options(&settings))?;
    let pipeline = Pipeline::new(settings, store, How::Learned, Secrets::Redact);
    let (mut outcome, read) =
        common::read(&args.captures, &args.reading, pipeline, &mut |_, _, _| Ok(()))?;
    commit(&mut outcome, &read.sources)?;
    let mut text = review(&outcome.case);
    let _ = writeln!(
        text,
        "learned from {} frames into {}",
        outcome.counters.frames,
        terminal(&dir.display().to_string())
    );
    common::print(&text)?;
    Ok(Ended::Ran)
}

/// Makes what was learned durable.
pub(crate) fn commit(outcome: &mut Outcome<Store>, sources: &Sources) -> anyhow::Result<()> {
    let through: Vec<CommittedThrough> = outcome
        .reached
        .iter()
        .map(|place| CommittedThrough {
            source: sources.name(place.source).to_owned(),
            record: match place.record {
                RecordNumber::Frame(number) | RecordNumber::Record(number) => number,
            },
            timestamp: place.timestamp,
        })
        .collect();
    outcome.memory.commit(&through)?;
    Ok(())
}

/// Every destination that became known inside a trigger's window, with caller and build: what an
/// attacker who was there before us would have us learn.
fn review(case: &Case) -> String {
    let mut text = String::new();
    let builds = case
        .builds
        .iter()
        .map(|told| (&told.body.id, told.body.client, &told.body.tags, &told.body.destinations));
    let creations = case
        .creations
        .iter()
        .map(|told| (&told.body.id, told.body.client, &told.body.tags, &told.body.destinations));
    for (id, client, tags, destinations) in builds.chain(creations) {
        for destination in destinations.iter().filter(|destination| !destination.known) {
            let mut names: Vec<&str> =
                destination.names.iter().map(|name| name.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let _ = writeln!(
                text,
                "learned inside a build: {} port {} {} (build {} of {}, asked by {client})",
                destination.ip,
                destination.port,
                terminal(&names.join(", ")),
                id.0,
                terminal(&tags.join(", ")),
            );
        }
    }
    text
}
