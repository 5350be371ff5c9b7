//! The record of how rollouts were made.

use std::path::Path;

use hayloft_model::{LogitsProcessors, Sampling};
use hayloft_runtime::{Dtype, IdentityDifference, ModelIdentity};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::RolloutError;
use crate::data::ROLLOUTS_FORMAT;

/// Everything that decides the rollouts, except the instructions. Stored as JSON under
/// [`ROLLOUTS_KEY`](crate::ROLLOUTS_KEY) in the metadata of the file and of each part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutsRecord {
    /// The version of this record and of the columns.
    pub format: u32,
    /// The model.
    pub model: ModelIdentity,
    /// The dtype of inference.
    pub precision: Dtype,
    /// BLAKE3 of `tokenizer.json`, hexadecimal.
    pub tokenizer_blake3: String,
    /// Id of the token that begins each prompt.
    pub bos_id: u32,
    /// The chat template's name.
    pub template: String,
    /// BLAKE3 of the template, hexadecimal.
    pub template_blake3: String,
    /// The sampling settings.
    pub sampling: Sampling,
    /// Logits processors from the checkpoint's `generation_config.json`.
    pub logits_processors: LogitsProcessors,
    /// Limit on the tokens of a rollout.
    pub max_new_tokens: usize,
    /// Limit on the tokens of prompt and rollout together.
    pub context_length: usize,
    /// Ids of the tokens that end a rollout.
    pub stop_token_ids: Vec<u32>,
    /// Texts of those tokens.
    pub end_of_turn: Vec<String>,
    /// Limit on the tokens of a batch. In float32, rollouts do not depend on it.
    pub batch_tokens: usize,
}

impl RolloutsRecord {
    /// The current version.
    pub const FORMAT: u32 = ROLLOUTS_FORMAT;

    /// Serialises the record.
    pub(super) fn to_json(&self) -> String {
        // Numbers, strings and lists always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns an error that names the first setting that differs.
    pub(super) fn check_same(&self, there: &Self, path: &Path) -> Result<(), RolloutError> {
        let differs = |setting: String, expected: String, got: String| {
            Err(RolloutError::Differs { path: path.to_owned(), setting, expected, got })
        };
        if let Some(IdentityDifference { what, expected, got }) = self.model.difference(&there.model) {
            return differs(format!("model: {what}"), expected, got);
        }
        let (prompt, there) = (fields(self), fields(there));
        for setting in prompt.keys().chain(there.keys()) {
            let [expected, got] = [&prompt, &there].map(|record| record.get(setting).unwrap_or(&Value::Null));
            if got != expected {
                return differs(setting.clone(), expected.to_string(), got.to_string());
            }
        }
        Ok(())
    }
}

fn fields(record: &RolloutsRecord) -> Map<String, Value> {
    match serde_json::to_value(record) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}
