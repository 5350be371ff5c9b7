//! `harvest inspect`: what a checkpoint is, and whether it runs.

use std::fmt;
use std::path::Path;

use hayloft_checkpoint::{Checkpoint, CheckpointError, DecoderSpec, HeadWeights, PositionSpec};
use hayloft_model::{GenerationConfig, LogitsProcessors};
use hayloft_runtime::{ModelIdentity, Progress, TextTable};
use serde::Serialize;

use crate::error::HarvestError;
use crate::identify::identify;

/// Columns of the text.
const WIDTH: usize = 80;

/// A description of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelInspection {
    /// The folder as given by the caller.
    pub path: String,
    /// The family, as in `config.json`.
    pub model_type: String,
    /// Number of blocks.
    pub n_blocks: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of query heads.
    pub n_heads: usize,
    /// Number of key and value heads.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the hidden layer of the feed-forward part.
    pub d_mlp: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// The longest sequence, in tokens.
    pub context_length: usize,
    /// Position encoding: `rotary` or `learned`.
    pub positions: &'static str,
    /// The sliding windows of blocks, without repetition. Empty if every block attends to all keys.
    pub windows: Vec<usize>,
    /// Whether the unembedding is the embedding.
    pub tied_head: bool,
    /// Number type of the weights, if the files say it.
    pub dtype: Option<String>,
    /// Whether the folder has weights. They are then complete and fit the configuration.
    pub has_weights: bool,
    /// SHA-256 of the model's identity, hexadecimal, if the folder has weights.
    pub identity_sha256: Option<String>,
    /// Changes of the logits in `generation_config.json`, which `harvest rollouts` applies.
    pub generation: LogitsProcessors,
    /// Settings of generation in `config.json`, as `key value`, which `harvest rollouts` does not follow.
    pub not_followed: Vec<String>,
}

impl ModelInspection {
    /// Opens the checkpoint in `folder` and identifies the model, or reads its configuration alone if the folder has no
    /// weights.
    ///
    /// # Errors
    /// Whatever [`Checkpoint::open`] and [`GenerationConfig::read`] refuse.
    pub fn of(folder: &Path, progress: Progress) -> Result<Self, HarvestError> {
        let (spec, dtype, identity) = match Checkpoint::open(folder) {
            Ok(checkpoint) => {
                let identity = identify(&checkpoint, progress)?;
                (checkpoint.spec().clone(), Some(checkpoint.precision()), Some(identity))
            }
            Err(CheckpointError::NoWeights { .. }) => {
                let (spec, dtype) = Checkpoint::read_config(folder)?;
                (spec, dtype, None)
            }
            Err(other) => return Err(other.into()),
        };
        let GenerationConfig { processors, not_followed, .. } = GenerationConfig::read(folder)?;
        let DecoderSpec { n_blocks, d_model, vocab_size, context_length, attention, mlp, .. } = &spec;
        let mut windows: Vec<usize> = spec.windows.iter().copied().flatten().collect();
        windows.sort_unstable();
        windows.dedup();
        Ok(Self {
            path: folder.display().to_string(),
            n_blocks: *n_blocks,
            d_model: *d_model,
            n_heads: attention.n_heads,
            n_kv_heads: attention.n_kv_heads,
            head_dim: attention.head_dim,
            d_mlp: mlp.d_mlp,
            vocab_size: *vocab_size,
            context_length: *context_length,
            positions: if matches!(spec.positions, PositionSpec::Rotary { .. }) { "rotary" } else { "learned" },
            windows,
            tied_head: spec.head == HeadWeights::Tied,
            dtype: dtype.map(|dtype| dtype.to_string()),
            has_weights: identity.is_some(),
            identity_sha256: identity.as_ref().map(ModelIdentity::sha256),
            generation: processors,
            not_followed,
            model_type: spec.model_type,
        })
    }
}

impl fmt::Display for ModelInspection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = match self.n_kv_heads {
            same if same == self.n_heads => format!("{} of width {}", self.n_heads, self.head_dim),
            keys => format!("{} of width {}, {keys} of keys and values", self.n_heads, self.head_dim),
        };
        let windows: Vec<String> = self.windows.iter().map(usize::to_string).collect();
        let weights = if self.has_weights { "complete" } else { "none in the folder; the configuration runs" };
        let mut rows = vec![
            ("family", self.model_type.clone()),
            ("blocks", self.n_blocks.to_string()),
            ("d_model", self.d_model.to_string()),
            ("heads", heads),
            ("d_mlp", self.d_mlp.to_string()),
            ("vocabulary", self.vocab_size.to_string()),
            ("context", format!("{} tokens", self.context_length)),
            ("positions", self.positions.to_owned()),
            ("head", if self.tied_head { "the embedding" } else { "its own matrix" }.to_owned()),
            ("weights", weights.to_owned()),
        ];
        if let Some(digest) = &self.identity_sha256 {
            rows.push(("identity", digest.chars().take(ModelIdentity::SHORT).collect()));
        }
        if !windows.is_empty() {
            rows.push(("windows", format!("{} tokens, of some blocks or all", windows.join(", "))));
        }
        if let Some(dtype) = &self.dtype {
            rows.push(("dtype", dtype.clone()));
        }
        if !self.generation.is_empty() {
            rows.push(("generation", crate::rollouts::in_words(&self.generation)));
        }
        if !self.not_followed.is_empty() {
            rows.push(("not followed", self.not_followed.join(", ")));
        }
        let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
        let table = TextTable { headings: Vec::new(), names: 2, rows, is_ruled: false };
        write!(formatter, "{}\n{}", self.path, table.fit(WIDTH))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_model_is_described_with_its_weights_and_without() {
        let model = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/stories260K"));
        let whole = ModelInspection::of(&model, Progress::Silent).unwrap();
        assert_eq!((whole.model_type.as_str(), whole.n_blocks, whole.d_model, whole.vocab_size), ("llama", 5, 64, 512));
        assert!(whole.has_weights && whole.tied_head && whole.generation.is_empty());
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(model.join("config.json"), folder.path().join("config.json")).unwrap();
        std::fs::write(folder.path().join("generation_config.json"), r#"{"repetition_penalty": 1.5}"#).unwrap();
        let alone = ModelInspection::of(folder.path(), Progress::Silent).unwrap();
        assert_eq!((alone.has_weights, alone.n_kv_heads, alone.context_length), (false, 4, 512));
        let text = alone.to_string();
        assert!(text.contains("none in the folder") && text.contains("repetition_penalty 1.5"), "{text}");
        std::fs::write(folder.path().join("generation_config.json"), r#"{"num_beams": 4}"#).unwrap();
        assert!(
            ModelInspection::of(folder.path(), Progress::Silent).unwrap_err().to_string().contains("num_beams is 4")
        );
    }
}
