//! What was done, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use hayloft_store::Section;
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

/// What a plan holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanSummary {
    /// The name of the data.
    pub name: String,
    /// The cache's folder.
    pub folder: PathBuf,
    /// Documents with tokens in the plan.
    pub documents: u64,
    /// Documents that were passed over because they have no tokens.
    pub empty_documents: u64,
    /// Sequences.
    pub sequences: u64,
    /// Tokens.
    pub tokens: u64,
    /// Tokens read that are in no sequence: those that filled no context, or those beyond the context length.
    pub dropped_tokens: u64,
    /// Tokens in each section.
    pub sections: BTreeMap<Section, u64>,
    /// Tokens in each subset.
    pub subsets: BTreeMap<String, u64>,
    /// What was counted of conversations; `None` for running text.
    pub chat: Option<ChatSummary>,
    /// The share of padding in the batches of the forward pass, from 0 to 1.
    pub padding_share: f64,
    /// Shards.
    pub shards: usize,
}

/// What was worth counting of conversations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ChatSummary {
    /// Rows that were passed over: their prompt fills the context, or their instruction is empty.
    pub skipped_rows: u64,
    /// Conversations in which the model said nothing.
    pub empty_rollouts: u64,
    /// Conversations whose rollout has no end of turn, as when it was cut at the limit on new tokens.
    pub unended_rollouts: u64,
}

/// What a harvest did, and what the cache holds after it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSummary {
    /// The cache's folder.
    pub folder: PathBuf,
    /// Shards in the plan.
    pub planned_shards: usize,
    /// Shards that are whole now.
    pub complete_shards: usize,
    /// Shards that this run filled.
    pub filled_shards: usize,
    /// Tokens that this run took through the model.
    pub tokens: u64,
    /// Seconds that this took, without loading the model.
    pub seconds: f64,
    /// Tokens in a second; 0 where nothing was to be done.
    pub tokens_per_second: f64,
    /// Bytes of the shards that this run filled.
    pub bytes: u64,
    /// Bytes for each token; 0 where nothing was to be done.
    pub bytes_per_token: f64,
    /// What the whole cache says of each site.
    pub sites: Vec<SiteSummary>,
}

/// What a cache says of a site.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SiteSummary {
    /// Its name.
    pub site: String,
    /// Activations.
    pub rows: u64,
    /// Mean of their Euclidean norms.
    pub mean_norm: f64,
    /// `sqrt(d_model) / mean_norm`, what activations are multiplied by to have the norm `sqrt(d_model)` on average.
    pub scale: f64,
    /// Activations with NaN or infinity in them, which are in neither figure.
    pub non_finite_rows: u64,
}

impl fmt::Display for PlanSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "planned    {} in {}", self.name, self.folder.display())?;
        write!(formatter, "documents  {}", HumanCount(self.documents))?;
        if self.empty_documents > 0 {
            write!(formatter, " ({} more have no tokens)", HumanCount(self.empty_documents))?;
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
            write!(
                formatter,
                "{} tokens in {:.1} s, {} tokens/s; {}, {:.1} bytes/token\n\
                 {filled_shards} shards filled, {complete_shards} of {planned_shards} are whole in {folder}",
                HumanCount(self.tokens),
                self.seconds,
                HumanCount(self.tokens_per_second as u64),
                HumanBytes(self.bytes),
                self.bytes_per_token,
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
