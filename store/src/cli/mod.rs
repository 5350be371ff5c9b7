//! The command line.

mod completions;
mod export;
mod import;
mod inspect;
mod numbers;
mod tokens_bar;
mod verify;

use std::io::{self, Write};

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  store inspect caches/stories              what is in a cache, in one screen
  store inspect caches/stories --json       the same for a program
  store verify caches/stories               check every hash and checksum
  store export caches/stories --to saelens --out stories-saelens
                                            what SAELens reads as cached_activations_path
  store import activations --from saelens --out caches/activations
                                            a cache of what SAELens wrote
  store completions bash > ~/.local/share/bash-completion/completions/store

A cache is made by `harvest run` and read by `evaluate run`. Its format is documented in the hayloft-store crate.";

/// Look into a cache of activations, and check that it is whole.
#[derive(Debug, Parser)]
#[command(name = "store", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Inspect(inspect::Inspect),
    Verify(verify::Verify),
    Export(Box<export::Export>),
    Import(Box<import::Import>),
    Completions(completions::Completions),
}

/// Does what the arguments say. Data goes to `stdout`, everything else to stderr.
pub(crate) fn run(arguments: Arguments, stdout: &mut dyn Write) -> anyhow::Result<()> {
    match arguments.command {
        Command::Inspect(command) => command.run(stdout),
        Command::Verify(command) => command.run(stdout),
        Command::Export(command) => command.run(stdout),
        Command::Import(command) => command.run(stdout),
        Command::Completions(command) => command.run(stdout),
    }
}

/// Whether an error is only that stdout's reader has gone.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io_error = |cause: &(dyn std::error::Error + 'static)| {
        let direct = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        direct.or_else(|| cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind))
    };
    error.chain().any(|cause| io_error(cause) == Some(io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn completions_are_printed() {
        let arguments = Arguments::parse_from(["store", "completions", "bash"]);
        let mut stdout = Vec::new();
        run(arguments, &mut stdout).unwrap();
        assert!(String::from_utf8(stdout).unwrap().contains("store__subcmd__verify"));
    }

    #[test]
    fn a_closed_pipe_is_told_apart() {
        let closed: anyhow::Error = io::Error::from(io::ErrorKind::BrokenPipe).into();
        assert!(is_closed_pipe(&closed.context("printing")));
        assert!(!is_closed_pipe(&io::Error::from(io::ErrorKind::NotFound).into()));
    }
}
