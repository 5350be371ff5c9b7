//! `store plan`.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

use std::io::Write;

use clap::Args;
use hayloft_store::{Place, Plan as CachePlan, plan_at};
use serde::Serialize;

use super::numbers::counted;
use super::output::Output;
use super::remote::Reaching;

/// Show what is planned, filled or not.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  store plan caches/stories
  store plan s3://farm/stories --json | jq '.shard_tokens | length'")]
pub(super) struct Plan {
    /// The cache's folder, or its location, such as s3://farm/stories
    #[arg(value_name = "CACHE|URL")]
    cache: Place,
    #[command(flatten)]
    reaching: Reaching,
    #[command(flatten)]
    output: Output,
}

/// What is planned.
#[derive(Debug, Serialize)]
struct Planned<'a> {
    name: &'a str,
    sequences: u64,
    tokens: u64,
    /// Tokens of each shard, in order.
    shard_tokens: Vec<u64>,
}

impl Plan {
    pub(super) fn run(&self, stdout: &mut dyn Write) -> anyhow::Result<()> {
        let CachePlan { corpus, counts, shards, .. } =
            plan_at(&self.cache.clone().into_path(), &self.reaching.options())?;
        let planned = Planned {
            name: &corpus.name,
            sequences: counts.sequences,
            tokens: counts.tokens,
            shard_tokens: shards.iter().map(|shard| shard.counts.tokens).collect(),
        };
        let shards = counted(planned.shard_tokens.len() as u64, "shard");
        let (sequences, tokens) = (counted(planned.sequences, "sequence"), counted(planned.tokens, "token"));
        let words = format!("{}: {} of {}: {sequences}, {tokens}", self.cache, shards, planned.name);
        Ok(self.output.print(stdout, &planned, |stdout| writeln!(stdout, "{words}"))?)
    }
}
