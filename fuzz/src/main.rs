//! The `fuzz` command: made-up files for every reader.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use hayloft_fuzz::{Campaign, TARGETS, Target, TargetReport, Work, campaign, replay, seeds, target, work};

const EXAMPLES: &str = "\
Examples:
  fuzz --seconds 60                              every target, a minute in all
  fuzz --seconds 600 --target activations        one target for ten minutes
  fuzz --seconds 60 --seed 7 --json              other inputs; the figures for a program
  fuzz --replay fuzz/corpus/zstd/three           one saved input again
  fuzz --write-seeds                             write the seeds of the corpus anew

Failing inputs are saved in target/fuzz-failures/TARGET/. The exit code is 1 if there are any.";

/// Feed made-up files to every reader of untrusted files, and say which of them it does not survive.
#[derive(Debug, Parser)]
#[command(name = "fuzz", version, after_help = EXAMPLES)]
struct Arguments {
    /// How long, in seconds, over all targets.
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    seconds: f64,
    /// Only this target; may be given several times.
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// What the inputs depend on.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Targets that run at the same time, each on one thread.
    #[arg(long, default_value_t = 2, value_name = "COUNT")]
    workers: usize,
    /// Where failing inputs are saved.
    #[arg(long, default_value = "target/fuzz-failures", value_name = "FOLDER")]
    failures: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Run one saved input again and say what became of it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "write_seeds"])]
    replay: Option<PathBuf>,
    /// Write the seeds of the corpus anew, by the writers of this version.
    #[arg(long)]
    write_seeds: bool,
    /// Be the worker of a target.
    #[arg(long, hide = true, requires = "current")]
    work: Option<String>,
    /// The worker's file for the input being run.
    #[arg(long, hide = true)]
    current: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all went well.
fn run(arguments: Arguments) -> Result<bool> {
    let time = Duration::try_from_secs_f64(arguments.seconds).context("--seconds: expected a length of time")?;
    if let (Some(name), Some(current)) = (&arguments.work, arguments.current) {
        let (target, failures) = (named(name)?, arguments.failures);
        work(&Work { target, seed: arguments.seed, time, current, failures }, &mut io::stdout().lock())?;
        return Ok(true);
    }
    if let Some(file) = arguments.replay {
        print(&replay(&file, arguments.target.first().map(String::as_str))?);
        return Ok(true);
    }
    if arguments.write_seeds {
        print(&format!("{} seeds written", seeds::write()?));
        return Ok(true);
    }
    let named: Vec<&'static Target> = arguments.target.iter().map(|name| named(name)).collect::<Result<_>>()?;
    let targets = if named.is_empty() { TARGETS.iter().collect() } else { named };
    let workers = arguments.workers.max(1);
    let failures = arguments.failures;
    let reports = campaign(&Campaign { targets, time, seed: arguments.seed, workers, failures })?;
    print(&if arguments.json { serde_json::to_string_pretty(&reports)? } else { table(&reports) });
    Ok(reports.iter().all(|report| report.failures.is_empty()))
}

fn named(name: &str) -> Result<&'static Target> {
    let Some(target) = target(name) else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        bail!("--target: expected one of {}, got {name}", names.join(", "));
    };
    Ok(target)
}

fn table(reports: &[TargetReport]) -> String {
    let mut lines =
        vec![format!("{:<18}{:>12}{:>12}{:>10}{:>10}", "target", "executions", "a second", "inputs", "failures")];
    for TargetReport { target, executions, per_second, inputs, failures } in reports {
        lines.push(format!("{target:<18}{executions:>12}{per_second:>12.0}{inputs:>10}{:>10}", failures.len()));
    }
    for failure in reports.iter().flat_map(|report| &report.failures) {
        lines.push(format!("\n{}\n  replay: fuzz --replay {}", failure.problem, failure.file.display()));
    }
    lines.join("\n")
}

#[expect(clippy::print_stdout, reason = "the one place that prints results")]
fn print(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
