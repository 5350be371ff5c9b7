//! Plans a cache: from a data manifest to `plan.json`.

use std::path::Path;

use hayloft_checkpoint::{Checkpoint, DecoderSpec};
use hayloft_model::Tokenizer;
use hayloft_runtime::{Progress, Stopping};
use hayloft_store::{Grouping, PlanWriter, StoreError};

use super::conversations::plan_conversations;
use super::documents::plan_documents;
use super::records::{begin_token, record};
use super::settings::PlanSettings;
use super::sink::{PlannedData, ShardSink, WrittenShards};
use crate::data::{BosChoice, DataManifest};
use crate::error::HarvestError;
use crate::summary::PlanSummary;

/// Plans a cache: reads, tokenises and packs the documents or conversations into token shards.
///
/// The same data, tokenizer and settings give the same bytes. Memory holds one shard, one batch of documents and the
/// shuffle buffer, independent of the amount of data. After an error, no part of the plan remains.
pub fn plan(settings: &PlanSettings, progress: Progress) -> Result<PlanSummary, HarvestError> {
    let spec = Checkpoint::read_spec(&settings.model)?;
    let tokenizer = Tokenizer::open(&settings.model)?;
    plan_with(settings, &spec, &tokenizer, &Stopping::default(), progress)
}

/// Like `plan`, with an open model and a stop request.
pub(crate) fn plan_with(
    settings: &PlanSettings,
    spec: &DecoderSpec,
    tokenizer: &Tokenizer,
    stopping: &Stopping,
    progress: Progress,
) -> Result<PlanSummary, HarvestError> {
    let manifest = DataManifest::open(&settings.data, settings.data_root.as_deref())?;
    check_context(&manifest.path, manifest.context_length, &settings.model, spec)?;
    let bos = begin_token(&manifest, tokenizer)?;
    if let Some(bos) = bos.as_ref().filter(|_| manifest.bos == BosChoice::Checkpoint)
        && tokenizer.adds_bos() == Some(false)
    {
        tracing::info!(
            "tokenizer_config.json says add_bos_token false; every sequence begins with {:?} ({}) all the same, as in TransformerLens. bos = \"none\" in the data manifest leaves it out",
            bos.text,
            bos.source
        );
    }
    if tokenizer.adds_eos() == Some(true) {
        tracing::info!(
            "tokenizer_config.json says add_eos_token true; no EOS is put after a text, as in TransformerLens"
        );
    }
    let create = || {
        PlanWriter::create(&settings.out).map_err(|error| match error {
            StoreError::Exists { path } => HarvestError::AlreadyPlanned { path },
            other => other.into(),
        })
    };
    let grouping = Grouping { shard_tokens: settings.shard_tokens, row_group_rows: settings.row_group_rows };
    let gauge = progress.gauge("planned", manifest.max_tokens.map(Into::into));
    let make_sink = || Ok(ShardSink::new(create()?, grouping, stopping.clone(), gauge));
    let planned = match &manifest.chat {
        None => plan_documents(&manifest, tokenizer, bos.as_ref(), spec.vocab_size, make_sink)?,
        Some(chat) => {
            plan_conversations(&manifest, chat, &settings.model, tokenizer, bos.as_ref(), spec.vocab_size, make_sink)?
        }
    };
    let PlannedData { files, chat_record, empty_documents, bad_rows, dropped_tokens, chat, sink } = planned;
    let WrittenShards { writer, documents, cells } = sink.finish()?;
    let corpus = record(&manifest, tokenizer, bos.as_ref(), settings, chat_record, files, documents, bad_rows);
    let plan = writer.finish(corpus)?;
    Ok(PlanSummary {
        name: manifest.name,
        folder: settings.out.clone(),
        documents,
        empty_documents,
        bad_rows,
        sequences: plan.counts.sequences,
        tokens: plan.counts.tokens,
        dropped_tokens,
        sections: plan.counts.sections,
        subsets: plan.counts.subsets,
        chat,
        padding_share: 1.0 - plan.counts.tokens as f64 / cells as f64,
        shards: plan.shards.len(),
    })
}

/// Returns an error if sequences are longer than the model supports. `source` is the file that sets the length.
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
