//! `layer_types`: which layers have a sliding window.

use serde::Deserialize;

use super::{MOST_BLOCKS, Source};
use crate::error::ModelError;

/// Attention mask of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LayerType {
    FullAttention,
    SlidingAttention,
}

/// The type of each of `n_blocks` layers: from the file, else the family's default for the layer number.
pub(super) fn resolve(
    source: &Source,
    named: Option<Vec<LayerType>>,
    n_blocks: usize,
    slides: impl Fn(usize) -> bool,
) -> Result<Vec<LayerType>, ModelError> {
    let usual = |layer| if slides(layer) { LayerType::SlidingAttention } else { LayerType::FullAttention };
    let types = named.unwrap_or_else(|| (0..n_blocks.min(MOST_BLOCKS)).map(usual).collect());
    if types.len() == n_blocks.min(MOST_BLOCKS) {
        return Ok(types);
    }
    let (got, expected) = (format!("a list of {}", types.len()), format!("one entry for each of {n_blocks} layers"));
    Err(source.unsupported("layer_types", &got, &expected, "Mend the file"))
}

/// The window of each layer: how many keys a query sees. `None` means all preceding ones.
pub(super) fn windows(types: &[LayerType], window: Option<usize>) -> Vec<Option<usize>> {
    types.iter().map(|kind| window.filter(|_| *kind == LayerType::SlidingAttention)).collect()
}

/// The windows of a model whose layers from `first` on have one, if it has a window and the file names no layer types.
pub(super) fn upper_windows(
    source: &Source,
    named: Option<Vec<LayerType>>,
    n_blocks: usize,
    window: Option<usize>,
    first: usize,
) -> Result<Vec<Option<usize>>, ModelError> {
    let types = resolve(source, named, n_blocks, |layer| window.is_some() && layer >= first)?;
    Ok(windows(&types, window))
}
