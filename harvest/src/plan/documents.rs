//! Converts documents to sequences of running text.

use hayloft_model::{SpecialToken, Tokenizer};

use super::packing::{PackedSequence, Packer, PackingSettings};
use super::planned::Planned;
use super::sink::ShardSink;
use super::tokenise::next_batch;
use crate::data::{DataManifest, DocumentReader, FilesRead};
use crate::error::HarvestError;

/// Tokenises and packs documents, up to `max_tokens`.
pub(super) fn plan_documents(
    manifest: &DataManifest,
    tokenizer: &Tokenizer,
    bos: &SpecialToken,
    make_sink: impl FnOnce() -> Result<ShardSink, HarvestError>,
) -> Result<Planned, HarvestError> {
    let documents = DocumentReader::open(manifest)?;
    let mut sink = make_sink()?;
    let packing = PackingSettings {
        packing: manifest.packing,
        context_length: manifest.context_length,
        bos: bos.id,
        max_tokens: manifest.max_tokens,
    };
    let packed = pack(documents, tokenizer, packing, &mut sink)?;
    if sink.is_empty() {
        return Err(packed.nothing(manifest));
    }
    Ok(Planned {
        files: packed.read.files,
        chat_record: None,
        empty_documents: packed.read.empty_documents + packed.without_tokens,
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
    settings: PackingSettings,
    sink: &mut ShardSink,
) -> Result<Packed, HarvestError> {
    let mut packer = Packer::new(settings);
    let mut without_tokens = 0;
    let mut with_tokens = 0;
    let mut sequences: Vec<PackedSequence> = Vec::new();
    while !packer.is_full() {
        let batch = next_batch(&mut documents, tokenizer)?;
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
