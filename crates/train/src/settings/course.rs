//! Settings common to training from scratch and fine-tuning.

use std::path::PathBuf;

use hayloft_rows::{ExcludeChoice, OutlierNorm, RowChoice, ScaleChoice, SectionChoice};
use hayloft_store::RemoteOptions;
use tch::Device;

use crate::error::TrainError;
use crate::measure::threshold::ThresholdSource;

/// The course of a training: data, duration, learning rate and output.
#[derive(Debug, Clone)]
pub struct Course {
    /// The cache's folder or location, such as `s3://farm/stories`.
    pub cache: PathBuf,
    /// Access to and local copies of a remote cache.
    pub remote: RemoteOptions,
    /// The output folder.
    pub out: PathBuf,
    /// What to do with an existing training in the output folder.
    pub existing: Existing,
    /// Sections to train on; empty means all.
    pub sections: Vec<SectionChoice>,
    /// Tokens whose rows are excluded.
    pub exclude: ExcludeChoice,
    /// Folder of the model's tokenizer. Only the exclusion of special tokens needs it.
    pub tokenizer: Option<PathBuf>,
    /// Rows with a larger norm are excluded.
    pub outlier_norm: Option<OutlierNorm>,
    /// The scale of activations. `Auto` is computed over the rows kept by sections and exclusions.
    pub scale: ScaleChoice,
    /// Rows to train on, in whole batches. If there are more than the cache holds, it is read again.
    pub tokens: u64,
    /// Rows per batch.
    pub batch: usize,
    /// Adam's learning rate after warm-up.
    pub learning_rate: f64,
    /// Warm-up steps of the learning rate.
    pub warm_up: u64,
    /// Decay steps at the end.
    pub decay: u64,
    /// Warm-up steps of the sparsity loss.
    pub sparsity_warm_up: u64,
    /// A latent is dead after this many steps without firing.
    pub dead_after: u64,
    /// Capacity of the mixing buffer in rows.
    pub mix_rows: usize,
    /// Seed of all random numbers.
    pub seed: u64,
    /// The device.
    pub device: Device,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Steps between records.
    pub log_every: u64,
    /// Number of rows held out from training for evaluation, 0 for none. They are the kept rows of the last whole sequences
    /// of the cache by id, at least this many.
    pub held_out: usize,
    /// Steps between held-out evaluations. The last step always has one.
    pub held_out_every: u64,
    /// The source of the threshold of a saved `BatchTopK`.
    pub threshold: ThresholdSource,
}

/// What to do with an existing training in the output folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Return an error.
    Refuse,
    /// Resume from the last checkpoint.
    Resume,
}

impl Course {
    /// SAELens's learning rate.
    pub const LEARNING_RATE: f64 = 3e-4;
    /// SAELens's `train_batch_size_tokens`.
    pub const BATCH: usize = 4096;
    /// SAELens's `dead_feature_window`.
    pub const DEAD_AFTER: u64 = 1000;
    /// 2 GiB for rows of 4096 bf16 values.
    pub const MIX_ROWS: usize = 1 << 18;
    /// Steps between checkpoints.
    pub const CHECKPOINT_EVERY: u64 = 1000;
    /// Steps between records.
    pub const LOG_EVERY: u64 = 10;
    /// Steps between held-out evaluations: SAELens's `eval_every_n_wandb_logs` of 100 records, each after 10 steps.
    pub const HELD_OUT_EVERY: u64 = 1000;

    /// Creates a course with default values, on the CPU.
    pub fn new(cache: impl Into<PathBuf>, out: impl Into<PathBuf>, tokens: u64) -> Self {
        Self {
            cache: cache.into(),
            remote: RemoteOptions::default(),
            out: out.into(),
            existing: Existing::Refuse,
            sections: Vec::new(),
            exclude: ExcludeChoice::default(),
            tokenizer: None,
            outlier_norm: None,
            scale: ScaleChoice::default(),
            tokens,
            batch: Self::BATCH,
            learning_rate: Self::LEARNING_RATE,
            warm_up: 0,
            decay: 0,
            sparsity_warm_up: 0,
            dead_after: Self::DEAD_AFTER,
            mix_rows: Self::MIX_ROWS,
            seed: 0,
            device: Device::Cpu,
            checkpoint_every: Self::CHECKPOINT_EVERY,
            log_every: Self::LOG_EVERY,
            held_out: 0,
            held_out_every: Self::HELD_OUT_EVERY,
            threshold: ThresholdSource::default(),
        }
    }

    /// Number of steps, in whole batches.
    pub(crate) fn steps(&self) -> u64 {
        self.tokens / self.batch.max(1) as u64
    }

    /// The row selection, without the outlier rule.
    pub(crate) fn rows(&self) -> RowChoice {
        RowChoice { sections: self.sections.clone(), exclude: self.exclude }
    }

    /// The scale, with `Auto` resolved to the kept rows.
    pub fn scale(&self) -> ScaleChoice {
        if self.scale == ScaleChoice::Auto { ScaleChoice::KeptRows } else { self.scale }
    }

    /// Validates the settings.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let refuse = |what, expected: &str, got: String| Err(TrainError::setting(what, expected, &got));
        let positive = |number: f64| number.is_finite() && number > 0.0;
        if self.batch == 0 || self.tokens < self.batch as u64 {
            return Err(TrainError::TooFewTokens { asked: self.tokens, batch: self.batch });
        }
        if !positive(self.learning_rate) {
            return refuse("learning rate", "a number above zero", self.learning_rate.to_string());
        }
        if self.warm_up.saturating_add(self.decay) > self.steps() {
            let expected = format!("at most as many steps as the training has, {}", self.steps());
            return refuse("warm-up and decay", &expected, format!("{} and {}", self.warm_up, self.decay));
        }
        if let Some(norm) = self.outlier_norm.filter(|norm| !positive(norm.number())) {
            return refuse("outlier norm", "a norm above zero", norm.to_string());
        }
        if let ScaleChoice::Given(scale) = self.scale
            && !positive(scale)
        {
            return refuse("scale", "a number above zero", scale.to_string());
        }
        if self.mix_rows == 0 || self.checkpoint_every == 0 || self.log_every == 0 {
            let got = format!("{}, {} and {}", self.mix_rows, self.checkpoint_every, self.log_every);
            return refuse("rows to mix, steps between checkpoints and between records", "numbers above zero", got);
        }
        if self.held_out_every == 0 {
            return refuse("steps between measures at held-out rows", "a number above zero", "0".to_owned());
        }
        if self.held_out == 1 {
            return refuse(
                "held-out rows",
                "at least 2, as variance is about their mean, or 0 for none",
                "1".to_owned(),
            );
        }
        if self.threshold == ThresholdSource::HeldOut && self.held_out == 0 {
            return refuse("threshold held-out", "rows to take it from (--held-out ROWS)", "none".to_owned());
        }
        Ok(())
    }
}
