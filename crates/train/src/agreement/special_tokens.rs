//! Special tokens of the tokenizer used for a cache.

use std::path::Path;

use hayloft_model::{ModelError, Tokenizer};
use hayloft_rows::RowsError;
use hayloft_store::Cache;

/// Returns the structural tokens of the tokenizer in `folder`: BOS, EOS, padding and separator. It must be the cache's
/// tokenizer.
pub fn special_tokens<E>(cache: &Cache, folder: Option<&Path>) -> Result<Vec<u32>, E>
where
    E: From<RowsError> + From<ModelError>,
{
    let folder = folder.ok_or(RowsError::ExcludeWithoutModel)?;
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
    Ok(tokenizer.structural_tokens()?.into_iter().map(|token| token.id).collect())
}
