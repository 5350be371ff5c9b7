//! Results, and how a program ends.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap_complete::Shell;

/// Prints a result to stdout, with a line end. A reader that has gone away, such as `head`, wants no more of it.
pub fn print(text: &str) -> Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}

/// Prints the script that completes a command line in a shell.
pub fn print_completions(shell: Shell, command: &mut clap::Command) -> Result<()> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, command, name, &mut script);
    print(String::from_utf8_lossy(&script).trim_end())
}

/// How a program that did this ends: an error goes to stderr, and makes the exit code non-zero.
pub fn exit_code(done: Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With stderr gone there is nobody to tell.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
