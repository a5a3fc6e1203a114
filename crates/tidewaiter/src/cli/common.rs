//! What several commands do alike: where the store is, reading captures, printing.

use std::io::{BufRead, BufReader, IsTerminal, Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tw_capture::Inputs;
use tw_model::Observation;
use tw_store::{Memory, Options, Overlay, Store};

use super::args::{Place, Reading};
use super::progress::Progress;
use crate::pipeline::{Outcome, Pipeline};
use crate::report::escape::terminal;
use crate::report::{Sources, links};
use crate::settings::{Settings, SettingsError};

/// A longer line is none of a key log's; it is read in pieces.
const KEY_LINE_BYTES: u64 = 4096;

/// Folder of the store: `--data-dir`, else the user's state folder.
pub(crate) fn data_dir(place: &Place) -> Result<PathBuf, SettingsError> {
    if let Some(dir) = &place.data_dir {
        return Ok(dir.clone());
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    state.or_else(home).map(|folder| folder.join("tidewaiter")).ok_or_else(|| {
        SettingsError::Usage("no HOME to keep the store in: give --data-dir".to_owned())
    })
}

pub(crate) fn settings(place: &Place) -> Result<Settings, SettingsError> {
    Settings::load(place.config.as_deref(), place.environment.as_deref())
}

pub(crate) fn options(settings: &Settings) -> Options {
    Options { rules: settings.rules, ..Options::default() }
}

/// A layer that is thrown away, over the store where there is one.
pub(crate) fn overlay(place: &Place, settings: &Settings) -> anyhow::Result<Overlay> {
    let dir = data_dir(place)?;
    let given = place.data_dir.is_some();
    if dir.exists() {
        let store = Store::open_read_only(&dir, options(settings));
        match store {
            Ok(store) => return Ok(Overlay::over(store)),
            Err(error) if given && !is_empty(&dir) => return Err(error.into()),
            Err(error) if !given => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(Overlay::empty(options(settings)))
}

/// Says so where a folder was named that has no store: a mistyped name looks like a missing baseline.
pub(crate) fn warn_of_no_store(place: &Place) {
    let Some(dir) = &place.data_dir else { return };
    if !dir.exists() || is_empty(dir) {
        tracing::warn!("no store in {}: nothing is known", terminal(&dir.display().to_string()));
    }
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

/// Reads the key log that was asked for, in pieces of whole lines. Says nothing of what is in it.
pub(crate) fn key_log(reading: &Reading, take: &mut dyn FnMut(&[u8])) -> anyhow::Result<()> {
    let Some(path) = &reading.keylog else { return Ok(()) };
    let cannot = || format!("cannot read key log {}", terminal(&path.display().to_string()));
    let mut file = BufReader::new(std::fs::File::open(path).with_context(cannot)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = file.by_ref().take(KEY_LINE_BYTES).read_until(b'\n', &mut line);
        if read.with_context(cannot)? == 0 {
            return Ok(());
        }
        take(&line);
    }
}

/// Reads all captures through a pipeline.
pub(crate) fn read<M: Memory>(
    captures: &[PathBuf],
    reading: &Reading,
    mut pipeline: Pipeline<M>,
    each: &mut dyn FnMut(&Sources, &str, &Observation) -> anyhow::Result<()>,
) -> anyhow::Result<(Outcome<M>, Read)> {
    key_log(reading, &mut |lines| pipeline.keys(lines))?;
    let mut inputs = Inputs::open(captures)?;
    let sources = Sources::new(inputs.sources().to_vec());
    let mut progress = Progress::new();
    let mut failed = None;
    let mut told = |environment: &str, observation: &Observation| {
        if failed.is_none() {
            failed = each(&sources, environment, observation).err();
        }
    };
    loop {
        let more = inputs.advance()?;
        if inputs.may_carry_secrets() {
            pipeline.await_keys();
            inputs.take_secrets().iter().for_each(|lines| pipeline.keys(lines));
        }
        let Some(frame) = inputs.frame().filter(|_| more) else { break };
        pipeline.push(&frame, &mut told);
        progress.tick(|| {
            let progress = inputs.progress();
            (progress.done_bytes, progress.total_bytes)
        });
    }
    progress.finish();
    let outcome = pipeline.finish(&mut told);
    if let Some(error) = failed {
        return Err(error);
    }
    let mut warnings: Vec<String> =
        inputs.take_warnings().iter().map(ToString::to_string).collect();
    warnings.extend(links::unread(&outcome.counters.wire.unknown_links));
    for warning in &warnings {
        tracing::warn!("{}", terminal(warning));
    }
    Ok((outcome, Read { sources, warnings, elapsed: progress.elapsed() }))
}

/// What reading left behind.
pub(crate) struct Read {
    pub(crate) sources: Sources,
    pub(crate) warnings: Vec<String>,
    pub(crate) elapsed: std::time::Duration,
}

/// Prints a whole text, with its styles only where standard output is a terminal.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = anstream::AutoStream::auto(std::io::stdout().lock());
    out.write_all(text.as_bytes()).context("cannot write to standard output")?;
    out.flush().context("cannot write to standard output")
}

/// Is standard output a terminal?
pub(crate) fn to_terminal() -> bool {
    std::io::stdout().is_terminal()
}
