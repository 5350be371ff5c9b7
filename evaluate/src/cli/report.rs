//! The command lines of `evaluate report` and `evaluate compare`.

use clap::Args;
use hayloft_report::Tolerance;
use hayloft_store::LocalPath;

const REPORT_EXAMPLES: &str = "\
Example:
  evaluate report experiment.toml --out report

The experiment's file says which results belong where; paths are relative to it:

  title = \"Do SAEs transfer from base to chat?\"

  [[results]]
  file = \"pile-base/results.json\"      # of `evaluate run --out pile-base`
  dataset = \"pile\"                     # pile, alpaca or another name
  model = \"base\"                       # base or chat
  family = \"mistral-7b\"
  # Each SAE is base, chat or finetuned; needless for SAEs called so
  saes = { \"v1\" = \"base\", \"v2\" = \"chat\" }

  [[training]]                           # any number
  file = \"saes/finetuned/training.jsonl\"
  name = \"fine-tuning the base SAE\"

SAEs of a file that its saes do not name are left out, and told by name, in the
report too.

Into --out go report.html (one page that needs no network), report.md,
summary.json, tables/*.csv, tables/*.tex (booktabs) and figures/*.svg.";

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

const COMPARE_EXAMPLES: &str = "\
Examples:
  evaluate compare data-manifests/study/expected/pile.json report

  # L0 is a mean of counts and may be a little further off
  evaluate compare expected.json report/summary.json --tolerance 2e-4 \\
      --tolerance l0=2e-3

Both sides have the form of a report's summary.json, {\"rows\": [...]}. An
expected row needs only those of the keys family, dataset, section, sae, model
and outliers_filtered that tell it apart, and the figures to compare. A
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
