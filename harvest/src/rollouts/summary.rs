//! What became of the rollouts, for people and for programs.

use std::fmt;
use std::path::PathBuf;

use hayloft_model::FinishReason;
use indicatif::HumanCount;
use serde::Serialize;

use super::row::RolloutRow;

/// What a rollouts file holds, and what this run did for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RolloutSummary {
    /// The file.
    pub file: PathBuf,
    /// Rollouts in it.
    pub rows: u64,
    /// Rows of the data that were passed over, because their instruction is empty or their prompt fills the context.
    pub skipped_rows: u64,
    /// Rollouts in which the model ended its turn.
    pub ended: u64,
    /// Rollouts that were cut at the limit of new tokens.
    pub cut_at_limit: u64,
    /// Rollouts that were cut where the context was full.
    pub cut_at_context: u64,
    /// Rollouts without a token.
    pub empty: u64,
    /// Tokens of all rollouts.
    pub tokens: u64,
    /// Tokens of a rollout, in the mean.
    pub mean_tokens: f64,
    /// Tokens of the longest rollout.
    pub longest: u64,
    /// Rollouts that this run made; the others were there.
    pub made_rows: u64,
    /// Tokens that this run made, those that ended turns included.
    pub made_tokens: u64,
    /// Seconds that this took, without loading the model.
    pub seconds: f64,
    /// Tokens in a second; 0 where nothing was to be done.
    pub tokens_per_second: f64,
    /// The first rollout.
    pub first: Option<Glimpse>,
}

/// A rollout to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Glimpse {
    /// The row.
    pub row: u64,
    /// What the model read.
    pub prompt: String,
    /// What it answered.
    pub rollout: String,
    /// Why there is no more.
    pub finish_reason: FinishReason,
}

/// Characters of a prompt and of a rollout that are printed.
const SHOWN_CHARACTERS: usize = 240;

impl RolloutSummary {
    /// Nothing yet.
    pub(super) fn new(file: PathBuf, skipped_rows: u64) -> Self {
        Self {
            file,
            rows: 0,
            skipped_rows,
            ended: 0,
            cut_at_limit: 0,
            cut_at_context: 0,
            empty: 0,
            tokens: 0,
            mean_tokens: 0.0,
            longest: 0,
            made_rows: 0,
            made_tokens: 0,
            seconds: 0.0,
            tokens_per_second: 0.0,
            first: None,
        }
    }

    /// Counts rows of the file.
    pub(super) fn count(&mut self, rows: &[RolloutRow]) {
        for row in rows {
            self.rows += 1;
            match row.finish_reason {
                FinishReason::Stop => self.ended += 1,
                FinishReason::Length => self.cut_at_limit += 1,
                FinishReason::Context => self.cut_at_context += 1,
            }
            let tokens = row.rollout_token_ids.len() as u64;
            self.empty += u64::from(tokens == 0);
            self.tokens += tokens;
            self.longest = self.longest.max(tokens);
            self.first.get_or_insert_with(|| Glimpse {
                row: row.row,
                prompt: row.prompt.clone(),
                rollout: row.rollout.clone(),
                finish_reason: row.finish_reason,
            });
        }
        self.mean_tokens = if self.rows > 0 { self.tokens as f64 / self.rows as f64 } else { 0.0 };
    }

    /// Records what this run made.
    pub(super) fn made(&mut self, rows: u64, tokens: u64, seconds: f64) {
        (self.made_rows, self.made_tokens, self.seconds) = (rows, tokens, seconds);
        self.tokens_per_second = if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 };
    }
}

impl fmt::Display for RolloutSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "rollouts  {} in {}", HumanCount(self.rows), self.file.display())?;
        if self.skipped_rows > 0 {
            write!(formatter, " ({} rows more cannot be used)", HumanCount(self.skipped_rows))?;
        }
        let share = if self.rows > 0 { 100.0 * self.ended as f64 / self.rows as f64 } else { 0.0 };
        write!(
            formatter,
            "\nended     {} ({share:.1} %); {} cut at the limit of new tokens, {} at the context's end",
            HumanCount(self.ended),
            HumanCount(self.cut_at_limit),
            HumanCount(self.cut_at_context),
        )?;
        write!(formatter, "\nlength    {:.1} tokens in the mean, {} at the most", self.mean_tokens, self.longest)?;
        if self.empty > 0 {
            write!(formatter, "; {} are empty", HumanCount(self.empty))?;
        }
        if self.made_rows < self.rows {
            write!(formatter, "\nmade      {} now, the others were there", HumanCount(self.made_rows))?;
        }
        if self.made_rows > 0 {
            write!(
                formatter,
                "\nspeed     {} tokens in {:.1} s, {} tokens/s",
                HumanCount(self.made_tokens),
                self.seconds,
                HumanCount(self.tokens_per_second as u64),
            )?;
        }
        if let Some(Glimpse { row, prompt, rollout, finish_reason }) = &self.first {
            let end = match finish_reason {
                FinishReason::Stop => "⏹",
                FinishReason::Length | FinishReason::Context => "…",
            };
            write!(formatter, "\n\nrow {row}\n{}▸{}{end}", tail(prompt), head(rollout))?;
        }
        Ok(())
    }
}

/// The first characters of a text.
fn head(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARACTERS).collect();
    if shown.len() < text.len() {
        shown.push_str(" […]");
    }
    shown
}

/// The last characters of a text.
fn tail(text: &str) -> String {
    match text.char_indices().nth_back(SHOWN_CHARACTERS - 1) {
        Some((start, _)) if start > 0 => format!("[…] {}", &text[start..]),
        _ => text.to_owned(),
    }
}
