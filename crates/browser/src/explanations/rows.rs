//! An explanation as files have it.

use serde::Deserialize;
use serde_json::Value;

/// An explanation of a latent.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) sae: Option<String>,
    pub(super) latent: u64,
    pub(super) text: String,
    pub(super) author: Option<String>,
    pub(super) score: Option<f64>,
}

/// An object of JSON, with our keys or those of Neuronpedia's exports.
#[derive(Deserialize)]
pub(super) struct Object {
    #[serde(alias = "index")]
    latent: Value,
    #[serde(alias = "description")]
    explanation: String,
    sae: Option<String>,
    author: Option<String>,
    score: Option<f64>,
    /// Neuronpedia's name of the SAE.
    pub(super) layer: Option<String>,
    #[serde(rename = "explanationModelName")]
    model: Option<String>,
    #[serde(rename = "typeName")]
    method: Option<String>,
}

impl Object {
    /// The explanation; what is wrong otherwise.
    pub(super) fn row(self) -> Result<Row, String> {
        // Neuronpedia has the number as a string.
        let latent = match &self.latent {
            Value::String(text) => text.parse().ok(),
            number => number.as_u64(),
        };
        let author = match (self.author, self.model, self.method) {
            (Some(author), ..) => Some(author),
            (None, Some(model), Some(method)) => Some(format!("{model}, {method}")),
            (None, model, method) => model.or(method),
        };
        Ok(Row {
            sae: self.sae,
            latent: latent.ok_or_else(|| format!("{} as the latent", self.latent))?,
            text: self.explanation,
            author: author.filter(|author| !author.is_empty()),
            score: self.score,
        })
    }
}
