//! Parses `cfg.json` in either layout.

use serde_json::Value;

use super::{flat, nested};
use crate::config::SaeConfig;
use crate::error::SaeError;
use crate::formats::source::Source;

/// Parses a configuration in the nested layout (version 6 and later) or the flat layout (earlier versions). Also returns the
/// raw JSON.
pub(super) fn parse(source: &Source<'_>, bytes: &[u8]) -> Result<(SaeConfig, Value), SaeError> {
    let value: Value = source.json(bytes)?;
    let fields = value.clone();
    let config = if is_nested(source, &value)? { nested::parse(source, fields)? } else { flat::parse(source, fields)? };
    Ok((config, value))
}

/// Version 6 moved fields that do not affect the computation to `metadata`, including the version.
fn is_nested(source: &Source<'_>, value: &Value) -> Result<bool, SaeError> {
    let metadata = value.get("metadata");
    let version = [Some(value), metadata].into_iter().flatten().find_map(|place| place.get("sae_lens_version"));
    let Some(version) = version.filter(|version| !version.is_null()) else { return Ok(metadata.is_some()) };
    let major = version.as_str().and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    match major {
        Some(major) => Ok(major >= 6),
        None => Err(source.field("sae_lens_version", "a version such as 6.54.12", version)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::config::{Architecture, InputBias, Ranking};
    use crate::normalisation::Normalisation;

    fn read(value: &Value) -> Result<SaeConfig, SaeError> {
        parse(&Source { path: Path::new("cfg.json") }, value.to_string().as_bytes()).map(|(config, _)| config)
    }

    fn refused(value: &Value) -> String {
        read(value).unwrap_err().to_string()
    }

    fn nested(changes: &Value) -> Value {
        let mut value = json!({
            "architecture": "standard", "d_in": 4, "d_sae": 16, "dtype": "float32", "device": "cuda",
            "apply_b_dec_to_input": false, "normalize_activations": "none", "reshape_activations": "none",
            "metadata": {"sae_lens_version": "6.54.12", "hook_name": "blocks.3.hook_resid_pre", "any": {"thing": 1}},
        });
        for (name, change) in changes.as_object().unwrap() {
            value[name] = change.clone();
        }
        value
    }

    fn flat(changes: &Value) -> Value {
        let mut value = json!({"d_in": 4, "d_sae": 16, "hook_point": "blocks.3.hook_resid_pre", "l1_coefficient": 5});
        for (name, change) in changes.as_object().unwrap() {
            value[name] = change.clone();
        }
        value
    }

    #[test]
    fn nested_fields_are_understood() {
        let config =
            read(&nested(&json!({"architecture": "topk", "k": 3, "rescale_acts_by_decoder_norm": true}))).unwrap();
        assert_eq!(config.architecture, Architecture::TopK { k: 3, ranking: Ranking::DecoderNorm });
        assert_eq!(config.input_bias, InputBias::None);
        assert_eq!(config.site.as_deref(), Some("blocks.3.hook_resid_pre"));
    }

    #[test]
    fn flat_defaults_are_those_of_their_time() {
        let config = read(&flat(&json!({}))).unwrap();
        assert_eq!(config.architecture, Architecture::Standard);
        assert_eq!(config.input_bias, InputBias::DecoderBias);
        assert_eq!(config.normalisation, Normalisation::None);
        assert_eq!(config.site.as_deref(), Some("blocks.3.hook_resid_pre"));
    }

    #[test]
    fn a_flat_switch_for_normalisation_is_the_average() {
        for (value, expected) in [
            (json!(true), Normalisation::ExpectedAverageOnlyIn),
            (json!(false), Normalisation::None),
            (json!(null), Normalisation::None),
            (json!("layer_norm"), Normalisation::LayerNorm),
        ] {
            assert_eq!(read(&flat(&json!({"normalize_activations": value}))).unwrap().normalisation, expected);
        }
        assert!(refused(&nested(&json!({"normalize_activations": true}))).contains("normalize_activations"));
    }

    #[test]
    fn a_flat_activation_of_topk_is_the_topk_architecture() {
        let topk = json!({"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 5}, "architecture": "standard"});
        let expected = Architecture::TopK { k: 5, ranking: Ranking::PreActivation };
        assert_eq!(read(&flat(&topk)).unwrap().architecture, expected);
    }

    #[test]
    fn every_spelling_of_a_type_is_taken() {
        for dtype in ["float32", "torch.float32", "bfloat16", "torch.bfloat16", "float16", "torch.float64"] {
            read(&flat(&json!({"dtype": dtype}))).unwrap();
        }
        assert!(refused(&flat(&json!({"dtype": "int8"}))).contains("dtype: expected float32"));
    }

    #[test]
    fn topk_without_k_is_refused() {
        assert!(refused(&nested(&json!({"architecture": "topk"}))).contains("k: expected"));
        assert!(refused(&flat(&json!({"activation_fn_str": "topk"}))).contains("k: expected"));
        assert!(refused(&nested(&json!({"architecture": "topk", "k": 17}))).contains("from 1 to d_sae = 16, got 17"));
        assert!(refused(&nested(&json!({"architecture": "topk", "k": 0}))).contains("from 1 to d_sae = 16, got 0"));
    }

    #[test]
    fn a_k_that_a_plain_relu_would_pass_over_is_refused() {
        assert!(refused(&nested(&json!({"k": 3}))).contains("k: expected none in a standard SAE"));
        assert!(refused(&flat(&json!({"activation_fn_kwargs": {"k": 3}}))).contains("k: expected none"));
    }

    #[test]
    fn unknown_architectures_activations_and_normalisations_are_refused() {
        for name in ["crosscoder", "temporal", "matching_pursuit", "Standard", ""] {
            let message = refused(&nested(&json!({"architecture": name})));
            assert!(message.contains("architecture: expected standard, topk, jumprelu, gated"), "{message}");
        }
        assert!(
            refused(&flat(&json!({"activation_fn": "tanh-relu"}))).contains("activation_fn: expected relu or topk")
        );
        assert!(
            refused(&flat(&json!({"architecture": "jumprelu", "activation_fn": "topk"}))).contains("activation_fn")
        );
        let whitened = refused(&nested(&json!({"normalize_activations": "covariance_whitening"})));
        assert!(whitened.contains("normalize_activations: expected none,"), "{whitened}");
    }

    #[test]
    fn unknown_fields_are_refused_and_inert_ones_are_not() {
        assert!(refused(&nested(&json!({"skip_connection": true}))).contains("got skip_connection"));
        assert!(refused(&flat(&json!({"skip_connection": true}))).contains("got skip_connection"));
        read(&nested(&json!({"l1_coefficient": 1.0, "decoder_init_norm": 0.1}))).unwrap();
        read(&flat(&json!({"lr": 1.0, "wandb_project": "a", "finetuning_scaling_factor": false}))).unwrap();
    }

    #[test]
    fn fields_of_metadata_at_the_top_level_say_the_same() {
        let read = read(&nested(&json!({"model_class_name": "HookedTransformer", "prepend_bos": false}))).unwrap();
        assert_eq!(read.conventions.prepend_bos, Some(false));
        let message = refused(&nested(&json!({"hook_name": "blocks.4.hook_resid_pre"})));
        assert!(message.contains("as metadata.hook_name says"), "{message}");
        assert!(refused(&nested(&json!({"hook_head_index": 3}))).contains("hook_head_index"));
    }

    #[test]
    fn a_k_beside_an_activation_that_is_a_relu_is_told() {
        let config =
            read(&flat(&json!({"activation_fn_str": "relu", "k": 32, "multi_topk": false, "layer": 3}))).unwrap();
        assert_eq!(config.architecture, Architecture::Standard);
        assert!(config.remarks[0].contains("k is 32"), "{:?}", config.remarks);
        assert!(refused(&flat(&json!({"k": 3}))).contains("k: expected none"));
    }

    #[test]
    fn a_way_of_loading_the_model_that_changes_the_site_is_told() {
        let folded = json!({"hook_point": "blocks.3.mlp.hook_in", "model_from_pretrained_kwargs": {"fold_ln": true}});
        assert!(read(&flat(&folded)).unwrap().remarks[0].contains("fold_ln"));
        let elsewhere = json!({"model_from_pretrained_kwargs": {"fold_ln": true, "fold_value_biases": false}});
        assert!(read(&flat(&elsewhere)).unwrap().remarks.is_empty());
    }

    #[test]
    fn whole_configurations_of_runners_are_read_and_transcoders_of_early_2024_refused() {
        let runner = json!({"hook_point_eval": "blocks.{layer}.attn.pattern", "decoder_heuristic_init_norm": 0.1,
            "hook_point_layer": 3, "n_shuffles_final": 10, "is_transcoder": false, "out_hook_point": null});
        read(&flat(&runner)).unwrap();
        assert!(refused(&flat(&json!({"is_transcoder": true}))).contains("is_transcoder"));
        let signed = json!({"activation_fn": "topk", "activation_fn_kwargs": {"k": 5, "signed": true}});
        assert!(refused(&flat(&signed)).contains("signed"));
    }

    #[test]
    fn heads_side_by_side_are_read_and_other_shapes_and_single_heads_refused() {
        read(&nested(&json!({"reshape_activations": "hook_z"}))).unwrap();
        let z = json!({"hook_point": "blocks.3.attn.hook_z"});
        assert_eq!(read(&flat(&z)).unwrap().site.as_deref(), Some("blocks.3.attn.hook_z"));
        assert!(refused(&nested(&json!({"reshape_activations": "flat"}))).contains("reshape_activations"));
        assert!(refused(&flat(&json!({"hook_point_head_index": 2}))).contains("hook_head_index"));
    }

    #[test]
    fn a_transcoder_says_what_it_gives() {
        let transcoder = |changes: Value| {
            let mut value = nested(&json!({"architecture": "skip_transcoder", "d_out": 6}));
            value["metadata"]["hook_name_out"] = json!("blocks.3.hook_mlp_out");
            value["metadata"]["model_from_pretrained_kwargs"] = json!({"center_writing_weights": true});
            for (name, change) in changes.as_object().unwrap() {
                value[name] = change.clone();
            }
            value
        };
        let config = read(&transcoder(json!({}))).unwrap();
        assert_eq!((config.kind(), config.d_out, config.d_in), ("skip_transcoder", 6, 4));
        assert_eq!(config.output_site.as_deref(), Some("blocks.3.hook_mlp_out"));
        assert!(config.conventions.center_writing_weights);
        assert!(refused(&transcoder(json!({"d_out": null}))).contains("d_out"));
        assert!(refused(&transcoder(json!({"apply_b_dec_to_input": true}))).contains("apply_b_dec_to_input"));
        assert!(refused(&transcoder(json!({"normalize_activations": "layer_norm"}))).contains("normalize_activations"));
        assert!(refused(&nested(&json!({"d_out": 6}))).contains("d_out: expected d_in, 4"));
    }

    #[test]
    fn two_names_that_disagree_are_refused() {
        assert!(refused(&flat(&json!({"hook_name": "blocks.4.hook_resid_pre"}))).contains("hook_name"));
        read(&flat(&json!({"hook_name": "blocks.3.hook_resid_pre"}))).unwrap();
        let kwargs = json!({"activation_fn": "topk", "activation_fn_kwargs": {"k": 5}, "k": 6});
        assert!(refused(&flat(&kwargs)).contains("k: expected one number"));
    }

    #[test]
    fn sizes_are_bounded() {
        for (field, value) in [("d_in", json!(0)), ("d_sae", json!(0)), ("d_sae", json!(u64::MAX))] {
            assert!(refused(&nested(&json!({ field: value }))).contains(field), "{field}");
        }
    }

    #[test]
    fn a_version_that_is_none_is_refused() {
        assert!(refused(&flat(&json!({"sae_lens_version": "new"}))).contains("sae_lens_version"));
        read(&flat(&json!({"sae_lens_version": "5.9.1"}))).unwrap();
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for bytes in ["", "[]", "{", "null", "{\"d_in\": 4}"] {
            assert!(parse(&Source { path: Path::new("cfg.json") }, bytes.as_bytes()).is_err(), "{bytes}");
        }
    }
}
