//! `cfg.json` of SAELens 6 and later.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Number, Value};

use super::fields::{CommonFields, Options};
use super::trained_on::TrainedOn;
use crate::config::SaeConfig;
use crate::error::SaeError;
use crate::formats::source::Source;

#[derive(Deserialize)]
struct NestedFields {
    architecture: String,
    d_in: u64,
    d_sae: u64,
    d_out: Option<u64>,
    dtype: Option<String>,
    apply_b_dec_to_input: Option<bool>,
    normalize_activations: Option<Value>,
    reshape_activations: Option<String>,
    k: Option<Number>,
    #[serde(default)]
    rescale_acts_by_decoder_norm: bool,
    #[serde(default)]
    metadata: Metadata,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// SAELens allows arbitrary user fields here and computes with none of them, so unknown fields are ignored.
#[derive(Default, Deserialize)]
struct Metadata {
    hook_name: Option<String>,
    hook_name_out: Option<String>,
    hook_head_index: Option<Value>,
    model_name: Option<String>,
    #[serde(flatten)]
    trained_on: TrainedOn,
}

/// Fields of `metadata` that files of some writers have at the top level too, where SAELens passes over them.
const OF_METADATA: [&str; 17] = [
    "context_size",
    "dataset_path",
    "exclude_special_tokens",
    "hf_hook_name",
    "hf_hook_name_out",
    "hook_head_index",
    "hook_head_index_out",
    "hook_layer",
    "hook_name",
    "hook_name_out",
    "model_class_name",
    "model_from_pretrained_kwargs",
    "model_name",
    "neuronpedia_id",
    "prepend_bos",
    "seqpos_slice",
    "sequence_separator_token",
];

/// Moves the fields of `metadata` that stand at the top level there. What both say must be the same.
fn without_copies(source: &Source<'_>, mut value: Value) -> Result<Value, SaeError> {
    let Some(fields) = value.as_object_mut() else { return Ok(value) };
    let copies: Vec<(&str, Value)> =
        OF_METADATA.into_iter().filter_map(|name| Some((name, fields.remove(name)?))).collect();
    if copies.is_empty() {
        return Ok(value);
    }
    let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    let Some(metadata) = metadata.as_object_mut() else { return Ok(value) };
    for (name, copy) in copies {
        let said = metadata.entry(name).or_insert_with(|| copy.clone());
        if *said != copy {
            return Err(source.field(name, format!("{said}, as metadata.{name} says"), copy));
        }
    }
    Ok(value)
}

pub(super) fn parse(source: &Source<'_>, value: Value) -> Result<SaeConfig, SaeError> {
    let value = without_copies(source, value)?;
    let NestedFields {
        architecture,
        d_in,
        d_sae,
        d_out,
        dtype,
        apply_b_dec_to_input,
        normalize_activations,
        reshape_activations,
        k,
        rescale_acts_by_decoder_norm,
        metadata,
        rest,
    } = source.fields(value)?;
    source.refuse_unknown(&rest, &[])?;
    source.check_dtype(dtype.as_deref())?;
    source.check_reshape(reshape_activations.as_deref().unwrap_or("none"))?;
    source.check_head(metadata.hook_head_index.as_ref())?;
    let d_sae = source.size("d_sae", d_sae)?;
    let options = Options { d_sae, k: k.as_ref(), rescale_by_decoder_norm: rescale_acts_by_decoder_norm };
    let normalisation = match &normalize_activations {
        None => source.normalisation("none")?,
        Some(Value::String(name)) => source.normalisation(name)?,
        Some(other) => return Err(source.field("normalize_activations", "a name", other)),
    };
    let Metadata { hook_name, hook_name_out, hook_head_index: _, model_name, trained_on } = metadata;
    let remarks = trained_on.remarks(hook_name.as_deref());
    source.sae(CommonFields {
        architecture: &architecture,
        options,
        normalisation,
        d_in,
        d_out,
        apply_b_dec_to_input,
        site: hook_name,
        output_site: hook_name_out,
        model_name,
        conventions: trained_on.conventions(source)?,
        remarks,
    })
}
