//! The `tidewaiter` program.

use std::process::ExitCode;

use clap::Parser;
use tidewaiter::cli;

/// Most of what is allocated here is small, lives as long as a connection, and is freed by the thread
/// that asked for it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main(cli::Args::parse())
}
