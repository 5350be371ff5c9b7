//! `cfg.json` of SAELens 6 and later.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Number, Value};

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

pub(super) fn parse(source: &Source<'_>, value: Value) -> Result<SaeConfig, SaeError> {
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
    })
}
