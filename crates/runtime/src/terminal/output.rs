//! Result output and exit codes.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap_complete::Shell;

/// Width of a table where stdout is no terminal, and the least on a terminal.
const WIDTH: usize = 80;

/// The width that a table on stdout may have: that of the terminal, at least 80; 80 if stdout is no terminal.
pub fn stdout_width() -> usize {
    terminal_size::terminal_size_of(io::stdout()).map_or(WIDTH, |(width, _)| usize::from(width.0).max(WIDTH))
}

/// Prints a result and a newline to stdout. A broken pipe (`| head`) is not an error.
pub fn print(text: &str) -> Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}

/// Prints the completion script of a command for a shell.
pub fn print_completions(shell: Shell, command: &mut clap::Command) -> Result<()> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, command, name, &mut script);
    print(String::from_utf8_lossy(&script).trim_end())
}

/// The exit code of a program. An error is printed to stderr and gives a non-zero code.
pub fn exit_code(done: Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed stderr is ignored.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
