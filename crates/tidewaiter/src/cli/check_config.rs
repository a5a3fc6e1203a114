//! `check-config`: says what is wrong in a configuration file and where.

use std::io::Write;

use super::Ended;
use super::args::CheckConfig;
use crate::settings::Settings;

pub(crate) fn run(args: &CheckConfig) -> anyhow::Result<Ended> {
    Settings::load(Some(&args.file), None)?;
    writeln!(std::io::stdout(), "{}: no errors", args.file.display())?;
    Ok(Ended::Ran)
}
