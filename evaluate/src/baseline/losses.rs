//! Losses of the untouched and of the zero-ablated run.

use std::fmt;

use hayloft_model::Precision;
use serde::{Deserialize, Serialize};

use super::shelf::{Key, ShardSums};
use crate::batch::Batch;
use crate::measures::{BinSums, position_bin};
use crate::section_choice::SectionChoice;
use crate::sums::total_loss;

/// Where clean losses come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CleanSource {
    /// The cache's loss column, written by the harvest.
    Cache,
    /// The upper half of the model, run on the cached residual: the cache keeps no losses, or they are of another
    /// precision.
    Recomputed,
}

impl fmt::Display for CleanSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cache => "cache",
            Self::Recomputed => "recomputed",
        })
    }
}

/// What losses are told apart by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LossesKey {
    pub(super) site: String,
    pub(super) section: SectionChoice,
    pub(super) precision: Precision,
    pub(super) clean_source: CleanSource,
}

impl Key for LossesKey {
    fn file_stem(&self) -> String {
        format!("losses.{}.{}.{}.{}", self.site, self.section, self.precision, self.clean_source)
    }
}

/// Losses over one shard, summed in float64 in row order; nats.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Losses {
    /// The shard's number in the plan.
    pub(crate) shard: usize,
    /// Tokens of the section that have a next token.
    pub(crate) loss_tokens: u64,
    /// Of the untouched run.
    pub(crate) clean_loss: f64,
    /// With zeros in place of the section's residuals.
    pub(crate) zero_loss: f64,
    /// Clean losses by position.
    pub(crate) clean_by_position: BinSums,
    /// Losses under zero ablation by position.
    pub(crate) zero_by_position: BinSums,
    /// Clean losses of each sequence.
    pub(crate) clean_by_sequence: BinSums,
    /// Losses under zero ablation of each sequence.
    pub(crate) zero_by_sequence: BinSums,
}

impl Losses {
    /// Adds the losses at the next batch's rows that count.
    pub(super) fn add(&mut self, batch: &Batch, rows: &[i64], clean: &[f32], zero: &[f32]) {
        let positions = batch.positions_at(rows);
        let by_sequence = |losses: &[f32]| batch.sums_by_sequence(rows, losses.iter().map(|&loss| f64::from(loss)));
        self.clean_by_sequence.extend(by_sequence(clean));
        self.zero_by_sequence.extend(by_sequence(zero));
        self.loss_tokens += positions.len() as u64;
        self.clean_loss += total_loss(clean);
        self.zero_loss += total_loss(zero);
        for ((&position, &clean), &zero) in positions.iter().zip(clean).zip(zero) {
            let bin = position_bin(position);
            self.clean_by_position.add(bin, f64::from(clean));
            self.zero_by_position.add(bin, f64::from(zero));
        }
    }
}

impl ShardSums for Losses {
    const COUNTS: &'static [&'static str] = &["shard", "loss_tokens"];
    const LISTS: &'static [&'static str] =
        &["clean_loss", "zero_loss", "clean_by_position", "zero_by_position", "clean_by_sequence", "zero_by_sequence"];

    fn counts(&self) -> Vec<u64> {
        vec![self.shard as u64, self.loss_tokens]
    }

    fn lists(&self) -> Vec<&[f64]> {
        vec![
            std::slice::from_ref(&self.clean_loss),
            std::slice::from_ref(&self.zero_loss),
            self.clean_by_position.values(),
            self.zero_by_position.values(),
            self.clean_by_sequence.values(),
            self.zero_by_sequence.values(),
        ]
    }

    fn of(counts: &[u64], lists: Vec<Vec<f64>>) -> Option<Self> {
        let &[shard, loss_tokens] = counts else { return None };
        let [clean, zero, clean_by_position, zero_by_position, clean_by_sequence, zero_by_sequence] =
            lists.try_into().ok()?;
        let (&[clean_loss], &[zero_loss]) = (clean.as_slice(), zero.as_slice()) else { return None };
        Some(Self {
            shard: usize::try_from(shard).ok()?,
            loss_tokens,
            clean_loss,
            zero_loss,
            clean_by_position: BinSums::of(clean_by_position),
            zero_by_position: BinSums::of(zero_by_position),
            clean_by_sequence: BinSums::of(clean_by_sequence),
            zero_by_sequence: BinSums::of(zero_by_sequence),
        })
    }
}
