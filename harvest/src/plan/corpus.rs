//! What the plan records of where its tokens come from.

use hayloft_model::{ModelError, SpecialToken, Tokenizer};
use hayloft_store::{Corpus, DataRecord, FileRecord, TokenizerRecord};

use super::planner::PlanSettings;
use crate::data::DataManifest;

/// The token that begins each sequence: the data manifest's, or else the tokenizer's.
pub(super) fn begin_token(manifest: &DataManifest, tokenizer: &Tokenizer) -> Result<SpecialToken, ModelError> {
    match &manifest.bos {
        Some(text) => tokenizer.token(text, &format!("{}: bos", manifest.path.display())),
        None => tokenizer.bos(),
    }
}

/// The tokenizer with the token that begins each sequence.
pub(super) fn tokenizer_record(tokenizer: &Tokenizer, bos: &SpecialToken) -> TokenizerRecord {
    TokenizerRecord {
        blake3: tokenizer.blake3().to_owned(),
        vocab_size: tokenizer.vocabulary_size(),
        bos_id: bos.id,
        bos_text: bos.text.clone(),
    }
}

/// Everything that decides the tokens of a plan. `files` are those that were read, `documents` those that were used.
pub(super) fn record(
    manifest: &DataManifest,
    tokenizer: &Tokenizer,
    bos: &SpecialToken,
    settings: &PlanSettings,
    files: Vec<FileRecord>,
    documents: u64,
) -> Corpus {
    Corpus {
        name: manifest.name.clone(),
        tokenizer: tokenizer_record(tokenizer, bos),
        data: DataRecord {
            files,
            text_field: manifest.text_field.to_string(),
            subset_field: manifest.subset_field.as_ref().map(ToString::to_string),
            max_tokens: manifest.max_tokens.map(Into::into),
            seed: manifest.shuffle.map(|shuffle| shuffle.seed),
            shuffle_buffer: manifest.shuffle.map(|shuffle| shuffle.buffer.get() as u64),
            documents,
        },
        packing: manifest.packing,
        context_length: manifest.context_length,
        row_group_rows: settings.row_group_rows,
        shard_tokens: settings.shard_tokens,
    }
}
