//! What training from the beginning and fine-tuning are both asked for.

use std::path::PathBuf;

use hayloft_rows::{ExcludeChoice, OutlierNorm, RowChoice, ScaleChoice, SectionChoice};
use hayloft_store::RemoteOptions;
use tch::Device;

use crate::error::TrainError;
use crate::measure::threshold::ThresholdSource;

/// The course of a training: on what, how long, how fast, and where the result goes.
#[derive(Debug, Clone)]
pub struct Course {
    /// Folder of the cache, or its location, such as `s3://farm/stories`.
    pub cache: PathBuf,
    /// How a cache at a location is reached, and where what is read from it is kept.
    pub remote: RemoteOptions,
    /// Folder of the result.
    pub out: PathBuf,
    /// What to do where a training was begun there.
    pub existing: Existing,
    /// Rows of these sections; empty means all rows.
    pub sections: Vec<SectionChoice>,
    /// Rows of these tokens are left out.
    pub exclude: ExcludeChoice,
    /// The folder of the model's tokenizer, which says which tokens are special; no other choice needs it.
    pub tokenizer: Option<PathBuf>,
    /// Rows of a larger norm than this are left out.
    pub outlier_norm: Option<OutlierNorm>,
    /// What activations are multiplied by; `Auto` is over the rows that sections and exclusions keep.
    pub scale: ScaleChoice,
    /// Rows to train on, in whole batches; more than the cache holds go round it again.
    pub tokens: u64,
    /// Rows of a batch.
    pub batch: usize,
    /// Adam's learning rate, once it is warm.
    pub learning_rate: f64,
    /// Steps until the learning rate is reached.
    pub warm_up: u64,
    /// Steps at the end in which the learning rate goes to zero.
    pub decay: u64,
    /// Steps until the sparsity loss has its full weight.
    pub sparsity_warm_up: u64,
    /// A latent is dead after so many steps without firing.
    pub dead_after: u64,
    /// Rows that the mixing buffer holds at most.
    pub mix_rows: usize,
    /// What all random numbers come from.
    pub seed: u64,
    /// Where to compute.
    pub device: Device,
    /// Steps from one checkpoint to the next.
    pub checkpoint_every: u64,
    /// Steps from one record to the next.
    pub log_every: u64,
    /// Rows that are not trained on, to see how the SAE does on them: those of the last whole sequences of the cache, by their ids, at
    /// least this many that are kept; 0 for none.
    pub held_out: usize,
    /// Steps from one look at the held-out rows to the next; the last step has one anyway.
    pub held_out_every: u64,
    /// Where the threshold of a saved `BatchTopK` comes from.
    pub threshold: ThresholdSource,
}

/// What to do where a training was begun in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Refuse.
    Refuse,
    /// Go on from its last checkpoint.
    Resume,
}

impl Course {
    /// SAELens's learning rate.
    pub const LEARNING_RATE: f64 = 3e-4;
    /// SAELens's `train_batch_size_tokens`.
    pub const BATCH: usize = 4096;
    /// SAELens's `dead_feature_window`.
    pub const DEAD_AFTER: u64 = 1000;
    /// At 4096 wide in bf16 this is 2 GiB.
    pub const MIX_ROWS: usize = 1 << 18;
    /// Steps between checkpoints.
    pub const CHECKPOINT_EVERY: u64 = 1000;
    /// Steps between records.
    pub const LOG_EVERY: u64 = 10;
    /// Steps between looks at the held-out rows: SAELens's `eval_every_n_wandb_logs` of 100 records, each after 10 steps.
    pub const HELD_OUT_EVERY: u64 = 1000;

    /// A course with every choice left at its default, on the CPU.
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

    /// Steps: whole batches.
    pub(crate) fn steps(&self) -> u64 {
        self.tokens / self.batch.max(1) as u64
    }

    /// The rows that are trained on, whatever their norms.
    pub(crate) fn rows(&self) -> RowChoice {
        RowChoice { sections: self.sections.clone(), exclude: self.exclude }
    }

    /// The scale, of which `Auto` is over the rows that are trained on.
    pub fn scale(&self) -> ScaleChoice {
        if self.scale == ScaleChoice::Auto { ScaleChoice::KeptRows } else { self.scale }
    }

    /// Refuses what makes no sense.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let refuse =
            |what, expected: &str, got: String| Err(TrainError::Setting { what, expected: expected.to_owned(), got });
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
            return refuse("steps between looks at held-out rows", "a number above zero", "0".to_owned());
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
