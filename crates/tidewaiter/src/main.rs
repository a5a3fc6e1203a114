//! The `tidewaiter` program.

use std::process::ExitCode;

use clap::Parser;
use tidewaiter::cli;

fn main() -> ExitCode {
    cli::main(cli::Args::parse())
}
