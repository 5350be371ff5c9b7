//! The command lines of `evaluate report` and `evaluate compare`.

use clap::Args;
use hayloft_report::Tolerance;
use hayloft_store::LocalPath;

use super::RunArguments;

const REPORT_EXAMPLES: &str = "\
Example:
  evaluate report experiment.toml --out report

The experiment's file says which results belong where; paths are relative to it.
Only title and file are needed:

  title = \"SAEs of layer 12\"
  sort = \"l0\"                           # by any column; else the file's order

  [[results]]
  file = \"results/topk\"                # of `evaluate run --out results/topk`
  series = \"TopK\"                      # the curve that its SAEs are points of
  model = \"Gemma 2 2B\"
  dataset = \"The Pile\"
  saes = { \"k_20\" = \"k = 20\", \"k_40\" = \"k = 40\" }   # or [\"k_20\", \"k_40\"]
  sections = [\"all\"]

  [[training]]                           # any number
  file = \"saes/k_20/training.jsonl\"
  name = \"TopK, k = 20\"

SAEs of a file that its saes do not name are left out, and told by name, in the
report too.

A base and a chat model, as in the study: results with a family (or preset =
\"study\") have the roles base and chat for models, and base, chat and finetuned
for SAEs:

  [[results]]
  file = \"pile-base\"
  dataset = \"pile\"                     # pile, alpaca or another name
  model = \"base\"                       # base or chat
  family = \"mistral-7b\"
  saes = { \"v1\" = \"base\", \"v2\" = \"chat\" }   # needless for SAEs called so

Into --out go report.html (one page that needs no network), report.md,
summary.json, tables/*.csv, tables/*.tex (booktabs), figures/*.svg and *.pdf.";

/// What a report is made of
#[derive(Debug, Args)]
#[command(after_help = REPORT_EXAMPLES)]
pub struct ReportArguments {
    /// The experiment's file (TOML)
    #[arg(value_name = "EXPERIMENT")]
    pub experiment: LocalPath,
    /// The folder to write the report into
    #[arg(long, value_name = "DIR")]
    pub out: LocalPath,
    /// Print summary.json in place of the tables
    #[arg(long)]
    pub json: bool,
}

const SWEEP_EXAMPLES: &str = "\
Example:
  # All SAEs below a folder, with intervals
  evaluate sweep --model gemma-2-2b --cache cache --sae saes --bootstrap \\
      --out sweep

It is `evaluate run`, with all its options, and then `evaluate report` of a file
that it writes: SAEs are sorted by L0, and those of one architecture and width
are a curve. Into --out go results/ (of `evaluate run`), sweep.toml and report/.
Edit sweep.toml for other names, and run `evaluate report sweep/sweep.toml --out
sweep/report` again.";

/// What is evaluated, and the title of its report
#[derive(Debug, Args)]
#[command(
    after_help = SWEEP_EXAMPLES,
    mut_arg("out", |out| out.required(true).help("Write results/, sweep.toml and report/ into this folder")),
    mut_arg("part", |part| part.hide(true)),
    mut_arg("only_baselines", |only| only.hide(true)),
    mut_arg("metrics", |metrics| metrics.hide(true)),
)]
pub struct SweepArguments {
    #[command(flatten)]
    pub run: RunArguments,
    /// The title of the report [default: the SAEs, as they are named]
    #[arg(long)]
    pub title: Option<String>,
}

const COMPARE_EXAMPLES: &str = "\
Examples:
  evaluate compare data-manifests/study/expected/pile.json report

  # L0 is a mean of counts and may be a little further off
  evaluate compare expected.json report/summary.json --tolerance 2e-4 \\
      --tolerance l0=2e-3

Both sides have the form of a report's summary.json, {\"rows\": [...]}. An
expected row needs only those of the keys family, dataset, section, sae, model,
site and outliers_filtered that tell it apart, and the figures to compare. A
tolerance t allows a difference of t * max(1, |expected|). A figure that is
expected and was not measured fails too; rows that were measured and not
expected are named, and figures that were measured and not expected, or expected
under a name that is no column, are counted and named.";

/// What is compared
#[derive(Debug, Args)]
#[command(after_help = COMPARE_EXAMPLES)]
pub struct CompareArguments {
    /// Expected rows (JSON)
    #[arg(value_name = "EXPECTED")]
    pub expected: LocalPath,
    /// Measured rows: summaries, or folders of reports
    #[arg(value_name = "RESULTS", required = true)]
    pub results: Vec<LocalPath>,
    /// How far figures may differ: a number for all columns, or COLUMN=NUMBER for one; may be given several times
    /// [default: 2e-4]
    #[arg(long = "tolerance", value_name = "TOLERANCE")]
    pub tolerances: Vec<Tolerance>,
    /// Print the comparison as JSON in place of the table
    #[arg(long)]
    pub json: bool,
}
