//! `learn`: captures of ordinary traffic to a store.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::net::IpAddr;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;
use tw_model::{BuildId, Destination, Endpoint, RecordNumber, Secrets, Timestamp};
use tw_store::{CommittedThrough, How, Store};

use super::Ended;
use super::args::Learn;
use super::common;
use crate::pipeline::{Outcome, Pipeline};
use crate::report::Sources;
use crate::report::case::Case;
use crate::report::escape::terminal;
use crate::settings::Settings;

/// File in the data folder that keeps what was learned inside a trigger's window.
const KEPT: &str = "learned-in-builds.jsonl";

pub(crate) fn run(args: &Learn) -> anyhow::Result<Ended> {
    let settings = common::settings(&args.place)?;
    if let Some(list) = &args.review {
        return review(args, settings, list);
    }
    let dir = common::data_dir(&args.place)?;
    let store = Store::open(&dir, common::options(&settings))?;
    let pipeline = Pipeline::new(settings, store, How::Learned, Secrets::Redact);
    let (mut outcome, read) =
        common::read(&args.captures, &args.reading, pipeline, &mut |_, _, _| Ok(()))?;
    commit(&mut outcome, &read.sources)?;
    let inside = inside_builds(&outcome.case);
    keep(&dir, &inside)?;
    let mut text = told(&inside);
    let frames = outcome.counters.frames;
    let place = terminal(&dir.display().to_string());
    let _ = writeln!(text, "learned from {frames} frames into {place}");
    common::print(&text)?;
    Ok(Ended::Ran)
}

/// Writes what would be learned, the doubtful destinations first and as comments.
fn review(args: &Learn, settings: Settings, list: &Path) -> anyhow::Result<Ended> {
    let name = terminal(&list.display().to_string());
    let memory = common::overlay(&args.place, &settings)?;
    let pipeline = Pipeline::new(settings, memory, How::Learned, Secrets::Redact);
    let (outcome, _) =
        common::read(&args.captures, &args.reading, pipeline, &mut |_, _, _| Ok(()))?;
    let text = told(&inside_builds(&outcome.case));
    let file = File::create(list).with_context(|| format!("cannot write {name}"))?;
    let mut file = BufWriter::new(file);
    for line in text.lines() {
        writeln!(file, "# {line}").with_context(|| format!("cannot write {name}"))?;
    }
    let lines = outcome.memory.export(&mut file)?;
    file.flush().with_context(|| format!("cannot write {name}"))?;
    common::print(&format!(
        "{text}{lines} lines written to {name}: delete what must not become known, then `tidewaiter seen import`\n"
    ))?;
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

/// A destination that became known inside a trigger's window: what an attacker who was there before
/// us would have us learn.
#[derive(Serialize)]
struct Inside {
    timestamp: Timestamp,
    environment: String,
    docker_host: String,
    client: IpAddr,
    build: String,
    tags: Vec<String>,
    destination: IpAddr,
    port: u16,
    names: Vec<String>,
}

fn inside_builds(case: &Case) -> Vec<Inside> {
    let builds = case.builds.iter().flat_map(|told| {
        let body = &told.body;
        let made = (&body.id, body.client, body.daemon, &body.tags);
        body.destinations.iter().map(move |to| inside(&told.environment, made, to))
    });
    let creations = case.creations.iter().flat_map(|told| {
        let body = &told.body;
        let made = (&body.id, body.client, body.daemon, &body.tags);
        body.destinations.iter().map(move |to| inside(&told.environment, made, to))
    });
    builds.chain(creations).flatten().collect()
}

fn inside(
    environment: &str,
    (id, client, daemon, tags): (&BuildId, IpAddr, Endpoint, &Vec<String>),
    to: &Destination,
) -> Option<Inside> {
    let mut names: Vec<String> = to.names.iter().map(|entry| entry.name.clone()).collect();
    names.sort_unstable();
    names.dedup();
    (!to.known).then(|| Inside {
        timestamp: to.first,
        environment: environment.to_owned(),
        docker_host: daemon.to_string(),
        client,
        build: id.0.clone(),
        tags: tags.clone(),
        destination: to.ip,
        port: to.port,
        names,
    })
}

/// Appends to the file that keeps them, so that they can be looked at later.
fn keep(dir: &Path, inside: &[Inside]) -> anyhow::Result<()> {
    if inside.is_empty() {
        return Ok(());
    }
    let mut lines = String::new();
    for entry in inside {
        lines.push_str(&serde_json::to_string(entry)?);
        lines.push('\n');
    }
    let path = dir.join(KEPT);
    let name = terminal(&path.display().to_string());
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let mut file = file.with_context(|| format!("cannot write {name}"))?;
    file.write_all(lines.as_bytes()).with_context(|| format!("cannot write {name}"))
}

fn told(inside: &[Inside]) -> String {
    let mut text = String::new();
    for entry in inside {
        let names = match entry.names.as_slice() {
            [] => String::new(),
            names => format!(" ({})", names.join(", ")),
        };
        let line = format!(
            "learned inside a build: {} port {}{names}, build {} of {}, asked by {}",
            entry.destination,
            entry.port,
            entry.build,
            if entry.tags.is_empty() {
                "an unnamed image".to_owned()
            } else {
                entry.tags.join(", ")
            },
            entry.client
        );
        let _ = writeln!(text, "{}", terminal(&line));
    }
    text
}
