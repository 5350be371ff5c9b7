//! Keys that a `config.json` of any family may have and that do not affect the forward pass: marks of the tools that saved it,
//! settings of training, of generation and of classification heads.

use serde_json::json;

use super::keys::Keys;
use crate::error::CheckpointError;

/// Keys that never affect the forward pass. The settings of generation are those that transformers 4 keeps here too;
/// [`GenerationConfig`](crate::GenerationConfig) tells of them.
const INERT: &[&str] = &[
    // The file and the tools that wrote it.
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_attn_implementation_internal",
    "_commit_hash",
    "_experts_implementation",
    "_flash_attn_2_enabled",
    "_from_model_config",
    "_name_or_path",
    "architectures",
    "attn_implementation",
    "auto_map",
    "is_llama_config",
    "name_or_path",
    "tokenizer_class",
    "transformers.js_config",
    "transformers_version",
    "use_flash_attn",
    // Roles of tokens, which the tokenizer's files have.
    "bos_token_id",
    "cls_token_id",
    "decoder_start_token_id",
    "eos_token_id",
    "mask_token_id",
    "pad_token_id",
    "sep_token_id",
    "unk_token_id",
    // What a model returns, and how it runs.
    "cache_implementation",
    "chunk_size_feed_forward",
    "is_decoder",
    "keys_to_ignore_at_inference",
    "model_max_length",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "pretraining_tp",
    "return_dict",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "torchscript",
    "use_bfloat16",
    "use_cache",
    "use_return_dict",
    // Training.
    "gradient_checkpointing",
    "init_std",
    "initializer_factor",
    "initializer_range",
    "layerdrop",
    "neftune_noise_alpha",
    // Heads and pipelines for other tasks.
    "_num_labels",
    "finetuning_task",
    "id2label",
    "label2id",
    "num_labels",
    "prefix",
    "problem_type",
    "task_specific_params",
    // Generation.
    "bad_words_ids",
    "begin_suppress_tokens",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_scores",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict_in_generate",
    "suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
];

/// Drops the keys that never affect the forward pass. Dropout acts in training only.
pub(super) fn pass_over(keys: &mut Keys) -> Result<(), CheckpointError> {
    keys.ignore_if(|key| {
        INERT.contains(&key)
            || key.contains("dropout")
            || key.ends_with("_pdrop")
            || key.starts_with("summary_")
            || key.starts_with("unsloth_")
    });
    keys.only_default("is_encoder_decoder", false)?;
    keys.only_default("add_cross_attention", false)?;
    keys.only_default("cross_attention_hidden_size", json!(null))?;
    keys.only_default("pruned_heads", json!({}))
}
