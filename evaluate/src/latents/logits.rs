//! Effects of decoder directions on the model's logits.

use hayloft_checkpoint::Checkpoint;
use hayloft_latents::LogitTokens;
use hayloft_model::{Decoder, Hook, Portion};
use hayloft_runtime::{Dtype, Progress};
use hayloft_sae::Sae;

use super::settings::LatentsSettings;
use crate::error::EvaluateError;
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

    /// The tokens whose logits the decoder direction of each latent raises and lowers most.
    pub(super) fn effects(
        &self,
        sae: &Sae,
        tokens: usize,
        progress: Progress,
    ) -> Result<Vec<LogitTokens>, EvaluateError> {
        let gauge = progress.latents("effects on logits", Some(sae.width() as u64));
        let effects = self.0.logit_effects(sae.decoder(), tokens, |latents| gauge.advance(latents))?;
        let effect = |own: hayloft_model::LogitEffects| LogitTokens { raised: own.raised, lowered: own.lowered };
        Ok(effects.into_iter().map(effect).collect())
    }
}
