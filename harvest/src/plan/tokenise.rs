//! Tokenises documents in batches.

use hayloft_model::Tokenizer;

use super::packing::{Source, TokenisedDocument};
use crate::data::{Document, DocumentReader};
use crate::error::HarvestError;

/// Limits of a batch: documents, or bytes of text. A batch is tokenised on all cores.
const BATCH_DOCUMENTS: usize = 1024;
const BATCH_BYTES: usize = 4 << 20;

/// Returns the next batch of documents with their tokens, in order; empty at the end.
///
/// A document without tokens has an empty list.
pub(super) fn next_batch(
    documents: &mut DocumentReader<'_>,
    tokenizer: &Tokenizer,
) -> Result<Vec<TokenisedDocument>, HarvestError> {
    let mut batch: Vec<Document> = Vec::new();
    let mut bytes = 0;
    while batch.len() < BATCH_DOCUMENTS && bytes < BATCH_BYTES {
        let Some(document) = documents.next().transpose()? else { break };
        bytes += document.text.len();
        batch.push(document);
    }
    let texts: Vec<&str> = batch.iter().map(|document| document.text.as_str()).collect();
    let tokens = tokenizer.encode_batch(&texts)?;
    let sources = batch.into_iter().map(|document| Source { document: document.index, subset: document.subset });
    Ok(sources.zip(tokens).map(|(source, tokens)| TokenisedDocument { source, tokens }).collect())
}
