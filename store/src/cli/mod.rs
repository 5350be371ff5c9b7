//! The command line.

mod inspect;
mod numbers;
mod verify;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  store inspect caches/stories              what is in a cache, in one screen
  store inspect caches/stories --json       the same for a program
  store verify caches/stories               check every hash and checksum
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
    /// Show what is in a cache: model, data, sites, sizes.
    ///
    /// Reads the manifest alone, so it is quick on a cache of any size, and works while shards are being added.
    #[command(after_help = "\
Examples:
  store inspect caches/stories
  store inspect caches/stories --json | jq '.sites[] | {name, scale}'")]
    Inspect {
        /// The cache's folder.
        cache: PathBuf,
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Check every hash and checksum in a cache.
    ///
    /// Reads every byte of every file that the manifest answers for, decodes every row group, and names each damage by
    /// file and row group. Exits with 1 if there is any.
    #[command(after_help = "\
Examples:
  store verify caches/stories
  store verify caches/stories --json | jq -r '.damages[].file'
  store verify caches/stories && rsync -a caches/stories bucket:")]
    Verify {
        /// The cache's folder.
        cache: PathBuf,
        /// Print the report as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print a completion script for a shell.
    #[command(after_help = "\
Examples:
  store completions bash > ~/.local/share/bash-completion/completions/store
  store completions zsh > ~/.zfunc/_store
  store completions fish > ~/.config/fish/completions/store.fish")]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Does what the arguments say. Data goes to `stdout`, everything else to stderr.
pub(crate) fn run(arguments: Arguments, stdout: &mut dyn Write) -> anyhow::Result<()> {
    match arguments.command {
        Command::Inspect { cache, json } => inspect::run(&cache, json, stdout),
        Command::Verify { cache, json } => verify::run(&cache, json, stdout),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "store", &mut script);
            stdout.write_all(&script)?;
            Ok(())
        }
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
