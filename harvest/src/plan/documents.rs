//! Converts documents to sequences of running text.

use hayloft_model::{SpecialToken, Tokenizer};
use hayloft_store::{PackedSequence, Source};

use super::packing::{Packer, PackingSettings, TokenisedDocument};
use super::sink::{PlannedData, ShardSink};
use crate::data::{DataManifest, Document, DocumentReader, FilesRead};
use crate::error::HarvestError;

/// Limits of a batch: documents, or bytes of text. A batch is tokenised on all cores.
const BATCH_DOCUMENTS: usize = 1024;
const BATCH_BYTES: usize = 4 << 20;

/// Tokenises and packs documents, up to `max_tokens`.
pub(super) fn plan_documents(
    manifest: &DataManifest,
    tokenizer: &Tokenizer,
    bos: Option<&SpecialToken>,
    vocabulary: usize,
    make_sink: impl FnOnce() -> Result<ShardSink, HarvestError>,
) -> Result<PlannedData, HarvestError> {
    let documents = DocumentReader::open(manifest)?;
    if manifest.tokens_field.is_some() {
        check_tokenizer(manifest, tokenizer)?;
    }
    let mut sink = make_sink()?;
    let packing = PackingSettings {
        packing: manifest.packing,
        context_length: manifest.context_length,
        bos: bos.map(|bos| bos.id),
        max_tokens: manifest.max_tokens,
    };
    let packed = pack(documents, tokenizer, vocabulary, packing, &mut sink)?;
    if sink.is_empty() {
        return Err(packed.nothing(manifest));
    }
    Ok(PlannedData {
        files: packed.read.files,
        chat_record: None,
        empty_documents: packed.read.empty_documents + packed.without_tokens,
        bad_rows: packed.read.bad_rows,
        dropped_tokens: packed.dropped_tokens,
        chat: None,
        sink,
    })
}

/// The result of packing.
struct Packed {
    read: FilesRead,
    /// Documents without tokens.
    without_tokens: u64,
    with_tokens: u64,
    dropped_tokens: u64,
    /// Whether `max_tokens` ended the packing.
    reached_limit: bool,
}

impl Packed {
    /// The error for a plan without a sequence.
    fn nothing(&self, manifest: &DataManifest) -> HarvestError {
        if self.with_tokens == 0 {
            let documents = self.read.empty_documents + self.without_tokens;
            return HarvestError::NoTokens { manifest: manifest.path.clone(), documents };
        }
        match manifest.max_tokens {
            Some(max_tokens) if self.reached_limit => {
                HarvestError::LimitTooSmall { manifest: manifest.path.clone(), max_tokens: max_tokens.get() }
            }
            _ => HarvestError::TooFewTokens {
                manifest: manifest.path.clone(),
                tokens: self.dropped_tokens,
                context_length: manifest.context_length,
            },
        }
    }
}

/// Tokenises and packs documents until the data ends or `max_tokens` is reached.
fn pack(
    mut documents: DocumentReader<'_>,
    tokenizer: &Tokenizer,
    vocabulary: usize,
    settings: PackingSettings,
    sink: &mut ShardSink,
) -> Result<Packed, HarvestError> {
    let mut packer = Packer::new(settings);
    let mut without_tokens = 0;
    let mut with_tokens = 0;
    let mut sequences: Vec<PackedSequence> = Vec::new();
    while !packer.is_full() {
        let batch = next_batch(&mut documents, tokenizer, vocabulary)?;
        if batch.is_empty() {
            break;
        }
        for document in &batch {
            if document.tokens.is_empty() {
                without_tokens += 1;
                continue;
            }
            with_tokens += 1;
            packer.push(document, &mut |sequence| sequences.push(sequence));
            for sequence in sequences.drain(..) {
                sink.add(sequence)?;
            }
        }
    }
    let reached_limit = packer.is_full();
    let read = documents.finish()?;
    Ok(Packed { read, without_tokens, with_tokens, dropped_tokens: packer.finish(), reached_limit })
}

/// Returns the next batch of documents with their tokens, in order; empty at the end.
///
/// A document without tokens has an empty list.
fn next_batch(
    documents: &mut DocumentReader<'_>,
    tokenizer: &Tokenizer,
    vocabulary: usize,
) -> Result<Vec<TokenisedDocument>, HarvestError> {
    let mut batch: Vec<Document> = Vec::new();
    let mut bytes = 0;
    while batch.len() < BATCH_DOCUMENTS && bytes < BATCH_BYTES {
        let Some(document) = documents.next().transpose()? else { break };
        bytes += document.text.len() + document.tokens.as_ref().map_or(0, |tokens| size_of_val(tokens.as_slice()));
        batch.push(document);
    }
    let texts: Vec<&str> = batch.iter().map(|document| document.text.as_str()).collect();
    let mut tokens = tokenizer.encode_batch(&texts)?;
    for (document, tokens) in batch.iter_mut().zip(&mut tokens) {
        if let Some(given) = document.tokens.take() {
            *tokens = given;
        }
        tokenizer.check_ids(tokens, vocabulary)?;
    }
    let sources = batch.into_iter().map(|document| Source { document: document.index, subset: document.subset });
    Ok(sources.zip(tokens).map(|(source, tokens)| TokenisedDocument { source, tokens }).collect())
}

/// Checks that this tokenizer made the token ids of the data, as far as the data manifest says.
fn check_tokenizer(manifest: &DataManifest, tokenizer: &Tokenizer) -> Result<(), HarvestError> {
    let Some(declared) = &manifest.tokenizer_blake3 else {
        tracing::info!(
            "{}: token ids are taken as they are. Nothing says which tokenizer made them: if it is that of --model, tokenizer_blake3 = \"{}\" in the data manifest makes sure",
            manifest.path.display(),
            tokenizer.blake3()
        );
        return Ok(());
    };
    if declared.eq_ignore_ascii_case(tokenizer.blake3()) {
        return Ok(());
    }
    Err(HarvestError::OtherTokenizer {
        manifest: manifest.path.clone(),
        expected: declared.clone(),
        got: tokenizer.blake3().to_owned(),
    })
}
