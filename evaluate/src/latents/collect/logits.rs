//! Effects of decoder directions on the model's logits.

use std::ops::Range;

use hayloft_checkpoint::Checkpoint;
use hayloft_latents::LogitTokens;
use hayloft_model::{Decoder, Hook, Portion};
use hayloft_runtime::{Dtype, Progress};
use hayloft_sae::Sae;

use crate::error::EvaluateError;
use crate::latents::settings::LatentsSettings;
use crate::session::context::{EvaluationContext, check_model};

/// The final norm and the unembedding of the cache's model.
#[derive(Debug)]
pub(super) struct Unembedding(Decoder);

impl Unembedding {
    /// Opens those of the model in the settings, if there is one. Refuses another model than the cache's, and SAEs that do
    /// not write to the residual.
    pub(super) fn open(
        settings: &LatentsSettings,
        context: &EvaluationContext,
        progress: Progress,
    ) -> Result<Option<Self>, EvaluateError> {
        let Some(folder) = &settings.logits_of else { return Ok(None) };
        let target = context.point.target_site;
        if !matches!(target.hook(), Hook::ResidPre | Hook::ResidMid | Hook::ResidPost | Hook::AttnOut | Hook::MlpOut) {
            return Err(EvaluateError::NotInResidual { site: target.to_string() });
        }
        let load = |checkpoint: &Checkpoint| {
            let head = Portion::From(checkpoint.spec().n_blocks);
            Ok(Some(Self(Decoder::load(checkpoint, head, Dtype::F32, settings.run.device)?)))
        };
        // Ablation has opened and identified the same model.
        if settings.run.model.as_ref() == Some(folder)
            && let Some(checkpoint) = &context.checkpoint
        {
            return load(checkpoint);
        }
        let checkpoint = Checkpoint::open(folder)?;
        check_model(&context.cache, &checkpoint, progress)?;
        load(&checkpoint)
    }

    /// The tokens whose logits the decoder directions of some latents raise and lower most.
    pub(super) fn effects(
        &self,
        sae: &Sae,
        latents: Range<usize>,
        tokens: usize,
        progress: Progress,
    ) -> Result<Vec<LogitTokens>, EvaluateError> {
        let gauge = progress.latents("effects on logits", Some(latents.len() as u64));
        let directions = sae.decoder().f_narrow(0, latents.start as i64, latents.len() as i64)?;
        let effects = self.0.logit_effects(&directions, tokens, |latents| gauge.advance(latents))?;
        let effect = |own: hayloft_model::LogitEffects| LogitTokens { raised: own.raised, lowered: own.lowered };
        Ok(effects.into_iter().map(effect).collect())
    }
}
