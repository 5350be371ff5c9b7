//! `cfg.json` of SAELens before version 6: one flat object, which in the oldest files is the whole training configuration.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Number, Value};

use super::fields::{CommonFields, Options};
use super::trained_on::TrainedOn;
use crate::config::SaeConfig;
use crate::error::SaeError;
use crate::formats::source::Source;

/// Further training fields from older versions. None affects what an SAE computes. `finetuning_scaling_factor` announces a
/// tensor, which is checked itself.
const INERT: &[&str] = &[
    "act_store_device",
    "activations_mixing_fraction",
    "adam_beta1",
    "adam_beta2",
    "autocast",
    "autocast_lm",
    "b_dec_init_method",
    "cached_activations_path",
    "checkpoint_path",
    "compile_llm",
    "compile_sae",
    "dataset_path",
    "dataset_trust_remote_code",
    "dead_feature_estimation_method",
    "dead_feature_threshold",
    "dead_feature_window",
    "decoder_heuristic_init",
    "decoder_orthogonal_init",
    "disable_concat_sequences",
    "eval_batch_size_prompts",
    "eval_every_n_wandb_logs",
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
    "hook_point_layer",
    "init_encoder_as_decoder_transpose",
    "is_dataset_tokenized",
    "llm_compilation_mode",
    "log_activations_store_to_wandb",
    "log_optimizer_state_to_wandb",
    "log_to_wandb",
    "lr",
    "lr_decay_steps",
    "lr_end",
    "lr_scheduler_name",
    "lr_warm_up_steps",
    "model_class_name",
    "model_kwargs",
    "mse_loss_normalization",
    "n_batches_in_buffer",
    "n_checkpoints",
    "n_eval_batches",
    "n_restart_cycles",
    "neuronpedia_id",
    "normalize_sae_decoder",
    "resample_batches",
    "resume",
    "run_name",
    "sae_compilation_mode",
    "scale_sparsity_penalty_by_decoder_norm",
    "seed",
    "store_batch_size",
    "store_batch_size_prompts",
    "streaming",
    "tokens_per_buffer",
    "total_training_tokens",
    "train_batch_size",
    "train_batch_size_tokens",
    "training_tokens",
    "use_cached_activations",
    "use_ghost_grads",
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
    let k = source.one_of_two("k", "number", activation_fn_kwargs.unwrap_or_default().k, k)?;
    let d_sae = source.size("d_sae", d_sae)?;
    let architecture = source.flat_architecture(architecture.as_deref(), activation.as_deref())?;
    let options = Options { d_sae, k: k.as_ref(), rescale_by_decoder_norm: rescale_acts_by_decoder_norm };
    let normalisation = match &normalize_activations {
        None | Some(Value::Bool(false)) => source.normalisation("none")?,
        Some(Value::Bool(true)) => source.normalisation("expected_average_only_in")?,
        Some(Value::String(name)) => source.normalisation(name)?,
        Some(other) => return Err(source.field("normalize_activations", "a name, true or false", other)),
    };
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
