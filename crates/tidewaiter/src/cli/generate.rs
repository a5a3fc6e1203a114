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
    let mut program = Args::command();
    program.build();
    let mut out = Vec::new();
    page(&program, "tidewaiter", &mut out)?;
    std::io::stdout().write_all(&out)?;
    Ok(Ended::Ran)
}

/// The page of a command, and after it those of its own commands.
fn page(command: &clap::Command, title: &str, out: &mut Vec<u8>) -> std::io::Result<()> {
    let program = concat!("tidewaiter ", env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(command.clone()).title(title).source(program).render(out)?;
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        page(below, &format!("{title}-{}", below.get_name()), out)?;
    }
    Ok(())
}
