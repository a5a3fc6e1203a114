//! Completions and the manual page, from the same argument table.

use std::io::Write;

use clap::CommandFactory;

use super::Ended;
use super::args::{Args, Completions};

pub(crate) fn completions(args: &Completions) -> anyhow::Result<Ended> {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "tidewaiter", &mut out);
    std::io::stdout().write_all(&out)?;
    Ok(Ended::Ran)
}

pub(crate) fn man() -> anyhow::Result<Ended> {
    let mut out = Vec::new();
    clap_mangen::Man::new(Args::command()).render(&mut out)?;
    std::io::stdout().write_all(&out)?;
    Ok(Ended::Ran)
}
