//! `seen`: shows and changes what is remembered.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;

use anyhow::Context as _;
use tw_detect::Knowledge;
use tw_model::{Timestamp, Via};
use tw_store::{Forget, Format, How, RecordFilter, SeenAxis, Store, StoredKey, Why};

use super::Ended;
use super::args::{Filter, Seen, SeenCommand};
use super::common;
use crate::report::escape::terminal;
use crate::settings::{Settings, SettingsError};

/// Environment that commands without `--environment` change.
const DEFAULT: &str = "default";

pub(crate) fn run(args: &Seen) -> anyhow::Result<Ended> {
    let settings = common::settings(&args.place)?;
    let environment = args.place.environment.as_deref();
    match &args.command {
        SeenCommand::Stats => stats(&reader(args, &settings)?)?,
        SeenCommand::Query { key } => {
            query(&mut reader(args, &settings)?, environment.unwrap_or(DEFAULT), &parse(key)?)?;
        }
        SeenCommand::List(filter) => {
            export(&reader(args, &settings)?, &records(filter, environment)?, Format::JsonLines)?;
        }
        SeenCommand::Export { filter, csv } => {
            let format = if *csv { Format::Csv } else { Format::JsonLines };
            export(&reader(args, &settings)?, &records(filter, environment)?, format)?;
        }
        SeenCommand::Accept { key } => {
            let key = parse(key)?;
            writer(args, &settings)?.accept(environment.unwrap_or(DEFAULT), &key, now())?;
            common::print(&format!("accepted {} {}\n", key.axis(), terminal(&key.value())))?;
        }
        SeenCommand::Import { file } => {
            import(&mut writer(args, &settings)?, environment.unwrap_or(DEFAULT), file)?;
        }
        SeenCommand::Merge { from } => {
            let other = Store::open_read_only(from, common::options(&settings))?;
            let report = writer(args, &settings)?.merge(&other)?;
            let (rows, environments) = (report.rows, report.environments);
            common::print(&format!("{rows} rows of {environments} environments taken in\n"))?;
        }
        SeenCommand::Forget { filter, dry_run } => {
            forget(&mut writer(args, &settings)?, &records(filter, environment)?, *dry_run)?;
        }
        SeenCommand::Verify => verify(&reader(args, &settings)?)?,
    }
    Ok(Ended::Ran)
}

fn reader(args: &Seen, settings: &Settings) -> anyhow::Result<Store> {
    let dir = common::data_dir(&args.place)?;
    Ok(Store::open_read_only(&dir, common::options(settings))?)
}

fn writer(args: &Seen, settings: &Settings) -> anyhow::Result<Store> {
    let dir = common::data_dir(&args.place)?;
    Ok(Store::open(&dir, common::options(settings))?)
}

/// When the operator said so.
#[expect(clippy::disallowed_methods, reason = "the operator's word has no packet time")]
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::EPOCH.plus(since.unwrap_or_default())
}

fn parse(text: &str) -> Result<StoredKey, SettingsError> {
    text.parse().map_err(|error: tw_store::KeyError| SettingsError::Usage(error.to_string()))
}

fn records(filter: &Filter, environment: Option<&str>) -> Result<RecordFilter, SettingsError> {
    let axis = match &filter.axis {
        None => None,
        Some(text) => Some(axis(text)?),
    };
    Ok(RecordFilter {
        environment: environment.map(str::to_owned),
        axis,
        key: filter.key.as_deref().map(parse).transpose()?,
        host: filter.host,
        ..RecordFilter::default()
    })
}

fn axis(text: &str) -> Result<SeenAxis, SettingsError> {
    SeenAxis::ALL.into_iter().find(|axis| axis.to_string() == text).ok_or_else(|| {
        let all: Vec<String> = SeenAxis::ALL.iter().map(ToString::to_string).collect();
        SettingsError::Usage(format!("--axis {text}: expected one of {}", all.join(", ")))
    })
}

fn stats(store: &Store) -> anyhow::Result<()> {
    let stats = store.stats()?;
    let filters = &stats.filters;
    let mut text = String::new();
    for axis in &stats.axes {
        let since = axis.watched_since.map_or_else(|| "never".to_owned(), |at| at.to_string());
        let _ = writeln!(
            text,
            "{:<16} {:<12} {:>10} entries {:>10} host rows  baseline {}  watched since {since}",
            terminal(&axis.environment),
            axis.axis.to_string(),
            axis.entries,
            axis.host_rows,
            if axis.baseline { "yes" } else { "no" },
        );
    }
    let _ = writeln!(
        text,
        "filters: {} entries in {} shards, {} bytes, {:.2} bits an entry, fill {:.3}, {} damaged",
        filters.keys,
        filters.shards,
        filters.bytes,
        filters.bits_per_entry,
        filters.fill,
        filters.damaged
    );
    let _ = writeln!(
        text,
        "error probability: a filter says \"maybe\" of something never seen with a probability of {:.7}, which the database settles; what remains is {}",
        filters.false_maybe, filters.error_probability
    );
    let _ = writeln!(
        text,
        "disk: {} bytes; dropped {}, refused {}, unanswered {}",
        stats.disk_bytes,
        stats.dropped,
        stats.keys_refused.saturating_add(stats.directory_refused),
        stats.unavailable
    );
    common::print(&text)
}

fn query(store: &mut Store, environment: &str, key: &StoredKey) -> anyhow::Result<()> {
    let mut text = String::new();
    for key in std::iter::once(key.clone()).chain(as_caller(store, environment, key)?) {
        let what = format!("{} {}", key.axis(), terminal(&key.value()));
        let found = store.query(environment, &key, now())?;
        if found.is_empty() {
            let role = if key.axis() == SeenAxis::Address { " as a destination" } else { "" };
            let environment = terminal(environment);
            let _ = writeln!(text, "{what}: never seen{role} in environment {environment}");
        }
        for why in &found {
            let _ = writeln!(text, "{what}: {}", explain(why));
        }
    }
    common::print(&text)
}

/// Where an address stands as a caller of Docker APIs: who asks for one means that too.
fn as_caller(store: &Store, environment: &str, key: &StoredKey) -> anyhow::Result<Vec<StoredKey>> {
    let mut keys = Vec::new();
    if key.axis() != SeenAxis::Address {
        return Ok(keys);
    }
    let client = key.value();
    for axis in [SeenAxis::Caller, SeenAxis::Builder] {
        let filter = RecordFilter {
            environment: Some(environment.to_owned()),
            axis: Some(axis),
            ..RecordFilter::default()
        };
        store.list(&filter, |record| {
            let is_its = record.key.value().split(' ').next() == Some(client.as_str());
            if is_its && !keys.contains(&record.key) {
                keys.push(record.key.clone());
            }
        })?;
    }
    Ok(keys)
}

fn explain(why: &Why) -> String {
    let record = &why.record;
    let for_whom = record.host.map_or_else(
        || format!("environment {}", terminal(&record.environment)),
        |host| format!("host {host}"),
    );
    let standing = match &why.knowledge {
        Knowledge::Known => "known",
        Knowledge::Touched { .. } => "seen, but not known",
        Knowledge::Never => "does not count any more",
        Knowledge::Unwatched => "not judged yet: watched for too short a time",
        Knowledge::Unavailable => "not to be told: the database does not answer",
    };
    let how: Vec<&str> = record.how().map(reason).collect();
    let mut text = format!("{standing} to {for_whom}: {}", how.join(", "));
    let via: Vec<&str> = record.via().map(seen_in).collect();
    if !via.is_empty() {
        let _ = write!(text, ", in {}", via.join(" and "));
    }
    if let Some(first) = record.first_seen() {
        let by = record.first_seen_by().map_or_else(String::new, |by| format!(" by {by}"));
        let _ = write!(text, "; first {first}{by}");
    }
    if let Some(last) = record.last_seen() {
        let days = record.days();
        let _ = write!(text, "; last {last}; on {days} day{}", if days == 1 { "" } else { "s" });
    }
    if let Some(told) = record.told_at() {
        let _ = write!(text, "; entered {told}");
    }
    if record.is_in_finding() {
        text.push_str("; stands in a finding of medium or above");
    }
    text
}

const fn seen_in(via: Via) -> &'static str {
    match via {
        Via::Packets => "packets",
        Via::Netflow => "flow records",
    }
}

/// How it came to be remembered.
const fn reason(how: How) -> &'static str {
    match how {
        How::Observed => "observed",
        How::Learned => "learned from a baseline",
        How::Imported => "imported in a list",
        How::Accepted => "accepted by name",
    }
}

fn export(store: &Store, filter: &RecordFilter, format: Format) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    store.export(filter, format, &mut out)?;
    out.flush().context("cannot write to standard output")
}

fn import(store: &mut Store, environment: &str, file: &Path) -> anyhow::Result<()> {
    let mut list: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        let name = terminal(&file.display().to_string());
        Box::new(BufReader::new(
            std::fs::File::open(file).with_context(|| format!("cannot open {name}"))?,
        ))
    };
    let report = store.import(environment, &mut list, now())?;
    let mut text = String::new();
    for line in &report.first_rejected {
        let _ = writeln!(text, "line {}: {}", line.line, terminal(&line.reason));
    }
    let _ = writeln!(text, "{} lines taken in, {} rejected", report.taken, report.rejected);
    common::print(&text)
}

fn forget(store: &mut Store, filter: &RecordFilter, dry_run: bool) -> anyhow::Result<()> {
    let open = RecordFilter { environment: filter.environment.clone(), ..RecordFilter::default() };
    if *filter == open && !dry_run {
        return Err(SettingsError::Usage("forget needs a key, --axis or --host".to_owned()).into());
    }
    let mode = if dry_run { Forget::Rehearse } else { Forget::ForGood };
    let forgotten = store.forget(filter, mode)?;
    let verb = if dry_run { "would go" } else { "forgotten" };
    common::print(&format!(
        "{verb}: {} entries, {} host rows\n",
        forgotten.entries, forgotten.host_rows
    ))
}

fn verify(store: &Store) -> anyhow::Result<()> {
    let found = store.verify()?;
    if found.is_clean() {
        return common::print(&format!("{} entries, no errors\n", found.entries));
    }
    for problem in &found.database {
        common::print(&format!("database: {}\n", terminal(problem)))?;
    }
    anyhow::bail!(
        "{} entries missed by filters, {} damaged filters, {} lone host rows, {} malformed rows, {} database problems",
        found.missed_by_filters,
        found.damaged_filters,
        found.lone_host_rows,
        found.malformed_rows,
        found.database.len()
    )
}
