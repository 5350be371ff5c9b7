//! Settings of statistics of latents.

use std::path::PathBuf;

use hayloft_latents::StatisticsSettings;
use hayloft_sae::SaeFile;
use hayloft_store::maintain::NumberRange;

use super::choice::LatentChoice;
use crate::error::EvaluateError;
use crate::session::run_saes::RunSae;
use crate::session::settings::RunSettings;

/// Settings of statistics of latents.
#[derive(Debug, Clone)]
pub struct LatentsSettings {
    /// Cache, SAEs and rows, as of an evaluation without a model. The rows are those of any of the sections.
    pub run: RunSettings,
    /// The shards to read, by their numbers in the plan.
    pub shards: NumberRange,
    /// Firings of each latent with the largest activations that are kept as examples.
    pub top: usize,
    /// Firings of each latent that are sampled as examples.
    pub sampled: usize,
    /// Latents that have examples; `None` for all.
    pub examples_of: Option<LatentChoice>,
    /// Tokens of an example's context on either side.
    pub window: u32,
    /// Latents that are listed for each as the nearest by the cosine of decoder directions.
    pub nearest: usize,
    /// The checkpoint that the cache was harvested from, for effects of decoder directions on logits. It is not run.
    pub logits_of: Option<PathBuf>,
    /// Tokens that are listed for each latent as those whose logits it raises most, and lowers most.
    pub logit_tokens: usize,
    /// Latents whose contribution is taken away to see the change of the loss. Needs the model of [`RunSettings`].
    pub ablate: Option<LatentChoice>,
    /// Latents that are listed for each as those that fire at the same tokens.
    pub cofiring: usize,
    /// What the samples come from.
    pub seed: u64,
    /// Folder of an export of all firings, as delphi's latent cache.
    pub delphi: Option<PathBuf>,
    /// Folder of the files.
    pub out: PathBuf,
}

impl LatentsSettings {
    /// Default number of examples of either kind.
    pub const EXAMPLES: usize = 20;
    /// Default number of tokens on either side of an example.
    pub const WINDOW: u32 = 16;
    /// Default number of similar latents of either kind.
    pub const SIMILAR: usize = 5;
    /// Default number of tokens whose logits a latent raises, and lowers.
    pub const LOGIT_TOKENS: usize = 10;
    /// Settings with every option at its default: all rows of all shards, with examples of all latents.
    pub fn new(cache: impl Into<PathBuf>, saes: Vec<PathBuf>, out: impl Into<PathBuf>) -> Self {
        Self {
            run: RunSettings { model: None, ..RunSettings::new("", cache, saes) },
            shards: NumberRange::default(),
            top: Self::EXAMPLES,
            sampled: Self::EXAMPLES,
            examples_of: None,
            window: Self::WINDOW,
            nearest: Self::SIMILAR,
            logits_of: None,
            logit_tokens: Self::LOGIT_TOKENS,
            ablate: None,
            cofiring: Self::SIMILAR,
            seed: 0,
            delphi: None,
            out: out.into(),
        }
    }

    /// Returns an error for invalid settings.
    pub(super) fn check(&self) -> Result<(), EvaluateError> {
        self.run.check()?;
        for (what, number) in [
            ("number of top examples", self.top),
            ("number of sampled examples", self.sampled),
            ("window", self.window as usize),
            ("number of nearest latents", self.nearest),
            ("number of co-firing latents", self.cofiring),
            ("number of tokens of logits", self.logit_tokens),
        ] {
            if number > StatisticsSettings::MOST {
                let expected = "at most 1000";
                return Err(EvaluateError::Setting { what, expected, got: number.to_string() });
            }
        }
        Ok(())
    }

    /// For each SAE the latents that are ablated, in ascending order.
    pub(super) fn ablated(&self, saes: &[RunSae]) -> Result<Vec<Vec<u32>>, EvaluateError> {
        let of_sae = |own: &RunSae| match &self.ablate {
            Some(choice) => choice.of(own.file.folder(), own.file.width()),
            None => Ok(Vec::new()),
        };
        saes.iter().map(of_sae).collect()
    }

    /// What is collected of an SAE on so many tokens.
    pub(super) fn of_sae(&self, sae: &SaeFile, tokens: u64) -> Result<StatisticsSettings, EvaluateError> {
        let width = sae.width();
        let examples_of = self.examples_of.as_ref().map(|choice| choice.of(sae.folder(), width)).transpose()?;
        Ok(StatisticsSettings {
            width,
            top: self.top,
            sampled: self.sampled,
            cofiring: self.cofiring,
            with_examples: examples_of,
            window: self.window,
            tokens,
            seed: self.seed,
        })
    }
}
