//! The command line of `evaluate merge`.

use clap::Args;
use hayloft_results::{Breakdown, MetricsChoice};
use hayloft_store::LocalPath;

const EXAMPLES: &str = "\
Examples:
  # Four jobs, each with a quarter of the shards (the cluster's number of the
  # job counts from 0)
  # First the baselines, in all four, then the rest
  evaluate run --model mistral-7b --cache cache --sae saes/base \\
      --part $I/4 --only-baselines
  evaluate run --model mistral-7b --cache cache --sae saes/base \\
      --part $I/4 --out parts
  evaluate merge parts --out results

  # SAEs in groups too: each group has every shard; SAEs come in the order in
  # which parts are named
  evaluate merge parts-of-group-0 parts-of-group-1 --out results

  # Parts of `evaluate latents`
  evaluate merge latent-parts --out latents

The files are those that the same command without --part writes, byte for byte.
Parts may be named in any order; what is missing, double, damaged, or of another
cache, SAE or setting is refused by name. See crates/results/RESULTS.md.";

/// What is put together
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct MergeArguments {
    /// Partial results: files part-I-of-N.safetensors of `evaluate run --part`, or latents-part-I-of-N.safetensors of `evaluate
    /// latents --part`, or folders of them
    #[arg(value_name = "PART", required = true)]
    pub parts: Vec<LocalPath>,
    /// Write the results into this folder, as --out of the command that the parts are of does
    #[arg(long, value_name = "DIR")]
    pub out: LocalPath,
    /// Which figures of an evaluation to print: study, or all [default: study]
    #[arg(long, value_name = "WHICH")]
    pub metrics: Option<MetricsChoice>,
    /// Print figures by subset of the corpus (for which the parts were run with --by subset) or by position in the sequence too;
    /// may be given for both
    #[arg(long = "by", value_name = "WHAT")]
    pub breakdowns: Vec<Breakdown>,
    /// Print the results as JSON in place of the table
    #[arg(long)]
    pub json: bool,
}
