//! Code shared by both imports: the model's identity and the plan of the new cache.

use std::path::Path;

use hayloft_runtime::Dtype;

use crate::convert::checkpoint::ModelAndTokenizer;
use crate::convert::provenance::Provenance;
use crate::convert::{ImportSettings, ImportSummary};
use crate::error::{Result, StoreError};
use crate::format::manifest::Manifest;
use crate::format::records::{Corpus, DataRecord, FileRecord, ModelRecord, Packing};

/// The model and the tokenizer: from the checkpoint, else from the record of the export, else unknown.
pub(super) fn identity(
    settings: &ImportSettings,
    provenance: Option<&Provenance>,
    d_model: usize,
    dtype: Dtype,
) -> Result<ModelAndTokenizer> {
    let recorded = provenance.map(|provenance| provenance.model.precision);
    let precision = settings.precision.or(recorded).unwrap_or(dtype);
    let mut identity = match (&settings.checkpoint, provenance) {
        (Some(folder), _) => ModelAndTokenizer::read(folder, precision)?,
        (None, Some(Provenance { model, corpus, .. })) => {
            let model = ModelRecord { precision, ..model.clone() };
            ModelAndTokenizer { model, tokenizer: corpus.tokenizer.clone() }
        }
        (None, None) => ModelAndTokenizer::unknown(d_model, precision),
    };
    if identity.model.d_model != d_model {
        let what = format!("{}: width of the activations", settings.from.display());
        let expected = format!("{} as the residual stream of the model has", identity.model.d_model);
        return Err(StoreError::invalid(what, expected, d_model));
    }
    if let Some(bos) = settings.bos {
        identity.tokenizer.set_bos(bos);
    }
    Ok(identity)
}

/// A corpus of which only the files are known. Each sequence counts as a document.
pub(super) fn corpus(
    settings: &ImportSettings,
    name: String,
    identity: &ModelAndTokenizer,
    files: Vec<FileRecord>,
    sequences: u64,
    context: usize,
) -> Corpus {
    Corpus {
        name,
        tokenizer: identity.tokenizer.clone(),
        data: DataRecord::of_token_ids(files, sequences),
        chat: None,
        selected_from: Vec::new(),
        packing: Packing::Concat,
        context_length: u32::try_from(context).unwrap_or(u32::MAX),
        row_group_rows: settings.row_group_rows,
        shard_tokens: settings.shard_tokens,
    }
}

/// Rejects tokens outside the model's vocabulary, if its size is known.
pub(super) fn check_tokens(from: &Path, model: &ModelRecord, tokens: &[u32]) -> Result<()> {
    let beyond = |token: &&u32| model.vocab_size != 0 && **token as usize >= model.vocab_size;
    tokens.iter().find(beyond).map_or(Ok(()), |token| {
        let expected = format!("less than the model's {}. Is it another model's?", model.vocab_size);
        Err(StoreError::invalid(format!("{}: token", from.display()), expected, token))
    })
}

/// Summarises the import from the manifest.
pub(super) fn summary(settings: &ImportSettings, manifest: &Manifest) -> ImportSummary {
    ImportSummary {
        folder: settings.out.clone(),
        shards: manifest.shards.len(),
        sequences: manifest.held.sequences,
        tokens: manifest.held.tokens,
        sites: manifest.sites.iter().map(|site| site.name.clone()).collect(),
        dtype: manifest.dtype,
        model_known: manifest.model.is_known(),
    }
}
