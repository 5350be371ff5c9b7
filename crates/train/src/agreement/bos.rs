//! Detects whether a cache's sequences begin with BOS.

use hayloft_store::{Manifest, Section};

/// Whether a cache's sequences begin with BOS. `None` if the plan does not know the BOS token, or if only some sequences do.
pub fn begins_with_bos(manifest: &Manifest) -> Option<bool> {
    let (bos, sequences) = (bos_tokens(manifest)?, manifest.planned.sequences);
    match bos {
        0 => Some(false),
        bos if bos >= sequences => Some(true),
        _ => None,
    }
}

/// Number of BOS tokens in a cache's plan. `None` if the plan does not know the BOS token, as with imported activations.
pub fn bos_tokens(manifest: &Manifest) -> Option<u64> {
    let is_known = manifest.corpus.tokenizer.bos_id != u32::MAX;
    is_known.then(|| manifest.planned.sections.get(&Section::Bos).copied().unwrap_or(0))
}
