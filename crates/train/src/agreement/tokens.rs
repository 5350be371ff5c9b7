//! BOS and the special tokens of a cache.

use std::path::Path;

use hayloft_model::{ModelError, Tokenizer};
use hayloft_rows::RowsError;
use hayloft_store::{Cache, Manifest, Section};

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

/// Returns the structural tokens of the tokenizer in `folder`: BOS, EOS, padding and separator. It must be the cache's
/// tokenizer.
pub fn special_tokens<E>(cache: &Cache, folder: Option<&Path>) -> Result<Vec<u32>, E>
where
    E: From<RowsError> + From<ModelError>,
{
    let tokenizer = cache_tokenizer::<E>(cache, folder.ok_or(RowsError::ExcludeWithoutModel)?)?;
    Ok(tokenizer.structural_tokens()?.into_iter().map(|token| token.id).collect())
}

/// Opens the tokenizer in `folder`. It must be the cache's.
pub fn cache_tokenizer<E>(cache: &Cache, folder: &Path) -> Result<Tokenizer, E>
where
    E: From<RowsError> + From<ModelError>,
{
    let tokenizer = Tokenizer::open(folder)?;
    let recorded = &cache.manifest().corpus.tokenizer;
    if tokenizer.blake3() != recorded.blake3 {
        return Err(RowsError::OtherTokenizer {
            cache: cache.folder().to_path_buf(),
            model: folder.to_path_buf(),
            expected: recorded.blake3.clone(),
            got: tokenizer.blake3().to_owned(),
        }
        .into());
    }
    Ok(tokenizer)
}
