//! Which of two ways to hold the same model's weights an SAE was trained on.

use std::fmt;
use std::str::FromStr;

use hayloft_model::{DecoderSpec, Hook, NormKind, Site};
use serde::{Deserialize, Serialize};

use crate::splice_point::SplicePoint;
use crate::{EvaluateError, SaeFile};

/// How the weights are held whose activations SAEs are given.
///
/// `TransformerLens` can centre what writes to the residual stream (`center_writing_weights`): embeddings and the outputs of
/// attention and feed-forward, biases among them, each less its mean over the stream. Where every reader of the stream
/// begins with a `LayerNorm`, which takes the mean away itself, the model's predictions stay what they were, and each
/// activation that is written to the stream is what it was less its own mean. So a cache of either serves both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelWeights {
    /// As the checkpoint has them.
    #[default]
    AsStored,
    /// With centred writing weights.
    CentredWriting,
}

impl ModelWeights {
    /// The weights that all SAEs of a run were trained on, or those that the user names.
    pub(crate) fn of(
        choice: WeightsChoice,
        saes: &[SaeFile],
        spec: Option<&DecoderSpec>,
        point: &SplicePoint,
    ) -> Result<Self, EvaluateError> {
        let asked = |sae: &SaeFile| {
            if sae.conventions().center_writing_weights { Self::CentredWriting } else { Self::AsStored }
        };
        let weights = match choice {
            WeightsChoice::Given(weights) => weights,
            WeightsChoice::FollowSae => {
                let first = saes.first().map_or(Self::AsStored, asked);
                if let Some(other) = saes.iter().find(|sae| asked(sae) != first) {
                    return Err(EvaluateError::MixedWeights { sae: other.folder().to_path_buf(), expected: first });
                }
                first
            }
        };
        if weights == Self::AsStored {
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

/// What the user says of the weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WeightsChoice {
    /// What the SAEs' configurations say.
    #[default]
    FollowSae,
    /// These, whatever they say.
    Given(ModelWeights),
}

impl FromStr for WeightsChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "as-stored" => Ok(Self::Given(ModelWeights::AsStored)),
            "centred" => Ok(Self::Given(ModelWeights::CentredWriting)),
            other => Err(format!("expected as-stored or centred, got {other}")),
        }
    }
}

impl fmt::Display for ModelWeights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::AsStored => "as-stored",
            Self::CentredWriting => "centred",
        })
    }
}
