//! `harvest`: fills caches with a language model's activations.

mod cli;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use cli::{Arguments, Command};
use hayloft_harvest::{
    FetchSettings, ModelInspection, PlanSettings, fetch, plan, rollouts, run as harvest,
    run_profiled as harvest_profiled, show_sequences,
};
use hayloft_hub::{HubError, HubSettings, ModelFiles, model_folder};
use hayloft_model::limit_threads;
use hayloft_runtime::{Progress, Stopping, exit_code, log_to_stderr, print, print_completions};
use serde::Serialize;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<()> {
    log_to_stderr();
    match Arguments::parse().command {
        Command::Inspect(arguments) => {
            let model = ModelInspection::of(&found(&arguments.model, ModelFiles::Config)?, Progress::on_stderr())?;
            print(&if arguments.json { to_json(&model)? } else { model.to_string() })
        }
        Command::Plan(arguments) => {
            let (json, show) = (arguments.json, arguments.show);
            let mut settings = PlanSettings::try_from(arguments)?;
            settings.model = found(&settings.model, ModelFiles::Tokenizer)?;
            let summary = plan(&settings, Progress::on_stderr())?;
            if show > 0 {
                // With --json, standard output is for programs.
                let shown = show_sequences(&settings.out, &settings.model, show)?;
                if json { eprintln!("{shown}") } else { print(&shown)? }
            }
            print(&if json { to_json(&summary)? } else { summary.to_string() })
        }
        Command::Run(arguments) => {
            if let Some(threads) = arguments.threads {
                limit_threads(threads);
            }
            let stopping = Stopping::on_signals().context("signals cannot be listened to")?;
            if arguments.share.stop_on_eof {
                stopping.on_end_of_input().context("standard input cannot be listened to")?;
            }
            let (json, profile) = (arguments.json, arguments.profile.clone());
            let mut settings = arguments.settings(stopping)?;
            settings.model = found(&settings.model, ModelFiles::All)?;
            let summary = match profile {
                Some(file) => {
                    let (summary, profile) = harvest_profiled(&settings, Progress::on_stderr())?;
                    profile.show(&file)?;
                    summary
                }
                None => harvest(&settings, Progress::on_stderr())?,
            };
            // A program that asked for both forms as JSON has no use for words.
            if !json || Progress::on_stderr() != Progress::Json {
                eprintln!("{summary}");
            }
            if json { print(&to_json(&summary)?) } else { Ok(()) }
        }
        Command::Rollouts(arguments) => {
            if let Some(threads) = arguments.threads {
                limit_threads(threads);
            }
            let json = arguments.json;
            let mut settings = arguments.settings()?;
            settings.model = found(&settings.model, ModelFiles::All)?;
            let summary = rollouts(&settings, Progress::on_stderr())?;
            print(&if json { to_json(&summary)? } else { summary.to_string() })
        }
        Command::Fetch(arguments) => {
            let json = arguments.json;
            let summary = fetch(&FetchSettings::try_from(arguments)?, Progress::on_stderr())?;
            print(&if json { to_json(&summary)? } else { summary.to_string() })
        }
        Command::Completions { shell } => print_completions(shell, &mut Arguments::command()),
    }
}

/// Finds the folder of a model, fetching what is missing of an id.
fn found(model: &Path, files: ModelFiles) -> Result<PathBuf, HubError> {
    model_folder(model, files, HubSettings::from_environment, Progress::on_stderr())
}

fn to_json(summary: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(summary).context("the summary cannot be written as JSON")
}
