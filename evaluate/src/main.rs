//! `evaluate`: evaluates sparse autoencoders against caches.

mod cli;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use hayloft_evaluate::{Progress, limit_threads, run as evaluate};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use cli::{Arguments, Command};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
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
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "evaluate", &mut script);
            print(String::from_utf8_lossy(&script).trim_end())
        }
    }
}

/// Logs to stderr what `RUST_LOG` asks for, by default what people want to know.
fn log_to_stderr() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
}

/// Prints a result. A reader that has gone away, such as `head`, wants no more of it.
fn print(text: &str) -> Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}
