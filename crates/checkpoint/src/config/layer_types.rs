//! `layer_types`: which layers have a sliding window.

use serde::Deserialize;

use super::MOST_BLOCKS;
use super::keys::Keys;
use crate::error::CheckpointError;

/// The window in transformers where a file does not have `sliding_window`. A `null` is none.
pub(super) const DEFAULT_WINDOW: Option<usize> = Some(4096);

/// Attention mask of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LayerType {
    FullAttention,
    SlidingAttention,
}

/// Takes the type of each of `n_blocks` layers: from the file, else the family's default for the layer number.
pub(super) fn read(
    keys: &mut Keys,
    n_blocks: usize,
    slides: impl Fn(usize) -> bool,
) -> Result<Vec<LayerType>, CheckpointError> {
    let usual = |layer| if slides(layer) { LayerType::SlidingAttention } else { LayerType::FullAttention };
    let named: Option<Vec<LayerType>> = keys.take("layer_types")?;
    let types = named.unwrap_or_else(|| (0..n_blocks.min(MOST_BLOCKS)).map(usual).collect());
    if types.len() == n_blocks.min(MOST_BLOCKS) {
        return Ok(types);
    }
    let (got, expected) = (format!("a list of {}", types.len()), format!("one entry for each of {n_blocks} layers"));
    Err(keys.unsupported("layer_types", &got, &expected, "Mend the file"))
}

/// The window of each layer: how many keys a query sees. `None` means all preceding ones.
pub(super) fn windows(types: &[LayerType], window: Option<usize>) -> Vec<Option<usize>> {
    types.iter().map(|kind| window.filter(|_| *kind == LayerType::SlidingAttention)).collect()
}

/// Takes the windows of a Qwen, whose layers from `max_window_layers` on have one if windows are in use and the file names
/// no layer types.
pub(super) fn upper_windows(keys: &mut Keys, n_blocks: usize) -> Result<Vec<Option<usize>>, CheckpointError> {
    let in_use = keys.take_or("use_sliding_window", false)?;
    let window = keys.take_or("sliding_window", DEFAULT_WINDOW)?.filter(|_| in_use);
    let first = keys.take_or("max_window_layers", 28)?;
    let types = read(keys, n_blocks, |layer| window.is_some() && layer >= first)?;
    Ok(windows(&types, window))
}
