//! `harvest`: fills caches with a language model's activations.

mod cli;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use hayloft_harvest::{PlanSettings, Progress, limit_threads, plan, run as harvest};
use serde::Serialize;
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
        Command::Plan(arguments) => {
            let json = arguments.json;
            let summary = plan(&PlanSettings::from(arguments), Progress::on_stderr())?;
            print(&if json { to_json(&summary)? } else { summary.to_string() })
        }
        Command::Run(arguments) => {
            if let Some(threads) = arguments.threads {
                limit_threads(threads);
            }
            let json = arguments.json;
            let summary = harvest(&arguments.settings()?, Progress::on_stderr())?;
            eprintln!("{summary}");
            if json { print(&to_json(&summary)?) } else { Ok(()) }
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "harvest", &mut script);
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

fn to_json(summary: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(summary).context("the summary cannot be written as JSON")
}

/// Prints a result. A reader that has gone away, such as `head`, wants no more of it.
fn print(text: &str) -> Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}
