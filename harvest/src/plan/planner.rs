//! The way from a data manifest to `plan.json`.

use std::path::{Path, PathBuf};

use hayloft_model::{Checkpoint, DecoderSpec, Tokenizer};
use hayloft_store::{PlanWriter, StoreError};
use hayloft_terminal::{Gauge, Progress};

use super::corpus::{begin_token, record};
use super::packing::{PackedSequence, Packer, PackingSettings};
use super::shards::{Grouping, PlannedShard, ShardBuilder};
use super::tokenise::next_batch;
use crate::data::{DataManifest, DocumentReader, FilesRead};
use crate::error::HarvestError;
use crate::summary::PlanSummary;

/// What to plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanSettings {
    /// The checkpoint's folder. Only its configuration and tokenizer are read.
    pub model: PathBuf,
    /// The data manifest.
    pub data: PathBuf,
    /// Where relative paths in the data manifest start; by default its own folder.
    pub data_root: Option<PathBuf>,
    /// The cache's folder.
    pub out: PathBuf,
    /// The tokens that a shard is filled up to.
    pub shard_tokens: u64,
    /// The rows that a row group is filled up to.
    pub row_group_rows: u32,
}

impl PlanSettings {
    /// The tokens of a shard, unless something else is asked for: seconds of work on a GPU, so that little is lost when
    /// a run is stopped, and files large enough for a bucket.
    pub const SHARD_TOKENS: u64 = 65536;
    /// The rows of a row group, unless something else is asked for.
    pub const ROW_GROUP_ROWS: u32 = 4096;
}

/// Plans a cache: reads, tokenises and packs the documents into token shards.
///
/// The same data, tokenizer and settings give the same bytes. Memory holds one shard, one batch of documents and the
/// shuffle's buffer, however much data there is. On an error nothing is left of the plan.
pub fn plan(settings: &PlanSettings, progress: Progress) -> Result<PlanSummary, HarvestError> {
    let spec = Checkpoint::read_spec(&settings.model)?;
    let tokenizer = Tokenizer::open(&settings.model)?;
    plan_with(settings, &spec, &tokenizer, progress)
}

/// The same with a model that is open already.
pub(crate) fn plan_with(
    settings: &PlanSettings,
    spec: &DecoderSpec,
    tokenizer: &Tokenizer,
    progress: Progress,
) -> Result<PlanSummary, HarvestError> {
    let manifest = DataManifest::open(&settings.data, settings.data_root.as_deref())?;
    check_context(&manifest.path, manifest.context_length, &settings.model, spec)?;
    tokenizer.check_vocabulary(spec.vocab_size)?;
    let bos = begin_token(&manifest, tokenizer)?;
    let documents = DocumentReader::open(&manifest)?;
    let writer = PlanWriter::create(&settings.out).map_err(|error| match error {
        StoreError::Exists { path } => HarvestError::AlreadyPlanned { path },
        other => other.into(),
    })?;

    let packing = PackingSettings {
        packing: manifest.packing,
        context_length: manifest.context_length,
        bos: bos.id,
        max_tokens: manifest.max_tokens,
    };
    let grouping =
        Grouping { bos: bos.id, shard_tokens: settings.shard_tokens, row_group_rows: settings.row_group_rows };
    let mut sink = ShardSink {
        writer,
        builder: ShardBuilder::new(grouping),
        gauge: progress.gauge("planned", manifest.max_tokens.map(Into::into)),
        documents: DistinctDocuments::default(),
        cells: 0,
    };
    let packed = pack(documents, tokenizer, packing, &mut sink)?;
    if let Some(last) = sink.builder.finish() {
        sink.write(&last)?;
    }
    drop(sink.gauge);
    let documents = sink.documents.count;
    if documents == 0 {
        return Err(packed.nothing(&manifest));
    }
    let corpus = record(&manifest, tokenizer, &bos, settings, packed.read.files, documents);
    let plan = sink.writer.finish(corpus)?;
    Ok(PlanSummary {
        name: manifest.name,
        folder: settings.out.clone(),
        documents,
        empty_documents: packed.read.empty_documents + packed.without_tokens,
        sequences: plan.counts.sequences,
        tokens: plan.counts.tokens,
        dropped_tokens: packed.dropped_tokens,
        sections: plan.counts.sections,
        subsets: plan.counts.subsets,
        padding_share: 1.0 - plan.counts.tokens as f64 / sink.cells as f64,
        shards: plan.shards.len(),
    })
}

/// Refuses sequences that are longer than the model takes. `source` is the file that asks for them.
pub(crate) fn check_context(
    source: &Path,
    context_length: u32,
    model: &Path,
    spec: &DecoderSpec,
) -> Result<(), HarvestError> {
    if context_length as usize <= spec.context_length {
        return Ok(());
    }
    Err(HarvestError::ContextTooLong {
        source_file: source.to_owned(),
        context_length,
        model: model.to_owned(),
        longest: spec.context_length,
    })
}

/// What became of the documents.
struct Packed {
    read: FilesRead,
    /// Documents whose text gave no tokens.
    without_tokens: u64,
    with_tokens: u64,
    dropped_tokens: u64,
    /// Whether `max_tokens` ended it.
    reached_limit: bool,
}

impl Packed {
    /// Why there is not one sequence.
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

/// Takes documents through tokenizer and packing until there are no more, or until `max_tokens` is reached.
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

/// Where sequences go: grouped into shards, and those written.
struct ShardSink {
    writer: PlanWriter,
    builder: ShardBuilder,
    gauge: Gauge,
    documents: DistinctDocuments,
    /// Cells of all batches, padding included.
    cells: u64,
}

impl ShardSink {
    fn add(&mut self, sequence: PackedSequence) -> Result<(), HarvestError> {
        self.gauge.advance(sequence.tokens.len() as u64);
        self.documents.add(&sequence);
        if let Some(shard) = self.builder.push(sequence) {
            self.write(&shard)?;
        }
        Ok(())
    }

    fn write(&mut self, shard: &PlannedShard) -> Result<(), HarvestError> {
        self.cells += shard.cells;
        Ok(self.writer.add_shard(&shard.sequences, &shard.tokens)?)
    }
}

/// Counts documents; each comes in one piece, over one or more sequences.
#[derive(Default)]
struct DistinctDocuments {
    count: u64,
    last: Option<u64>,
}

impl DistinctDocuments {
    fn add(&mut self, sequence: &PackedSequence) {
        for span in &sequence.spans {
            if self.last.replace(span.source.document) != Some(span.source.document) {
                self.count += 1;
            }
        }
    }
}
