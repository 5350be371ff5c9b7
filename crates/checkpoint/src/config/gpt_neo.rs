//! GPT-Neo, including `TinyStories`: GPT-2 with a window in every other layer, unscaled scores, and one matrix a projection.

use serde::Deserialize;

use super::MOST_BLOCKS;
use super::keys::Keys;
use super::start::gpt_like;
use crate::error::CheckpointError;
use crate::spec::{AttentionBias, DecoderSpec, WeightLayout};

/// Which keys the queries of a layer see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reach {
    Global,
    Local,
}

pub(super) fn read(keys: &mut Keys) -> Result<DecoderSpec, CheckpointError> {
    keys.rename(&[
        ("num_hidden_layers", "num_layers"),
        ("num_attention_heads", "num_heads"),
        ("hidden_act", "activation_function"),
        ("layer_norm_eps", "layer_norm_epsilon"),
    ]);
    keys.default("hidden_act", "gelu_new");
    keys.default("tie_word_embeddings", true);
    keys.default("max_position_embeddings", 2048);
    let mut spec = gpt_like(keys, "gpt_neo")?;
    spec.attention.bias = AttentionBias::Output;
    spec.attention.scale = 1.0;
    let window: usize = keys.take_or("window_size", 256)?;
    let reaches = reaches(keys, spec.n_blocks)?;
    spec.windows = reaches.iter().map(|reach| (*reach == Reach::Local).then_some(window)).collect();
    spec.layout = WeightLayout::GptNeo;
    Ok(spec)
}

/// Takes the kinds of layers: `attention_types` has groups and how often each is repeated, `attention_layers` the same spelt
/// out.
fn reaches(keys: &mut Keys, n_blocks: usize) -> Result<Vec<Reach>, CheckpointError> {
    let most = n_blocks.min(MOST_BLOCKS);
    let usual = || vec![(vec![Reach::Global, Reach::Local], 12)];
    let groups: Vec<(Vec<Reach>, usize)> = keys.take("attention_types")?.unwrap_or_else(usual);
    let repeated =
        groups.iter().flat_map(|(group, times)| group.iter().cycle().take(group.len().saturating_mul(*times)));
    let reaches: Vec<Reach> = repeated.copied().take(most + 1).collect();
    let listed: Option<Vec<Reach>> = keys.take("attention_layers")?;
    if reaches.len() != most {
        let got = if reaches.len() > most { "more entries" } else { "fewer entries" };
        let expected = format!("one entry for each of {n_blocks} layers");
        return Err(keys.unsupported("attention_types", got, &expected, "Mend the file"));
    }
    if listed.is_some_and(|listed| listed != reaches) {
        let advice = "They say different things about one matter; keep the true one";
        return Err(keys.unsupported("attention_layers", "another list", "the list of attention_types", advice));
    }
    Ok(reaches)
}
