//! The form of the model's weights that SAEs were trained on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The form of the model's weights that the SAEs' input comes from.
///
/// `TransformerLens` can centre the weights that write to the residual stream (`center_writing_weights`): embeddings
/// and the outputs of attention and feed-forward layers, biases included, each minus its mean over the stream. If every
/// reader of the stream starts with a `LayerNorm`, which subtracts the mean itself, predictions do not change, and each
/// activation becomes itself minus its mean. One cache therefore serves both forms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelWeights {
    /// As in the checkpoint.
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
