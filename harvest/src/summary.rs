//! Summaries of plans and harvests, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use hayloft_store::Section;
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

/// The contents of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanSummary {
    /// Name of the data.
    pub name: String,
    /// The cache's folder.
    pub folder: PathBuf,
    /// Documents with tokens in the plan.
    pub documents: u64,
    /// Documents skipped because they have no tokens.
    pub empty_documents: u64,
    /// Rows skipped because they cannot be read.
    pub bad_rows: u64,
    /// Sequences.
    pub sequences: u64,
    /// Tokens.
    pub tokens: u64,
    /// Tokens read that are in no sequence: the last, unfilled context, or tokens beyond the context length.
    pub dropped_tokens: u64,
    /// Tokens in each section.
    pub sections: BTreeMap<Section, u64>,
    /// Tokens in each subset.
    pub subsets: BTreeMap<String, u64>,
    /// Counts for conversations; `None` for running text.
    pub chat: Option<ChatSummary>,
    /// Fraction of padding in the batches of the forward pass, from 0 to 1.
    pub padding_share: f64,
    /// Shards.
    pub shards: usize,
}

/// Counts for planned conversations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ChatSummary {
    /// Rows skipped: the prompt fills the context, or the instruction is empty.
    pub skipped_rows: u64,
    /// Conversations with an empty reply.
    pub empty_rollouts: u64,
    /// Conversations whose rollout has no end of turn, for example because it reached the limit on new tokens.
    pub unended_rollouts: u64,
}

/// The result of a harvest, and the state of the cache after it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSummary {
    /// The cache's folder.
    pub folder: PathBuf,
    /// Shards in the plan.
    pub planned_shards: usize,
    /// Complete shards.
    pub complete_shards: usize,
    /// Shards filled by this run.
    pub filled_shards: usize,
    /// Tokens processed by this run.
    pub tokens: u64,
    /// Wall time in seconds, without loading the model.
    pub seconds: f64,
    /// Throughput; undefined if the run had nothing to do.
    pub tokens_per_second: Option<f64>,
    /// Bytes of the shards filled by this run.
    pub bytes: u64,
    /// Storage per token; undefined if the run had nothing to do.
    pub bytes_per_token: Option<f64>,
    /// Statistics of each site over the whole cache.
    pub sites: Vec<SiteSummary>,
}

/// Statistics of one site of a cache.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SiteSummary {
    /// Site name.
    pub site: String,
    /// Number of activations.
    pub rows: u64,
    /// Mean Euclidean norm.
    pub mean_norm: f64,
    /// `sqrt(d_model) / mean_norm`, the factor that scales activations to a mean norm of `sqrt(d_model)`.
    pub scale: f64,
    /// Activations with NaN or infinite values, excluded from both statistics.
    pub non_finite_rows: u64,
}

impl fmt::Display for PlanSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "planned    {} in {}", self.name, self.folder.display())?;
        write!(formatter, "documents  {}", HumanCount(self.documents))?;
        if self.empty_documents > 0 {
            write!(formatter, " ({} more have no tokens)", HumanCount(self.empty_documents))?;
        }
        if self.bad_rows > 0 {
            write!(formatter, "\nbad rows   {}, which were skipped", HumanCount(self.bad_rows))?;
        }
        writeln!(formatter, "\nsequences  {}", HumanCount(self.sequences))?;
        write!(formatter, "tokens     {}", HumanCount(self.tokens))?;
        if self.dropped_tokens > 0 {
            write!(formatter, " ({} more are in no sequence)", HumanCount(self.dropped_tokens))?;
        }
        writeln!(formatter)?;
        for (section, tokens) in &self.sections {
            writeln!(formatter, "  section  {section}: {}", HumanCount(*tokens))?;
        }
        for (subset, tokens) in &self.subsets {
            writeln!(formatter, "  subset   {subset}: {}", HumanCount(*tokens))?;
        }
        if let Some(chat) = self.chat {
            for (rows, what) in [
                (chat.unended_rollouts, "without an end of turn"),
                (chat.empty_rollouts, "empty"),
                (chat.skipped_rows, "not used: their rows were skipped"),
            ] {
                if rows > 0 {
                    writeln!(formatter, "  rollouts {what}: {}", HumanCount(rows))?;
                }
            }
        }
        writeln!(formatter, "padding    {:.1} %", 100.0 * self.padding_share)?;
        write!(formatter, "shards     {}", self.shards)
    }
}

impl fmt::Display for RunSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { planned_shards, complete_shards, filled_shards, .. } = self;
        let folder = self.folder.display();
        if *filled_shards == 0 {
            write!(
                formatter,
                "nothing left to do: {complete_shards} of {planned_shards} shards are whole in {folder}"
            )?;
        } else {
            write!(formatter, "{} tokens in {:.1} s", HumanCount(self.tokens), self.seconds)?;
            if let Some(rate) = self.tokens_per_second {
                write!(formatter, ", {} tokens/s", HumanCount(rate as u64))?;
            }
            write!(formatter, "; {}", HumanBytes(self.bytes))?;
            if let Some(bytes) = self.bytes_per_token {
                write!(formatter, ", {bytes:.1} bytes/token")?;
            }
            write!(
                formatter,
                "\n{filled_shards} shards filled, {complete_shards} of {planned_shards} are whole in {folder}"
            )?;
        }
        for site in &self.sites {
            write!(formatter, "\n{}: mean norm {:.6}, scale {:.6}", site.site, site.mean_norm, site.scale)?;
            if site.non_finite_rows > 0 {
                write!(formatter, "; {} rows are NaN or infinite", HumanCount(site.non_finite_rows))?;
            }
        }
        Ok(())
    }
}
