//! The command line: what can be asked, and the exit status of each answer.

pub(crate) mod args;
mod audit;
mod check_config;
mod collector;
pub(crate) mod common;
mod dissect;
mod generate;
mod learn;
pub(crate) mod progress;
mod replay;
mod seen;

use std::process::ExitCode;

pub use args::Args;
use args::Command;
pub(crate) use audit::judge;

use crate::settings::SettingsError;

/// How a command ended.
pub(crate) enum Ended {
    /// It ran, whatever was found.
    Ran,
    /// `--fail-on` was given and something was found.
    Found,
}

/// Runs a command; errors are told on standard error in one line.
#[must_use]
pub fn main(args: Args) -> ExitCode {
    log(args.verbose);
    let ended = match args.command {
        Command::Replay(replay) => replay::run(&replay),
        Command::Learn(learn) => learn::run(&learn),
        Command::Collector(collector) => collector::run(&collector),
        Command::Audit(audit) => audit::run(&audit),
        Command::Dissect(dissect) => dissect::run(&dissect),
        Command::Seen(seen) => seen::run(&seen),
        Command::CheckConfig(check) => check_config::run(&check),
        Command::Completions(completions) => generate::completions(&completions),
        Command::Man => generate::man(),
    };
    match ended {
        Ok(Ended::Ran) => ExitCode::SUCCESS,
        Ok(Ended::Found) => ExitCode::from(3),
        Err(error) if broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidewaiter: {}", crate::report::escape::terminal(&format!("{error:#}")));
            ExitCode::from(if error.is::<SettingsError>() { 2 } else { 1 })
        }
    }
}

/// The reader of our output went away: that is its choice, not our failure.
fn broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Warnings and above to standard error, in one line each; more with `-v`, or as `RUST_LOG` says.
fn log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr())
        && is_colour_wanted(std::env::var_os("NO_COLOR").as_deref());
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .without_time()
        .try_init();
}

/// <https://no-color.org>: not where it is set to anything. The standard output keeps to it by itself.
fn is_colour_wanted(no_color: Option<&std::ffi::OsStr>) -> bool {
    no_color.is_none_or(std::ffi::OsStr::is_empty)
}

#[cfg(test)]
mod tests {
    use super::is_colour_wanted;

    #[test]
    fn no_color_is_kept_to() {
        assert!(is_colour_wanted(None));
        assert!(is_colour_wanted(Some("".as_ref())));
        assert!(!is_colour_wanted(Some("1".as_ref())));
    }
}
