//! The fields that describe how the training activations were produced.

use serde::Deserialize;
use serde_json::Value;

use crate::config::{Conventions, PositionSlice, WithoutTokens};
use crate::error::SaeError;
use crate::formats::source::Source;

/// Fields about the activations: at the top level before version 6, in `metadata` since.
#[derive(Default, Deserialize)]
pub(super) struct TrainedOn {
    model_from_pretrained_kwargs: Option<Value>,
    prepend_bos: Option<bool>,
    context_size: Option<Value>,
    seqpos_slice: Option<Value>,
    exclude_special_tokens: Option<Value>,
    /// Written when converting from a format that records it.
    trained_without: Option<Value>,
}

impl TrainedOn {
    pub(super) fn conventions(&self, source: &Source<'_>) -> Result<Conventions, SaeError> {
        let kwargs = self.model_from_pretrained_kwargs.as_ref();
        let centred = kwargs.and_then(|kwargs| kwargs.get("center_writing_weights")).and_then(Value::as_bool);
        Ok(Conventions {
            center_writing_weights: centred.unwrap_or(false),
            prepend_bos: self.prepend_bos,
            // -1 means the context length of the dataset.
            context_size: self.context_size.as_ref().and_then(Value::as_u64),
            positions: self.positions(source)?,
            without: self.without(source)?,
        })
    }

    /// What the model was loaded with that changes the activations at a site and is not done here.
    pub(super) fn remarks(&self, site: Option<&str>) -> Vec<String> {
        let kwargs = self.model_from_pretrained_kwargs.as_ref();
        let is_on = |name: &str| kwargs.and_then(|kwargs| kwargs.get(name)).and_then(Value::as_bool) == Some(true);
        let is_at = |hooks: &[&str]| site.is_some_and(|site| hooks.iter().any(|hook| site.ends_with(hook)));
        [
            ("fold_ln", ["mlp.hook_in", "ln2.hook_normalized"].as_slice()),
            ("fold_value_biases", &["attn.hook_z"]),
            ("refactor_factored_attn_matrices", &["attn.hook_z"]),
        ]
        .into_iter()
        .filter(|(name, hooks)| is_on(name) && is_at(hooks))
        .map(|(name, _)| {
            format!("its model was loaded with {name} (model_from_pretrained_kwargs), which changes the activations at its site; here they are those of the weights as stored")
        })
        .collect()
    }

    fn positions(&self, source: &Source<'_>) -> Result<PositionSlice, SaeError> {
        let Some(value) = &self.seqpos_slice else { return Ok(PositionSlice::default()) };
        let bounds: Option<Vec<Option<i64>>> = serde_json::from_value(value.clone()).ok();
        // Like Python's slice: a single value is the stop.
        match bounds.as_deref() {
            Some([]) => Ok(PositionSlice::default()),
            Some(&[stop]) => Ok(PositionSlice { stop, ..PositionSlice::default() }),
            Some(&[start, stop]) => Ok(PositionSlice { start, stop, step: None }),
            Some(&[start, end, step]) => Ok(PositionSlice { start, stop: end, step }),
            _ => Err(source.field("seqpos_slice", "up to three whole numbers or nulls", value)),
        }
    }

    fn without(&self, source: &Source<'_>) -> Result<WithoutTokens, SaeError> {
        let by_name = match &self.trained_without {
            Some(Value::String(name)) if name == "bos" => WithoutTokens::Bos,
            _ => WithoutTokens::None,
        };
        match &self.exclude_special_tokens {
            None | Some(Value::Bool(false)) => Ok(by_name),
            Some(Value::Bool(true)) => Ok(WithoutTokens::Special),
            Some(value) => match serde_json::from_value::<Vec<u32>>(value.clone()) {
                Ok(ids) if ids.is_empty() => Ok(by_name),
                Ok(ids) => Ok(WithoutTokens::Ids(ids)),
                Err(_) => Err(source.field("exclude_special_tokens", "true, false or a list of token ids", value)),
            },
        }
    }
}
