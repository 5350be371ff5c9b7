//! `evaluate finetune`.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

use clap::Args;
use hayloft_evaluate::Evaluation;
use hayloft_model::{ModelError, Site};
use hayloft_runtime::Dtype;
use hayloft_store::{LocalPath, Place};
use hayloft_train::{Coefficients, FinetuneSettings};

use super::course::CourseArguments;

/// A tenth of what training begins with.
const LEARNING_RATE: f64 = 3e-5;

const EXAMPLES: &str = "\
Examples:
  # A base model's SAE, fine-tuned on what the chat model answers, and evaluated
  # on other rollouts
  evaluate finetune --sae saes/base --cache chat-train --section rollout \\
      --tokens 5000000 --model mistral-7b-instruct --evaluate-cache chat-test \\
      --out saes/base-on-chat

The SAE keeps its architecture, k, thresholds' form and scale. Losses are
multiplied by what its cfg.json says that it was trained with, unless --l1, --l0
or --auxiliary says otherwise. The table has it before and after; results.json
goes to --out too.";

/// Train an SAE further on cached activations, and evaluate it before and after.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct FinetuneArguments {
    #[command(flatten)]
    pub course: CourseArguments,
    /// The SAE: its folder, as SAELens saves it (cfg.json, sae_weights.safetensors), RELEASE/ID of SAELens's registry, or
    /// OWNER/NAME/PATH of the Hugging Face Hub
    #[arg(long, value_name = "PATH|ID")]
    sae: LocalPath,
    /// The checkpoint that the evaluated cache was harvested from: its folder, or its id on the Hugging Face Hub
    #[arg(long, value_name = "DIR|ID")]
    model: LocalPath,
    /// Folder of the cache to evaluate on, before and after, or its location [default: the one trained on]
    #[arg(long, value_name = "DIR|URL")]
    evaluate_cache: Option<Place>,
    /// The site [default: the one that the SAE names]
    #[arg(long, value_name = "SITE")]
    site: Option<Site>,
    /// Adam's learning rate
    #[arg(long, value_name = "RATE", default_value_t = LEARNING_RATE)]
    learning_rate: f64,
    /// What L1 is multiplied by (standard, gated) [default: as the SAE was trained]
    #[arg(long, value_name = "WEIGHT")]
    l1: Option<f64>,
    /// What the penalty is multiplied by (jumprelu) [default: as the SAE was trained]
    #[arg(long, value_name = "WEIGHT")]
    l0: Option<f64>,
    /// What the loss of dead latents is multiplied by (topk) [default: as the SAE was trained, or 1]
    #[arg(long, value_name = "WEIGHT")]
    auxiliary: Option<f64>,
    /// What the model runs in for the evaluation: f32, bf16 or f16 [default: what the cache's model ran in]
    #[arg(long, value_name = "TYPE")]
    dtype: Option<Dtype>,
}

impl FinetuneArguments {
    /// What is asked for, on a device that is there.
    pub fn settings(self) -> Result<(FinetuneSettings, Evaluation), ModelError> {
        let evaluation = Evaluation {
            model: self.model.into(),
            cache: self.evaluate_cache.map(Place::into_path),
            precision: self.dtype,
        };
        let settings = FinetuneSettings {
            course: self.course.course(self.learning_rate)?,
            sae: self.sae.into(),
            site: self.site,
            coefficients: Coefficients { l1: self.l1, l0: self.l0, auxiliary: self.auxiliary },
        };
        Ok((settings, evaluation))
    }
}
