//! The command line.

mod bar;
mod completions;
mod diff;
mod export;
mod extend;
mod import;
mod inspect;
mod merge;
mod numbers;
mod output;
mod placed;
mod plan;
mod pull;
mod push;
mod remote;
mod repair;
mod select;
mod verify;

use std::io::{self, Write};

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  store inspect caches/stories              what is in a cache, in one screen
  store inspect caches/stories --json       the same for a program
  store verify caches/stories               check every hash and checksum
  store export caches/stories --to saelens --out stories-saelens
                                            a cache as SAELens reads it
  store import activations --from saelens --out caches/activations
                                            a cache of what SAELens wrote
  store diff caches/a caches/b              in what two caches differ
  store merge part-1 part-2 --out caches/c  several harvests of one plan as one
  store extend caches/c --with caches/d     more tokens, or another site
  store select caches/c --out one --site S  a smaller cache
  store repair caches/c                     restore or drop what is damaged
  store plan s3://farm/stories              what is planned, filled or not
  store push caches/stories s3://farm/stories           put it into a bucket
  store pull s3://farm/stories caches/stories           and get it from there
  store completions bash > ~/.local/share/bash-completion/completions/store

A cache is made by `harvest run` and read by `evaluate run`. Its format is
documented in the hayloft-store crate.";

/// Look into caches of activations, check them, move them, and take care of them.
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
    Diff(diff::Diff),
    Merge(merge::Merge),
    Extend(extend::Extend),
    Select(select::Select),
    Repair(repair::Repair),
    Plan(plan::Plan),
    Push(push::Push),
    Pull(pull::Pull),
    Completions(completions::Completions),
}

/// Does what the arguments say. Data goes to `stdout`, everything else to stderr.
pub(crate) fn run(arguments: Arguments, stdout: &mut dyn Write) -> anyhow::Result<()> {
    match arguments.command {
        Command::Inspect(command) => command.run(stdout),
        Command::Verify(command) => command.run(stdout),
        Command::Export(command) => command.run(stdout),
        Command::Import(command) => command.run(stdout),
        Command::Diff(command) => command.run(stdout),
        Command::Merge(command) => command.run(stdout),
        Command::Extend(command) => command.run(stdout),
        Command::Select(command) => command.run(stdout),
        Command::Repair(command) => command.run(stdout),
        Command::Plan(command) => command.run(stdout),
        Command::Push(command) => command.run(stdout),
        Command::Pull(command) => command.run(stdout),
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
        hayloft_store::check_arguments(&Arguments::command());
    }

    #[test]
    fn misspelt_words_are_answered_with_the_nearest() {
        for (line, meant) in [
            ("inspct cache", "inspect"),
            ("inspect cache --jsn", "--json"),
            ("select cache --out o --section rolout", "rollout?"),
        ] {
            let error = Arguments::try_parse_from(["store"].into_iter().chain(line.split(' '))).unwrap_err();
            assert!(error.to_string().contains(meant), "{line}: {error}");
        }
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
