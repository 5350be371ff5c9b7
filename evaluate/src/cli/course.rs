//! What `train` and `finetune` have in common.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

use std::num::NonZeroUsize;

use clap::Args;
use hayloft_model::{ModelError, parse_device};
use hayloft_store::{LocalPath, Place};
use hayloft_train::{Course, Existing, ThresholdSource};

use super::remote::RemoteArguments;
use super::rows::RowArguments;

#[derive(Debug, Args)]
pub struct CourseArguments {
    /// Folder of the cache, or its location, such as s3://farm/stories
    #[arg(long, value_name = "DIR|URL")]
    pub cache: Place,
    #[command(flatten)]
    remote: RemoteArguments,
    /// Folder for the SAE (cfg.json, sae_weights.safetensors), training.jsonl, training.svg (its curves), training.json and checkpoints
    #[arg(long, value_name = "DIR")]
    pub out: LocalPath,
    /// Tokens to train on, in whole batches; more than the cache holds go round it again in another order
    #[arg(long, value_name = "N")]
    tokens: u64,
    /// Tokens of a batch
    #[arg(long, value_name = "N", default_value_t = Course::BATCH)]
    batch: usize,
    /// Steps in which the learning rate rises
    #[arg(long, value_name = "STEPS", default_value_t = 0)]
    warm_up: u64,
    /// Steps at the end in which the learning rate falls to zero
    #[arg(long, value_name = "STEPS", default_value_t = 0)]
    decay: u64,
    /// Steps in which the weight of the sparsity loss (--l1, --l0) rises from zero
    #[arg(long, value_name = "STEPS", default_value_t = 0)]
    sparsity_warm_up: u64,
    /// A latent counts as dead after so many steps without firing; before the training has had as many, none is known to be
    #[arg(long, value_name = "STEPS", default_value_t = Course::DEAD_AFTER)]
    dead_after: u64,
    #[command(flatten)]
    pub rows: RowArguments,
    /// Keep the last whole sequences of the cache, by their ids, from training: as few as hold so many kept tokens. On them the SAE is
    /// looked at as `evaluate run` would: explained variance, L0, dead latents [default: none]
    #[arg(long, value_name = "ROWS", default_value_t = 0, hide_default_value = true)]
    held_out: usize,
    /// Look at the held-out tokens every so many steps, and at the end; a look costs about a third of training on as many
    #[arg(long, value_name = "STEPS", default_value_t = Course::HELD_OUT_EVERY)]
    held_out_every: u64,
    /// Where a saved batchtopk's one threshold comes from: running, the mean over steps of each batch's smallest latent, as SAELens has
    /// it, or held-out, with which --k latents of a held-out token fire on average
    #[arg(long, value_name = "SOURCE", default_value_t = ThresholdSource::Running)]
    threshold: ThresholdSource,
    /// Tokens that wait to be drawn: more mix better, and each takes a row's bytes
    #[arg(long, value_name = "N", default_value_t = Course::MIX_ROWS)]
    mix_rows: usize,
    /// What all random numbers come from
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Where to compute: cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Threads of the kernels; a resumed training gives the same bits with the same number [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Go on from the last checkpoint in --out; begin where there is none
    #[arg(long)]
    resume: bool,
    /// Keep a checkpoint, which is an SAE too, every so many steps
    #[arg(long, value_name = "STEPS", default_value_t = Course::CHECKPOINT_EVERY)]
    checkpoint_every: u64,
    /// Write a line of training.jsonl every so many steps
    #[arg(long, value_name = "STEPS", default_value_t = Course::LOG_EVERY)]
    log_every: u64,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

impl CourseArguments {
    /// The course, on a device that is there.
    pub fn course(self, learning_rate: f64) -> Result<Course, ModelError> {
        Ok(Course {
            remote: self.remote.options(),
            existing: if self.resume { Existing::Resume } else { Existing::Refuse },
            sections: self.rows.sections,
            exclude: self.rows.exclude,
            outlier_norm: self.rows.outlier_norm,
            scale: self.rows.scale.unwrap_or_default(),
            batch: self.batch,
            learning_rate,
            warm_up: self.warm_up,
            decay: self.decay,
            sparsity_warm_up: self.sparsity_warm_up,
            dead_after: self.dead_after,
            mix_rows: self.mix_rows,
            seed: self.seed,
            device: parse_device(&self.device)?,
            checkpoint_every: self.checkpoint_every,
            log_every: self.log_every,
            held_out: self.held_out,
            held_out_every: self.held_out_every,
            threshold: self.threshold,
            ..Course::new(self.cache.into_path(), self.out, self.tokens)
        })
    }
}
