//! `cfg.json` of SAELens before version 6: one flat object, which in the oldest files is the whole training configuration.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Number, Value};

use super::fields::{CommonFields, Options};
use super::trained_on::TrainedOn;
use crate::config::SaeConfig;
use crate::error::SaeError;
use crate::formats::source::Source;

/// Further training fields from older versions. None affects what an SAE computes. `finetuning_scaling_factor` and
/// `uses_scaling_factor` announce a tensor, which is checked itself. `layer` and `multi_topk` are leftovers of SAEs that were
/// trained by sparsify. `out_hook_point` is that of a transcoder, which `is_transcoder` says.
const INERT: &[&str] = &[
    "act_store_device",
    "activations_mixing_fraction",
    "adam_beta1",
    "adam_beta2",
    "autocast",
    "autocast_dtype",
    "autocast_lm",
    "b_dec_init_method",
    "begin_batch_token",
    "begin_sequence_token",
    "cached_activations_path",
    "checkpoint_path",
    "coefficient_warm_up_steps",
    "compile_llm",
    "compile_sae",
    "dataset_path",
    "dataset_trust_remote_code",
    "dead_feature_estimation_method",
    "dead_feature_threshold",
    "dead_feature_window",
    "decoder_heuristic_init",
    "decoder_heuristic_init_norm",
    "decoder_orthogonal_init",
    "disable_concat_sequences",
    "eval_batch_size_prompts",
    "eval_every_n_wandb_logs",
    "exclude_bos_between_sequences",
    "expansion_factor",
    "feature_reinit_scale",
    "feature_sampling_method",
    "feature_sampling_window",
    "finetuning_method",
    "finetuning_scaling_factor",
    "finetuning_tokens",
    "from_pretrained_path",
    "hook_eval",
    "hook_layer",
    "hook_layer_out",
    "hook_layers",
    "hook_point_eval",
    "hook_point_layer",
    "include_final_checkpoint",
    "init_encoder_as_decoder_transpose",
    "initial_threshold",
    "is_dataset_tokenized",
    "l0_lambda",
    "l1_normalization_fn",
    "l1_warmup_steps",
    "layer",
    "llm_compilation_mode",
    "log_activations_store_to_wandb",
    "log_optimizer_state_to_wandb",
    "log_to_wandb",
    "logger",
    "lr",
    "lr_decay_steps",
    "lr_end",
    "lr_scheduler_name",
    "lr_warm_up_steps",
    "model_class",
    "model_class_name",
    "model_kwargs",
    "mse_loss_normalization",
    "multi_topk",
    "n_batches_in_buffer",
    "n_checkpoints",
    "n_eval_batches",
    "n_eval_seqs",
    "n_restart_cycles",
    "n_shuffles_final",
    "n_shuffles_in_entire_dir",
    "n_shuffles_with_last_section",
    "neuronpedia_id",
    "normalize_sae_decoder",
    "out_hook_point",
    "out_hook_point_layer",
    "output_path",
    "resample_batches",
    "resume",
    "resume_from_checkpoint",
    "run_name",
    "sae_class_name",
    "sae_compilation_mode",
    "save_final_checkpoint",
    "scale_sparsity_penalty_by_decoder_norm",
    "seed",
    "sequence_separator_token",
    "shuffle_every_n_buffers",
    "sparsity_coefficient",
    "store_batch_size",
    "store_batch_size_prompts",
    "streaming",
    "tokens_per_buffer",
    "total_training_samples",
    "total_training_steps",
    "total_training_tokens",
    "train_batch_size",
    "train_batch_size_samples",
    "train_batch_size_tokens",
    "training_tokens",
    "use_cached_activations",
    "use_ghost_grads",
    "uses_scaling_factor",
    "verbose",
    "wandb_entity",
    "wandb_id",
    "wandb_log_frequency",
    "wandb_project",
];

#[derive(Deserialize)]
struct FlatFields {
    architecture: Option<String>,
    activation_fn: Option<String>,
    activation_fn_str: Option<String>,
    activation_fn_kwargs: Option<ActivationOptions>,
    k: Option<Number>,
    #[serde(default)]
    rescale_acts_by_decoder_norm: bool,
    d_in: u64,
    d_sae: u64,
    dtype: Option<String>,
    apply_b_dec_to_input: Option<bool>,
    normalize_activations: Option<Value>,
    reshape_activations: Option<String>,
    hook_name: Option<String>,
    hook_point: Option<String>,
    hook_head_index: Option<Value>,
    hook_point_head_index: Option<Value>,
    hook_name_out: Option<String>,
    hook_head_index_out: Option<Value>,
    /// Of transcoders of early 2024, which no later version reads.
    is_transcoder: Option<bool>,
    d_out: Option<u64>,
    model_name: Option<String>,
    #[serde(flatten)]
    trained_on: TrainedOn,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActivationOptions {
    k: Option<Number>,
    /// sparsify's: whether the k latents of the largest magnitude fire.
    #[serde(default)]
    signed: bool,
}

pub(super) fn parse(source: &Source<'_>, value: Value) -> Result<SaeConfig, SaeError> {
    let FlatFields {
        architecture,
        activation_fn,
        activation_fn_str,
        activation_fn_kwargs,
        k,
        rescale_acts_by_decoder_norm,
        d_in,
        d_sae,
        dtype,
        apply_b_dec_to_input,
        normalize_activations,
        reshape_activations,
        hook_name,
        hook_point,
        hook_head_index,
        hook_point_head_index,
        hook_name_out,
        hook_head_index_out,
        is_transcoder,
        d_out,
        model_name,
        trained_on,
        rest,
    } = source.fields(value)?;
    source.refuse_unknown(&rest, INERT)?;
    source.check_dtype(dtype.as_deref())?;
    source.check_head(hook_head_index.as_ref())?;
    source.check_head(hook_point_head_index.as_ref())?;
    let site = source.one_of_two("hook_name", "name", hook_name, hook_point)?;
    // Versions before this field existed reshaped whenever the name contained hook_z.
    let named_z = site.as_deref().is_some_and(|site| site.contains("hook_z"));
    source.check_reshape(reshape_activations.as_deref().unwrap_or(if named_z { "hook_z" } else { "none" }))?;
    let activation = source.one_of_two("activation_fn", "name", activation_fn, activation_fn_str)?;
    source.check_head(hook_head_index_out.as_ref())?;
    if is_transcoder == Some(true) {
        return Err(source.field("is_transcoder", "false, or a transcoder as SAELens 6 saves one", true));
    }
    let ActivationOptions { k: k_of_activation, signed } = activation_fn_kwargs.unwrap_or_default();
    if signed {
        return Err(source.field("activation_fn_kwargs.signed", "false: latents are never negative here", true));
    }
    let d_sae = source.size("d_sae", d_sae)?;
    let architecture = source.flat_architecture(architecture.as_deref(), activation.as_deref())?;
    // The file says in so many words that the activation is a ReLU, for which SAELens passes over k.
    let leftover = k.clone().filter(|_| activation.as_deref() == Some("relu") && architecture == "standard");
    let k = if leftover.is_some() { k_of_activation } else { source.one_of_two("k", "number", k_of_activation, k)? };
    let remarks = leftover.iter().map(|k| {
        format!("k is {k} and the activation is relu: it is read as a plain ReLU without k, as SAELens reads it. Was it trained as a TopK?")
    });
    let options = Options { d_sae, k: k.as_ref(), rescale_by_decoder_norm: rescale_acts_by_decoder_norm };
    let normalisation = match &normalize_activations {
        None | Some(Value::Bool(false)) => source.normalisation("none")?,
        Some(Value::Bool(true)) => source.normalisation("expected_average_only_in")?,
        Some(Value::String(name)) => source.normalisation(name)?,
        Some(other) => return Err(source.field("normalize_activations", "a name, true or false", other)),
    };
    let loaded = trained_on.remarks(site.as_deref());
    source.sae(CommonFields {
        architecture,
        options,
        normalisation,
        d_in,
        d_out,
        apply_b_dec_to_input,
        site,
        output_site: hook_name_out,
        model_name,
        conventions: trained_on.conventions(source)?,
        remarks: remarks.chain(loaded).collect(),
    })
}

impl Source<'_> {
    /// Resolves the architecture. `activation_fn = topk` turns the standard architecture into a `TopK` SAE.
    fn flat_architecture<'name>(
        &self,
        architecture: Option<&'name str>,
        activation: Option<&str>,
    ) -> Result<&'name str, SaeError> {
        let architecture = architecture.unwrap_or("standard");
        match (activation, architecture) {
            (None | Some("relu"), _) => Ok(architecture),
            (Some("topk"), "standard" | "topk") => Ok("topk"),
            (Some("topk"), _) => Err(self.field("activation_fn", format!("relu in a {architecture} SAE"), "topk")),
            (Some(other), _) => Err(self.field("activation_fn", "relu or topk", other)),
        }
    }

    /// Returns a field that has had two names. If both are present, they must agree.
    fn one_of_two<T: PartialEq + std::fmt::Display>(
        &self,
        field: &str,
        what: &str,
        one: Option<T>,
        other: Option<T>,
    ) -> Result<Option<T>, SaeError> {
        match (one, other) {
            (Some(one), Some(other)) if one != other => {
                Err(self.field(field, format!("one {what}"), format!("{one} and {other} under its two names")))
            }
            (one, other) => Ok(one.or(other)),
        }
    }
}
