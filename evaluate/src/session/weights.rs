//! Which of two equivalent forms of the model's weights an SAE was trained on.

use std::str::FromStr;

use hayloft_checkpoint::{DecoderSpec, NormKind};
use hayloft_model::{Hook, Site};
use hayloft_results::ModelWeights;
use hayloft_runtime::words::did_you_mean;
use hayloft_sae::SaeFile;

use crate::error::EvaluateError;
use crate::session::splice_site::SpliceSite;

/// The user's choice of weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WeightsChoice {
    /// Follow the SAEs' configurations.
    #[default]
    FollowSae,
    /// Use these, regardless of the configurations.
    Given(ModelWeights),
}

impl WeightsChoice {
    /// The weights that all SAEs of a run were trained on, or those that the user names.
    pub(crate) fn resolve(
        self,
        saes: &[SaeFile],
        spec: Option<&DecoderSpec>,
        point: &SpliceSite,
    ) -> Result<ModelWeights, EvaluateError> {
        let asked = |sae: &SaeFile| {
            if sae.conventions().center_writing_weights { ModelWeights::CentredWriting } else { ModelWeights::AsStored }
        };
        let weights = match self {
            Self::Given(weights) => weights,
            Self::FollowSae => {
                let first = saes.first().map_or(ModelWeights::AsStored, asked);
                if let Some(other) = saes.iter().find(|sae| asked(sae) != first) {
                    return Err(EvaluateError::MixedWeights { sae: other.folder().to_path_buf(), expected: first });
                }
                first
            }
        };
        if weights == ModelWeights::AsStored {
            return Ok(weights);
        }
        let refuse = |got: String| Err(EvaluateError::CannotCentre { got });
        let Some(spec) = spec else {
            return refuse("no --model, which says whether its norms take the mean away".to_owned());
        };
        if spec.norm.kind != NormKind::Layer {
            return refuse(format!("a model of type {}, whose norms leave the mean in", spec.model_type));
        }
        for site in [&point.input.name, &point.target.name] {
            let hook = site.as_str().parse::<Site>().map(|site| site.hook());
            if !matches!(hook, Ok(Hook::ResidPre | Hook::ResidMid | Hook::ResidPost | Hook::AttnOut | Hook::MlpOut)) {
                return refuse(format!("{site}, which is not written to the residual stream"));
            }
        }
        Ok(weights)
    }
}

impl FromStr for WeightsChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "as-stored" => Ok(Self::Given(ModelWeights::AsStored)),
            "centred" => Ok(Self::Given(ModelWeights::CentredWriting)),
            other => {
                let near = did_you_mean(other, ["as-stored", "centred"]);
                Err(format!("expected as-stored or centred, got {other}{near}"))
            }
        }
    }
}
