//! Groups planned sequences into shards and writes them.

use hayloft_runtime::{Gauge, Stopping};
use hayloft_store::{ChatRecord, FileRecord, Grouping, PackedSequence, PlanWriter, PlannedShard, ShardBuilder};

use crate::error::HarvestError;
use crate::summary::ChatSummary;

/// Groups sequences into shards and writes them.
pub(super) struct ShardSink {
    writer: PlanWriter,
    builder: ShardBuilder,
    stopping: Stopping,
    gauge: Gauge,
    documents: DistinctDocuments,
    cells: u64,
}

/// The result of reading the data. All sequences are in the sink.
pub(super) struct PlannedData {
    /// The files read.
    pub(super) files: Vec<FileRecord>,
    /// How rows became conversations; `None` for documents.
    pub(super) chat_record: Option<ChatRecord>,
    /// Rows skipped because they cannot be read.
    pub(super) bad_rows: u64,
    /// Documents without tokens.
    pub(super) empty_documents: u64,
    /// Tokens that are in no sequence.
    pub(super) dropped_tokens: u64,
    /// Counts for conversations; `None` for documents.
    pub(super) chat: Option<ChatSummary>,
    /// The sink that holds the sequences.
    pub(super) sink: ShardSink,
}

/// A plan that only lacks `plan.json`.
pub(super) struct WrittenShards {
    pub(super) writer: PlanWriter,
    /// Documents with tokens in the plan.
    pub(super) documents: u64,
    /// Cells of all batches, including padding.
    pub(super) cells: u64,
}

impl ShardSink {
    /// Creates a sink without sequences.
    pub(super) fn new(writer: PlanWriter, grouping: Grouping, stopping: Stopping, gauge: Gauge) -> Self {
        let builder = ShardBuilder::new(grouping);
        Self { writer, builder, stopping, gauge, documents: DistinctDocuments::default(), cells: 0 }
    }

    /// Adds a sequence.
    pub(super) fn add(&mut self, sequence: PackedSequence) -> Result<(), HarvestError> {
        if self.stopping.is_asked() {
            return Err(HarvestError::Stopped);
        }
        self.gauge.advance(sequence.tokens.len() as u64);
        self.documents.add(&sequence);
        if let Some(shard) = self.builder.push(sequence) {
            self.write(&shard)?;
        }
        Ok(())
    }

    /// Returns whether no sequence was added.
    pub(super) fn is_empty(&self) -> bool {
        self.documents.count == 0
    }

    /// Writes the last shard.
    pub(super) fn finish(mut self) -> Result<WrittenShards, HarvestError> {
        if let Some(last) = self.builder.finish() {
            self.write(&last)?;
        }
        Ok(WrittenShards { writer: self.writer, documents: self.documents.count, cells: self.cells })
    }

    fn write(&mut self, shard: &PlannedShard) -> Result<(), HarvestError> {
        self.cells += shard.cells;
        Ok(self.writer.add_shard(&shard.sequences, &shard.tokens)?)
    }
}

/// Counts distinct documents. The spans of a document are contiguous, over one or more sequences.
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
