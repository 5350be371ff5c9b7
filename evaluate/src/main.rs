//! `evaluate`: evaluates sparse autoencoders against caches.

mod cli;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use hayloft_evaluate::run as evaluate;
use hayloft_model::limit_threads;
use hayloft_terminal::{Progress, exit_code, log_to_stderr, print, print_completions};

use cli::{Arguments, Command};

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<()> {
    log_to_stderr();
    match Arguments::parse().command {
        Command::Run(arguments) => {
            if let Some(threads) = arguments.threads {
                limit_threads(threads);
            }
            let (out, json) = (arguments.out.clone(), arguments.json);
            let results = evaluate(&arguments.settings()?, Progress::on_stderr())?;
            if let Some(folder) = out {
                results.write(&folder)?;
                tracing::info!(folder = %folder.display(), "results written");
            }
            print(&if json { results.json().context("results cannot be written as JSON")? } else { results.table() })
        }
        Command::Completions { shell } => print_completions(shell, &mut Arguments::command()),
    }
}
