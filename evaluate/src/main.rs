//! `evaluate`: evaluates sparse autoencoders against caches.

mod cli;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::{CommandFactory, Parser};
use cli::{
    Arguments, BrowseArguments, Command, CompareArguments, ConvertArguments, InspectArguments, LatentsArguments,
    Matching, MergeArguments, ReportArguments, RunArguments, SaeLayout, SweepArguments,
};
use hayloft_browser::{Comparison, Explanations, Match, Page, PageSummary, SaeCounts, Sources};
use hayloft_evaluate::{
    Finetuned, LatentsReport, PartKind, PartialError, RunSettings, SaeSearch, find_parts, find_saes, finetune, latents,
    latents_part, matches_by_cosine, merge, merge_latents, prepare_baselines, run as evaluate, run_part,
    run_part_profiled, run_profiled,
};
use hayloft_hub::{HubError, HubSettings, ModelFiles, model_folder};
use hayloft_model::limit_threads;
use hayloft_report::{Experiment, Report, Tolerances, Verdict, read_expected, read_results};
use hayloft_results::{Breakdown, MetricsChoice, Results, unique_names};
use hayloft_runtime::{
    Progress, TextTable, exit_code, log_to_stderr, print, print_completions, stdout_width, write_whole,
};
use hayloft_sae::{SaeFile, SaeInspection, convert, convert_to_normalised};
use hayloft_train::train;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<()> {
    log_to_stderr();
    match Arguments::parse().command {
        Command::Run(arguments) => run_command(*arguments),
        Command::Merge(arguments) => merge_parts(arguments),
        Command::Latents(arguments) => latents_command(*arguments),
        Command::Browse(arguments) => browse(&arguments),
        Command::Inspect(arguments) => inspect(arguments),
        Command::Convert(arguments) => convert_all(arguments),
        Command::List(arguments) => cli::list(&arguments),
        Command::Train(arguments) => {
            if let Some(threads) = arguments.course.threads {
                limit_threads(threads);
            }
            let json = arguments.course.json;
            let mut settings = arguments.settings()?;
            if let Some(tokenizer) = &mut settings.course.tokenizer {
                *tokenizer = found(tokenizer, ModelFiles::Tokenizer)?;
            }
            let summary = train(&settings, Progress::on_stderr())?;
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
            let (mut settings, mut evaluation) = arguments.settings()?;
            evaluation.model = found(&evaluation.model, ModelFiles::All)?;
            settings.sae = one_sae(&settings.sae)?;
            let Finetuned { training, results } = finetune(&settings, &evaluation, Progress::on_stderr())?;
            print(&if json {
                results.json().context("results cannot be written as JSON")?
            } else {
                format!("{training}\n\n{}", results.table(stdout_width()))
            })
        }
        Command::Report(ReportArguments { experiment, out, json }) => report(&experiment, &out, json),
        Command::Sweep(arguments) => sweep(*arguments),
        Command::Compare(arguments) => compare(arguments),
        Command::Completions { shell } => print_completions(shell, &mut Arguments::command()),
    }
}

/// Finds the folder of a model, fetching what is missing of an id.
fn found(model: &Path, files: ModelFiles) -> Result<PathBuf, HubError> {
    model_folder(model, files, HubSettings::from_environment, Progress::on_stderr())
}

/// Finds an SAE to be fine-tuned.
fn one_sae(argument: &Path) -> Result<PathBuf> {
    let search = SaeSearch { format: None, most_registered: 1, progress: Progress::on_stderr() };
    let saes = find_saes(&[argument], search, HubSettings::from_environment)?;
    match <[PathBuf; 1]>::try_from(saes) {
        Ok([sae]) => Ok(sae),
        Err(saes) => bail!("{}", several(argument, &saes)),
    }
}

/// Prints one SAE as an object of JSON, and several as a list.
fn inspect(InspectArguments { saes, of_saes, json }: InspectArguments) -> Result<()> {
    let options = of_saes.options();
    let mut inspections = Vec::new();
    for path in saes {
        let found = of_saes.find(&[&path])?;
        ensure!(found.len() == 1 || !path.is_dir(), "{}", several(&path, &found));
        for sae in found {
            inspections.push(SaeInspection::of(&sae, &options)?);
        }
    }
    let as_json = || match &inspections[..] {
        [one] => serde_json::to_string_pretty(one),
        all => serde_json::to_string_pretty(all),
    };
    let as_text =
        || inspections.iter().map(|inspection| inspection.text(stdout_width())).collect::<Vec<_>>().join("\n\n");
    print(&if json { as_json().context("it cannot be written as JSON")? } else { as_text() })
}

/// Says that a folder holds several SAEs, and how to name them.
fn several(folder: &Path, saes: &[PathBuf]) -> String {
    const MOST_SHOWN: usize = 8;
    let name = |sae: &PathBuf| sae.strip_prefix(folder).unwrap_or(sae).display().to_string();
    let mut names: Vec<String> = saes.iter().take(MOST_SHOWN).map(name).collect();
    if saes.len() > MOST_SHOWN {
        names.push(format!("{} more", saes.len() - MOST_SHOWN));
    }
    let (folder, count, names) = (folder.display(), saes.len(), names.join(", "));
    format!("{folder}: expected one SAE, found {count}: {names}. Name one of them, or all by a pattern: '{folder}/*'")
}

/// Converts one SAE into a folder, and several into folders in it.
fn convert_all(ConvertArguments { sae, of_saes, layout, out }: ConvertArguments) -> Result<()> {
    let saes = of_saes.find(&[sae])?;
    let options = of_saes.options();
    let names = unique_names(&saes);
    for (sae, name) in saes.iter().zip(names) {
        let out = if saes.len() == 1 { out.to_path_buf() } else { out.join(name) };
        match layout {
            SaeLayout::Saelens => convert(sae, &options, &out)?,
            SaeLayout::Normalised => convert_to_normalised(sae, &options, &out)?,
        }
        tracing::info!(folder = %out.display(), "converted");
    }
    Ok(())
}

fn merge_parts(arguments: MergeArguments) -> Result<()> {
    let MergeArguments { parts, out, metrics, breakdowns, json } = arguments;
    let parts: Vec<PathBuf> = parts.into_iter().map(PathBuf::from).collect();
    let (kind, files) = find_parts(&parts)?;
    match kind {
        PartKind::Results => {
            let results = merge(&files)?;
            ensure!(
                !breakdowns.contains(&Breakdown::Subset) || results.results.iter().any(|own| !own.subsets.is_empty()),
                PartialError::NoSubsets
            );
            let metrics = metrics.unwrap_or(MetricsChoice::Study);
            show(&results, Some(&out), &Shown { metrics, breakdowns: &breakdowns, json })
        }
        PartKind::Latents => {
            let asked = metrics.map(|_| "--metrics").or((!breakdowns.is_empty()).then_some("--by"));
            if let Some(option) = asked {
                bail!("{option}: expected parts of `evaluate run`, got parts of `evaluate latents`. Leave it out");
            }
            show_latents(&merge_latents(&files, &out, Progress::on_stderr())?, &out, json)
        }
    }
}

fn run_command(arguments: RunArguments) -> Result<()> {
    if let Some(threads) = arguments.threads {
        limit_threads(threads);
    }
    let RunArguments { out, part, only_baselines, json, metrics, .. } = &arguments;
    let (out, part, json, metrics) = (out.clone(), *part, *json, *metrics);
    let (only_baselines, profile, breakdowns) =
        (*only_baselines, arguments.profile.clone(), arguments.breakdowns.clone());
    let (settings, progress) = (found_settings(arguments)?, Progress::on_stderr());
    if only_baselines {
        let prepared = prepare_baselines(&settings, part, progress)?;
        let as_json = || serde_json::to_string_pretty(&prepared).context("it cannot be written as JSON");
        return print(&if json { as_json()? } else { prepared.to_string() });
    }
    if let (Some(part), Some(out)) = (part, &out) {
        let results = match profile {
            Some(file) => {
                let (results, profile) = run_part_profiled(&settings, part, progress)?;
                profile.show(&file)?;
                results
            }
            None => run_part(&settings, part, progress)?,
        };
        let file = results.write(out)?;
        return show_part(&file, &results, json.then(|| results.json()));
    }
    let results = run_or_profile(&settings, profile.as_deref())?;
    show(&results, out.as_deref(), &Shown { metrics, breakdowns: &breakdowns, json })
}

/// Prints what a part's file holds: as JSON, if that is given.
fn show_part(file: &Path, in_words: &impl Display, json: Option<serde_json::Value>) -> Result<()> {
    let file = file.display();
    let Some(mut about) = json else { return print(&format!("{file}: {in_words}")) };
    about["file"] = file.to_string().into();
    print(&serde_json::to_string_pretty(&about).context("it cannot be written as JSON")?)
}

/// The settings of a run, with its model and SAEs found.
fn found_settings(arguments: RunArguments) -> Result<RunSettings> {
    let of_saes = arguments.of_saes.clone();
    let mut settings = arguments.settings()?;
    settings.model = settings.model.as_deref().map(|model| found(model, ModelFiles::All)).transpose()?;
    settings.saes = of_saes.find(&settings.saes)?;
    Ok(settings)
}

/// Evaluates, and writes where the time went if there is a file for it.
fn run_or_profile(settings: &RunSettings, profile: Option<&Path>) -> Result<Results> {
    let progress = Progress::on_stderr();
    let Some(file) = profile else { return Ok(evaluate(settings, progress)?) };
    let (results, profile) = run_profiled(settings, progress)?;
    profile.show(file)?;
    Ok(results)
}

/// Evaluates, and reports what was evaluated.
fn sweep(SweepArguments { mut run, title }: SweepArguments) -> Result<()> {
    let Some(out) = run.out.take() else { bail!("expected a folder for the sweep, got none. Say --out DIR") };
    ensure!(
        run.part.is_none() && !run.only_baselines,
        "a sweep is a whole run, got --part or --only-baselines. For parts of one use `evaluate run --part`, `evaluate merge`, and `evaluate report`"
    );
    if let Some(threads) = run.threads {
        limit_threads(threads);
    }
    let title = title.unwrap_or_else(|| run.saes_in_words());
    let (json, profile) = (run.json, run.profile.clone());
    let settings = found_settings(run)?;
    run_or_profile(&settings, profile.as_deref())?.write(&out.join("results"))?;
    let experiment = out.join("sweep.toml");
    let written = write_whole(&experiment, Experiment::sweep(&title, "results").as_bytes());
    written.with_context(|| format!("{}: cannot write", experiment.display()))?;
    report(&experiment, &out.join("report"), json)
}

fn latents_command(arguments: LatentsArguments) -> Result<()> {
    if let Some(threads) = arguments.threads {
        limit_threads(threads);
    }
    let (of_saes, part, json) = (arguments.of_saes.clone(), arguments.part, arguments.json);
    let mut settings = arguments.settings()?;
    let run = &mut settings.run;
    settings.logits_of = settings.logits_of.as_deref().map(|model| found(model, ModelFiles::All)).transpose()?;
    run.tokenizer = run.tokenizer.as_deref().map(|folder| found(folder, ModelFiles::Tokenizer)).transpose()?;
    run.model = run.model.take().and(settings.logits_of.clone());
    run.tokenizer = run.tokenizer.take().or_else(|| settings.logits_of.clone());
    run.saes = of_saes.find(&run.saes)?;
    let progress = Progress::on_stderr();
    if let Some(part) = part {
        let partial = latents_part(&settings, part, progress)?;
        return show_part(&partial.write(&settings.out)?, &partial, json.then(|| partial.json()));
    }
    show_latents(&latents(&settings, progress)?, &settings.out, json)
}

fn show_latents(report: &LatentsReport, out: &Path, json: bool) -> Result<()> {
    tracing::info!(folder = %out.display(), "files written");
    print(&if json {
        report.json().context("the summary cannot be written as JSON")?
    } else {
        report.table(stdout_width())
    })
}

fn browse(arguments: &BrowseArguments) -> Result<()> {
    let (matching, progress) = (arguments.matching, Progress::on_stderr());
    ensure!(
        arguments.saes.is_empty() || matching == Matching::Cosine,
        "--sae: expected with --match cosine alone, got --match index"
    );
    let sources = Sources::open(&arguments.folders())?;
    let mut explanations = Explanations::new(&sources);
    for path in &arguments.explanations {
        explanations.read(&sources, path)?;
    }
    let matched = |left, right| match matching {
        Matching::Index => Ok(Match::Index),
        Matching::Cosine => {
            let [own, other] = [left, right].map(|sae| files_of(&sources, sae, &arguments.saes));
            Ok(matches_by_cosine(&own?, &other?, progress)?)
        }
    };
    let comparisons: Result<Vec<Comparison>> =
        arguments.compare.iter().map(|asked| Comparison::of(&sources, asked, matched)).collect();
    let page = Page { sources: &sources, explanations: &explanations, comparisons: &comparisons? };
    let gauge = progress.bytes("page", Some(sources.bytes()));
    let summary = page.write(&arguments.out, &mut |bytes| gauge.advance(bytes))?;
    drop(gauge);
    tracing::info!(page = %summary.page.display(), files = summary.files, bytes = summary.bytes, "page written");
    let as_json = || serde_json::to_string_pretty(&summary).context("the summary cannot be written as JSON");
    print(&if arguments.json { as_json()? } else { page_table(&summary) })
}

/// The files of an SAE of a page, of those that `--sae SAE=PATH` names.
fn files_of(sources: &Sources, sae: usize, given: &[String]) -> Result<SaeFile> {
    let own = &sources.saes()[sae];
    for argument in given {
        let Some((place, path)) = sources.split_name(argument) else {
            bail!("--sae {argument}: expected SAE=PATH with an SAE of the page, got another name");
        };
        if place == sae {
            let file = SaeFile::open(&one_sae(Path::new(path))?)?;
            let (width, expected, name) = (file.width(), own.width as usize, &own.name);
            ensure!(width == expected, "--sae {argument}: expected the {expected} latents of {name}, got {width}");
            return Ok(file);
        }
    }
    bail!("--match cosine: expected the files of {0} for its decoder, got none. Add --sae {0}=PATH", own.name)
}

fn page_table(summary: &PageSummary) -> String {
    let headings = ["SAE", "Latents", "Examples", "Tokens\nto search", "Explanations"].map(str::to_owned).to_vec();
    let row = |sae: &SaeCounts| {
        let counts = [u64::from(sae.latents), sae.examples, sae.terms as u64, sae.explanations as u64];
        std::iter::once(sae.name.clone()).chain(counts.iter().map(ToString::to_string)).collect()
    };
    let rows = summary.saes.iter().map(row).collect();
    let table = TextTable { headings, names: 1, rows, is_ruled: true }.fit(stdout_width());
    format!("{table}\nOpen {} in a browser", summary.page.display())
}

/// What is printed of results.
struct Shown<'run> {
    metrics: MetricsChoice,
    breakdowns: &'run [Breakdown],
    json: bool,
}

/// Writes results, if they are to be kept, and prints them.
fn show(results: &Results, out: Option<&Path>, shown: &Shown<'_>) -> Result<()> {
    if let Some(folder) = out {
        results.write(folder)?;
        tracing::info!(folder = %folder.display(), "results written");
    }
    print(&if shown.json {
        results.json().context("results cannot be written as JSON")?
    } else {
        let width = stdout_width();
        let mut tables = vec![results.table(width)];
        if shown.metrics == MetricsChoice::All {
            tables.push(results.details(width));
        }
        tables.extend(shown.breakdowns.iter().map(|&by| results.breakdown(by, width)));
        tables.join("\n")
    })
}

fn report(experiment: &Path, out: &Path, json: bool) -> Result<()> {
    let report = Report::open(experiment)?;
    for left_out in report.left_out() {
        tracing::warn!("not in the report: {left_out}");
    }
    let page = report.write(out)?;
    tracing::info!(page = %page.display(), "report written");
    let summary = || report.summary().json().context("the summary cannot be written as JSON");
    print(if json { summary()? } else { report.table(stdout_width()) }.trim_end())
}

fn compare(arguments: CompareArguments) -> Result<()> {
    let results: Vec<PathBuf> = arguments.results.into_iter().map(PathBuf::from).collect();
    let (expected, measured) = (read_expected(&arguments.expected)?, read_results(&results)?);
    let found = hayloft_report::compare(&expected, &measured, &Tolerances::new(&arguments.tolerances))?;
    let json = || serde_json::to_string_pretty(&found).context("the comparison cannot be written as JSON");
    print(&if arguments.json { json()? } else { found.table(stdout_width()) })?;
    for told in found.not_compared_in_words() {
        tracing::warn!("{told}");
    }
    ensure!(found.count(Verdict::Agrees) == found.cells.len(), "{}", found.in_words());
    Ok(())
}
