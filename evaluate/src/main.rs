//! `evaluate`: evaluates sparse autoencoders against caches.

mod cli;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{CommandFactory, Parser};
use hayloft_evaluate::train::{Finetuned, finetune, train};
use hayloft_evaluate::{
    MetricsChoice, Report, SaeInspection, Tolerances, Verdict, convert, read_expected, read_results, run as evaluate,
    run_profiled,
};
use hayloft_model::limit_threads;
use hayloft_terminal::{Progress, exit_code, log_to_stderr, print, print_completions};

use cli::{Arguments, Command, CompareArguments, ConvertArguments, InspectArguments, ReportArguments};

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
            let (out, json, profile) = (arguments.out.clone(), arguments.json, arguments.profile.clone());
            let (metrics, breakdowns) = (arguments.metrics, arguments.breakdowns.clone());
            let results = match profile {
                Some(file) => {
                    let (results, profile) = run_profiled(&arguments.settings()?, Progress::on_stderr())?;
                    profile.show(&file)?;
                    results
                }
                None => evaluate(&arguments.settings()?, Progress::on_stderr())?,
            };
            if let Some(folder) = out {
                results.write(&folder)?;
                tracing::info!(folder = %folder.display(), "results written");
            }
            print(&if json {
                results.json().context("results cannot be written as JSON")?
            } else {
                let mut tables = vec![results.table()];
                if metrics == MetricsChoice::All {
                    tables.push(results.details());
                }
                tables.extend(breakdowns.into_iter().map(|by| results.breakdown(by)));
                tables.join("\n")
            })
        }
        Command::Inspect(InspectArguments { sae, sae_format, json }) => {
            let inspection = SaeInspection::of(&sae, sae_format)?;
            let as_json = || serde_json::to_string_pretty(&inspection).context("it cannot be written as JSON");
            print(&if json { as_json()? } else { inspection.to_string() })
        }
        Command::Convert(ConvertArguments { sae, sae_format, out }) => {
            convert(&sae, sae_format, &out)?;
            tracing::info!(folder = %out.display(), "converted");
            Ok(())
        }
        Command::Train(arguments) => {
            if let Some(threads) = arguments.course.threads {
                limit_threads(threads);
            }
            let json = arguments.course.json;
            let summary = train(&arguments.settings()?, Progress::on_stderr())?;
            print(&if json {
                summary.json().context("the summary cannot be written as JSON")?
            } else {
                summary.to_string()
            })
        }
        Command::Finetune(arguments) => {
            if let Some(threads) = arguments.course.threads {
                limit_threads(threads);
            }
            let json = arguments.course.json;
            let Finetuned { results, .. } = finetune(&arguments.settings()?, Progress::on_stderr())?;
            print(&if json { results.json().context("results cannot be written as JSON")? } else { results.table() })
        }
        Command::Report(arguments) => report(&arguments),
        Command::Compare(arguments) => compare(&arguments),
        Command::Completions { shell } => print_completions(shell, &mut Arguments::command()),
    }
}

fn report(arguments: &ReportArguments) -> Result<()> {
    let report = Report::open(&arguments.experiment)?;
    let page = report.write(&arguments.out)?;
    tracing::info!(page = %page.display(), "report written");
    let summary = || report.summary().json().context("the summary cannot be written as JSON");
    print(if arguments.json { summary()? } else { report.table() }.trim_end())
}

fn compare(arguments: &CompareArguments) -> Result<()> {
    let (expected, measured) = (read_expected(&arguments.expected)?, read_results(&arguments.results)?);
    let found = hayloft_evaluate::compare(&expected, &measured, &Tolerances::new(&arguments.tolerances))?;
    let json = || serde_json::to_string_pretty(&found).context("the comparison cannot be written as JSON");
    print(&if arguments.json { json()? } else { found.table() })?;
    ensure!(found.count(Verdict::Agrees) == found.cells.len(), "{}", found.in_words());
    Ok(())
}
