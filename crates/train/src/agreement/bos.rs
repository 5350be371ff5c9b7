//! Whether sequences of a cache begin with BOS.

use hayloft_store::{Manifest, Section};

/// Whether a cache's sequences begin with BOS; `None` where its plan does not know which token that is, or only some do.
pub fn begins_with_bos(manifest: &Manifest) -> Option<bool> {
    let (bos, sequences) = (bos_tokens(manifest)?, manifest.planned.sequences);
    match bos {
        0 => Some(false),
        bos if bos >= sequences => Some(true),
        _ => None,
    }
}

/// The BOS tokens of a cache's plan, if the plan knows which token that is: imported activations need not say.
pub fn bos_tokens(manifest: &Manifest) -> Option<u64> {
    let is_known = manifest.corpus.tokenizer.bos_id != u32::MAX;
    is_known.then(|| manifest.planned.sections.get(&Section::Bos).copied().unwrap_or(0))
}
