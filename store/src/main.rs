//! The `store` command: what is in a cache, and whether it is whole.

mod cli;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use hayloft_runtime::{exit_code, log_to_stderr};

use crate::cli::Arguments;

fn main() -> ExitCode {
    log_to_stderr();
    exit_code(match cli::run(Arguments::parse(), &mut io::stdout().lock()) {
        // The reader of the output has closed it, as in `store inspect cache | head -1`.
        Err(error) if cli::is_closed_pipe(&error) => Ok(()),
        done => done,
    })
}
