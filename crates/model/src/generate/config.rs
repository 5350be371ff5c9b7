//! `generation_config.json`: the checkpoint's recommended generation settings.

use std::path::{Path, PathBuf};

use hayloft_checkpoint::{CheckpointError, read_json};
use serde_json::{Map, Value};

use super::processors::LogitsProcessors;
use crate::error::ModelError;

const FILE: &str = "generation_config.json";

/// Settings for choosing tokens from a checkpoint's `generation_config.json`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenerationConfig {
    /// Processors of the logits, for greedy decoding and sampling alike.
    pub processors: LogitsProcessors,
    /// Whether the checkpoint recommends sampling (`do_sample`).
    pub samples: bool,
    /// Its sampling settings, as `key value`. For information: the caller chooses its own.
    pub sampling: Vec<String>,
    /// Keys unknown to this crate and to transformers, which ignores them.
    pub unknown: Vec<String>,
    /// Settings of `config.json` that would change greedy decoding, as `key value`, where there is no
    /// `generation_config.json`. transformers 4 followed them, transformers 5 does not; here they are not followed.
    pub not_followed: Vec<String>,
}

/// The model's configuration, in which transformers 4 kept settings of generation.
const CONFIG: &str = "config.json";

/// Keys of [`LogitsProcessors`], with the neutral value besides null and an empty list.
const PROCESSORS: &[(&str, Option<f64>)] = &[
    ("bad_words_ids", None),
    ("begin_suppress_tokens", None),
    ("min_length", Some(0.0)),
    ("min_new_tokens", Some(0.0)),
    ("no_repeat_ngram_size", Some(0.0)),
    ("repetition_penalty", Some(1.0)),
    ("suppress_tokens", None),
];

/// Sampling settings.
const SAMPLING: &[&str] =
    &["temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"];

/// Unsupported keys that would change the text, with the neutral value besides null.
const REFUSED: &[(&str, Option<f64>)] = &[
    ("assistant_ensemble_weight", None),
    ("constraints", None),
    ("diversity_penalty", Some(0.0)),
    ("dola_layers", None),
    ("encoder_no_repeat_ngram_size", Some(0.0)),
    ("encoder_repetition_penalty", Some(1.0)),
    ("exponential_decay_length_penalty", None),
    ("force_words_ids", None),
    ("forced_bos_token_id", None),
    ("forced_decoder_ids", None),
    ("forced_eos_token_id", None),
    ("guidance_scale", Some(1.0)),
    ("max_time", None),
    ("num_beam_groups", Some(1.0)),
    ("num_beams", Some(1.0)),
    ("num_return_sequences", Some(1.0)),
    ("penalty_alpha", Some(0.0)),
    ("sequence_bias", None),
    ("stop_strings", None),
    ("token_healing", None),
    ("use_mtp", None),
    ("watermarking_config", None),
    ("watermark", None),
];

/// Keys that change neither greedy decoding nor sampling: token roles, which are read elsewhere; length limits, which the
/// caller sets; settings of beam search, with a single beam; caching, output and compilation; helpers that change no token.
const INERT: &[&str] = &[
    "_commit_hash",
    "_from_model_config",
    "_name_or_path",
    "assistant_confidence_threshold",
    "assistant_early_exit",
    "assistant_lookbehind",
    "bos_token_id",
    "cache_config",
    "cache_implementation",
    "compile_config",
    "continuous_batching_config",
    "decoder_start_token_id",
    "disable_compile",
    "do_sample",
    "early_stopping",
    "eos_token_id",
    "is_assistant",
    "length_penalty",
    "low_memory",
    "max_cache_len",
    "max_length",
    "max_matching_ngram_size",
    "max_new_tokens",
    "model_type",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_scores",
    "pad_token_id",
    "prefill_chunk_size",
    "prompt_lookup_num_tokens",
    "remove_invalid_values",
    "renormalize_logits",
    "return_dict_in_generate",
    "return_legacy_cache",
    "speculation_type",
    "target_lookbehind",
    "transformers_version",
    "trust_remote_code",
    "unk_token_id",
    "use_cache",
];

impl GenerationConfig {
    /// Reads the file of a checkpoint folder. Without a file, returns the default, and what `config.json` says of it.
    ///
    /// # Errors
    /// [`CheckpointError::Unsupported`] for settings that would change the text and are not supported.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(FILE);
        if !path.is_file() {
            return Ok(Self { not_followed: of_older_config(&folder.join(CONFIG)), ..Self::default() });
        }
        let mut keys: Map<String, Value> = read_json(&path)?;
        keys.retain(|_, value| !value.is_null());
        let file = File { path, keys };
        file.refuse()?;
        Ok(Self {
            processors: file.processors()?,
            samples: file.keys.get("do_sample").and_then(Value::as_bool).unwrap_or(false),
            sampling: SAMPLING.iter().filter_map(|key| Some(format!("{key} {}", file.keys.get(*key)?))).collect(),
            unknown: file.keys.keys().filter(|key| !is_known(key)).cloned().collect(),
            not_followed: Vec::new(),
        })
    }
}

/// Settings of a `config.json` that would change greedy decoding. The file is checked when the model is opened.
fn of_older_config(path: &Path) -> Vec<String> {
    let keys: Map<String, Value> = read_json(path).unwrap_or_default();
    let changes = |(key, neutral): &(&str, Option<f64>)| {
        let value = keys.get(*key).filter(|value| !is_neutral(value, *neutral))?;
        Some(format!("{key} {value}"))
    };
    PROCESSORS.iter().chain(REFUSED).filter_map(changes).collect()
}

/// Whether a setting changes nothing: it is null, false, an empty list, or its neutral number.
fn is_neutral(value: &Value, neutral: Option<f64>) -> bool {
    match value {
        Value::Null => true,
        Value::Number(number) => number.as_f64() == neutral && neutral.is_some(),
        Value::Array(list) => list.is_empty(),
        other => *other == Value::Bool(false),
    }
}

/// The non-null keys of the file.
struct File {
    path: PathBuf,
    keys: Map<String, Value>,
}

impl File {
    /// Refuses unsupported settings.
    fn refuse(&self) -> Result<(), ModelError> {
        let changes = |key: &str, inert| self.keys.get(key).is_some_and(|value| !is_neutral(value, inert));
        let mut refused = REFUSED.iter().filter(|(key, inert)| changes(key, *inert));
        if let Some((key, inert)) = refused.next() {
            let expected = inert.map_or_else(|| "null".to_owned(), |inert| format!("null or {inert}"));
            let others: Vec<&str> = refused.map(|(key, _)| *key).collect();
            let also =
                if others.is_empty() { String::new() } else { format!("; to be taken out too: {}", others.join(", ")) };
            return Err(self.unsupported(key, &format!("{expected}{also}")));
        }
        // The other caches store values unchanged.
        if self.keys.get("cache_implementation").is_some_and(|value| value == "quantized") {
            return Err(self.unsupported("cache_implementation", "null or a cache that rounds nothing"));
        }
        Ok(())
    }

    fn processors(&self) -> Result<LogitsProcessors, ModelError> {
        let penalty = match self.keys.get("repetition_penalty").map(Value::as_f64) {
            None => None,
            Some(Some(penalty)) if penalty.is_finite() && penalty > 0.0 => Some(penalty),
            Some(_) => return Err(self.unsupported("repetition_penalty", "a number above 0")),
        };
        let ends = match self.keys.get("eos_token_id") {
            Some(Value::Array(ids)) => ids.clone(),
            other => other.into_iter().cloned().collect(),
        };
        // As in transformers, a word that is just an end token is not banned.
        let is_end = |word: &Vec<u32>| matches!(word[..], [token] if ends.iter().any(|end| *end == token));
        let mut bad_words_ids: Vec<Vec<u32>> = self.tokens("bad_words_ids", "lists of token ids")?;
        bad_words_ids.retain(|word| !word.is_empty() && !is_end(word));
        Ok(LogitsProcessors {
            repetition_penalty: penalty.filter(|penalty| penalty.to_bits() != 1.0_f64.to_bits()),
            no_repeat_ngram_size: self.count("no_repeat_ngram_size")?,
            bad_words_ids,
            min_length: self.count("min_length")?,
            min_new_tokens: self.count("min_new_tokens")?,
            suppress_tokens: self.tokens("suppress_tokens", "token ids")?,
            begin_suppress_tokens: self.tokens("begin_suppress_tokens", "token ids")?,
        })
    }

    /// A number of tokens, if present and not 0.
    fn count(&self, key: &str) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.keys.get(key) else { return Ok(None) };
        let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
        let count = count.ok_or_else(|| self.unsupported(key, "a whole number from 0"))?;
        Ok((count > 0).then_some(count))
    }

    /// Token ids, or lists of token ids.
    fn tokens<T: serde::de::DeserializeOwned + Default>(&self, key: &str, expected: &str) -> Result<T, ModelError> {
        let Some(value) = self.keys.get(key) else { return Ok(T::default()) };
        serde_json::from_value(value.clone()).map_err(|_| self.unsupported(key, expected))
    }

    fn unsupported(&self, key: &str, expected: &str) -> ModelError {
        ModelError::from(CheckpointError::Unsupported {
            path: self.path.clone(),
            key: key.to_owned(),
            got: self.keys.get(key).unwrap_or(&Value::Null).to_string(),
            expected: expected.to_owned(),
            advice: "transformers would generate other text by it, and it is not computed here. Take the key out of a copy of the file to generate without it".to_owned(),
        })
    }
}

fn is_known(key: &str) -> bool {
    const APPLIED: &[&str] = &[
        "repetition_penalty",
        "no_repeat_ngram_size",
        "bad_words_ids",
        "min_length",
        "min_new_tokens",
        "suppress_tokens",
        "begin_suppress_tokens",
    ];
    APPLIED.contains(&key)
        || SAMPLING.contains(&key)
        || INERT.contains(&key)
        || REFUSED.iter().any(|(refused, _)| *refused == key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(keys: &Value) -> Result<GenerationConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), keys.to_string()).unwrap();
        GenerationConfig::read(folder.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_changes_logits_is_read_and_what_changes_nothing_is_not_talked_about() {
        assert_eq!(GenerationConfig::read(Path::new("/nowhere")).unwrap(), GenerationConfig::default());
        let defaults = json!({
            "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "bad_words_ids": null, "suppress_tokens": [],
            "min_length": 0, "num_beams": 1, "diversity_penalty": 0.0, "encoder_repetition_penalty": 1.0, "guidance_scale": 1,
            "forced_eos_token_id": null, "stop_strings": [], "eos_token_id": [2, 7], "max_length": 4096, "use_cache": true,
        });
        assert_eq!(read(&defaults).unwrap(), GenerationConfig::default());
        let config = read(&json!({
            "repetition_penalty": 1.3, "no_repeat_ngram_size": 3, "bad_words_ids": [[5, 6], [2], [9]], "min_new_tokens": 4,
            "suppress_tokens": [1], "begin_suppress_tokens": [8], "eos_token_id": 2, "do_sample": true, "top_k": 20,
            "temperature": 0.6, "chat_format": "chatml",
        }));
        let config = config.unwrap();
        let expected = LogitsProcessors {
            repetition_penalty: Some(1.3),
            no_repeat_ngram_size: Some(3),
            bad_words_ids: vec![vec![5, 6], vec![9]],
            min_length: None,
            min_new_tokens: Some(4),
            suppress_tokens: vec![1],
            begin_suppress_tokens: vec![8],
        };
        assert_eq!(config.processors, expected);
        assert!(config.samples);
        assert_eq!(config.sampling, ["temperature 0.6", "top_k 20"]);
        assert_eq!(config.unknown, ["chat_format"]);
        assert!(config.not_followed.is_empty());
    }

    #[test]
    fn what_config_json_says_of_generation_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let config =
            json!({"repetition_penalty": 1.3, "num_beams": 4, "top_k": 50, "min_length": 0, "bad_words_ids": null});
        std::fs::write(folder.path().join(CONFIG), config.to_string()).unwrap();
        let read = GenerationConfig::read(folder.path()).unwrap();
        assert_eq!(read.not_followed, ["repetition_penalty 1.3", "num_beams 4"]);
        std::fs::write(folder.path().join(FILE), "{}").unwrap();
        assert_eq!(GenerationConfig::read(folder.path()).unwrap(), GenerationConfig::default());
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        for (key, value) in [
            ("num_beams", json!(4)),
            ("encoder_repetition_penalty", json!(1.1)),
            ("encoder_no_repeat_ngram_size", json!(2)),
            ("forced_bos_token_id", json!(0)),
            ("forced_eos_token_id", json!(2)),
            ("exponential_decay_length_penalty", json!([5, 1.1])),
            ("guidance_scale", json!(1.5)),
            ("sequence_bias", json!([[[5], -1.0]])),
            ("stop_strings", json!(["User:"])),
            ("penalty_alpha", json!(0.6)),
            ("token_healing", json!(true)),
            ("cache_implementation", json!("quantized")),
            ("repetition_penalty", json!(-1)),
            ("repetition_penalty", json!("high")),
            ("no_repeat_ngram_size", json!(-2)),
            ("suppress_tokens", json!([-1])),
            ("bad_words_ids", json!([5])),
        ] {
            let message = read(&json!({key: value})).unwrap_err();
            assert!(message.contains(FILE) && message.contains(&format!("{key} is {value}")), "{message}");
        }
        let message = read(&json!({"num_beams": 4, "forced_eos_token_id": 2, "stop_strings": ["User:"]})).unwrap_err();
        assert!(message.contains("to be taken out too: num_beams, stop_strings"), "{message}");
    }
}
