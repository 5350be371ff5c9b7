//! Which of two ways to hold the same model's weights SAEs were trained on.

use std::fmt;

use serde::{Deserialize, Serialize};

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

impl fmt::Display for ModelWeights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::AsStored => "as-stored",
            Self::CentredWriting => "centred",
        })
    }
}
