//! Import of SAELens's cached activations into a cache.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::folder::{RowReader, Rows, SaelensFolder};
use crate::convert::intake::{check_tokens, corpus, identity, summary};
use crate::convert::provenance::Provenance;
use crate::convert::selection::choose_sites;
use crate::convert::{ExchangeProgress, ImportSettings, ImportSummary};
use crate::error::{Result, StoreError};
use crate::format::records::ModelRecord;
use crate::format::section::Section;
use crate::format::settings::HarvestSettings;
use crate::format::shard_record::WrittenShard;
use crate::format::site::SiteName;
use crate::format::tables::sequences::Sequence;
use crate::format::tables::tokens::Tokens;
use crate::write::cache_writer::CacheWriter;
use crate::write::planning::Planning;

/// Creates a cache in `settings.out` from the folder `settings.from`. Every row becomes a sequence, in order. BOS
/// tokens, if the BOS id is known, are in section `bos`, all others in `text`. There are no predictions. Memory is
/// bounded by a shard's tokens and a row group's activations.
///
/// # Errors
/// [`StoreError::Malformed`] or [`StoreError::Invalid`] if the folder has other contents, is truncated or does not
/// match the checkpoint; [`StoreError::Exists`] if there is a plan and `settings.existing` does not allow one.
pub fn import(settings: &ImportSettings, progress: &mut dyn FnMut(ExchangeProgress)) -> Result<ImportSummary> {
    let folder = SaelensFolder::open(&settings.from)?;
    let provenance = Provenance::read(&settings.from, "saelens")?;
    let features = &folder.features;
    let sites = choose_sites(&settings.from, &features.sites, &settings.sites)?;
    let identity = identity(settings, provenance.as_ref(), features.d_model, features.dtype)?;
    let packing = Packing::new(settings, features.context)?;

    let mut planning = Planning::begin(&settings.out, settings.existing)?;
    let sequences = plan(settings, &folder, &identity.model, identity.tokenizer.bos_id, &packing, &mut planning)?;
    let name = settings
        .name
        .clone()
        .or_else(|| provenance.map(|provenance| provenance.corpus.name))
        .or_else(|| folder.runner.dataset_path.clone())
        .unwrap_or_else(|| "saelens".to_owned());
    let corpus = corpus(settings, name, &identity, folder.records()?, sequences, features.context);
    planning.finish(corpus)?;

    let mut model = identity.model;
    if let (false, Some(name)) = (model.is_known(), &folder.runner.model_name) {
        // SAELens's name is no `model_type`, but better than nothing.
        model.model_type = format!("{} ({name} for SAELens)", model.model_type);
    }
    let harvest = HarvestSettings {
        model,
        sites,
        site_widths: BTreeMap::new(),
        dtype: features.dtype,
        codec: settings.codec,
        predictions: None,
    };
    let mut writer = CacheWriter::open(&settings.out, harvest, settings.non_finite, settings.existing)?;
    let sites = writer.settings().sites.clone();
    let mut filler = Filler { rows: folder.rows(&sites), left: None, bytes_per_row: packing.bytes_per_row(&folder) };
    let total_tokens = sequences * features.context as u64;
    let mut tokens = 0;
    for index in 0..writer.plan().shards.len() {
        progress(ExchangeProgress { tokens, total_tokens });
        let planned = writer.plan().shards[index].counts.clone();
        if writer.is_complete(index) {
            filler.skip(planned.sequences)?;
        } else {
            let shard = filler.fill(&writer, index, &sites, features.context, &mut |rows| {
                progress(ExchangeProgress { tokens: tokens + rows, total_tokens });
            })?;
            writer.record(shard)?;
        }
        tokens += planned.tokens;
    }
    Ok(summary(settings, &writer.finish()?))
}

/// The number of sequences per row group and per shard.
#[derive(Debug)]
struct Packing {
    context: usize,
    row_group: u64,
    shard: u64,
}

impl Packing {
    fn new(settings: &ImportSettings, context: usize) -> Result<Self> {
        let context_length = context as u64;
        if settings.shard_tokens == 0 || settings.row_group_rows == 0 {
            return Err(StoreError::invalid("shard tokens and row group rows", "at least 1", "0"));
        }
        let row_group = (u64::from(settings.row_group_rows) / context_length).max(1);
        let shard = (settings.shard_tokens / context_length).max(1);
        // Round down to whole row groups if the shard has room for one.
        let shard = if shard > row_group { shard / row_group * row_group } else { shard };
        Ok(Self { context, row_group, shard })
    }

    fn bytes_per_row(&self, folder: &SaelensFolder) -> usize {
        self.context * folder.features.d_model * folder.features.dtype.bytes()
    }
}

/// Plans the shards and returns the number of sequences.
fn plan(
    settings: &ImportSettings,
    folder: &SaelensFolder,
    model: &ModelRecord,
    bos: u32,
    packing: &Packing,
    planning: &mut Planning,
) -> Result<u64> {
    let mut rows = folder.rows(&[]);
    let mut next = 0;
    let mut sequences: Vec<Sequence> = Vec::new();
    let mut tokens = Tokens::default();
    while let Some(batch) = rows.next_rows()? {
        check_tokens(&settings.from, model, &batch.tokens)?;
        for ids in batch.tokens.chunks_exact(packing.context) {
            sequences.push(Sequence {
                id: next,
                document: next,
                subset: None,
                first_row: tokens.len() as u64,
                length: packing.context as u32,
                row_group: (sequences.len() as u64 / packing.row_group) as u32,
            });
            for (position, id) in (0..).zip(ids) {
                tokens.sequence.push(next);
                tokens.position.push(position);
                tokens.token.push(*id);
                tokens.section.push(if *id == bos { Section::Bos } else { Section::Text });
                tokens.document.push(next);
                tokens.subset.push(None);
            }
            next += 1;
            if sequences.len() as u64 == packing.shard {
                planning.add_shard(&sequences, &tokens)?;
                sequences.clear();
                tokens = Tokens::default();
            }
        }
    }
    if !sequences.is_empty() {
        planning.add_shard(&sequences, &tokens)?;
    }
    if next == 0 {
        return Err(StoreError::invalid(settings.from.display(), "at least one row", "none"));
    }
    Ok(next)
}

/// Regroups the rows of the folder's batches into row groups.
struct Filler<'a> {
    rows: RowReader<'a>,
    /// A batch, and how many of its rows are used.
    left: Option<(Arc<Rows>, usize)>,
    bytes_per_row: usize,
}

impl Filler<'_> {
    /// Takes at most `most` of the next rows. Returns their batch, the first row and the number of rows.
    fn take(&mut self, most: u64) -> Result<(Arc<Rows>, usize, usize)> {
        let (batch, used) = match self.left.take() {
            Some(left) => left,
            None => match self.rows.next_rows()? {
                Some(rows) => (Arc::new(rows), 0),
                None => return Err(StoreError::invalid("the imported folder", "the rows that were planned", "fewer")),
            },
        };
        let count = usize::try_from(most).unwrap_or(usize::MAX).min(batch.count - used);
        if used + count < batch.count {
            self.left = Some((Arc::clone(&batch), used + count));
        }
        Ok((batch, used, count))
    }

    fn skip(&mut self, mut sequences: u64) -> Result<()> {
        while sequences > 0 {
            sequences -= self.take(sequences)?.2 as u64;
        }
        Ok(())
    }

    fn fill(
        &mut self,
        writer: &CacheWriter,
        index: usize,
        sites: &[SiteName],
        context: usize,
        progress: &mut dyn FnMut(u64),
    ) -> Result<WrittenShard> {
        let mut shard = writer.begin_shard(index)?;
        let mut done = 0;
        for rows in shard.row_group_rows().to_vec() {
            let mut bits = vec![Vec::with_capacity(rows as usize / context * self.bytes_per_row); sites.len()];
            let mut wanted = rows / context as u64;
            while wanted > 0 {
                let (batch, first, count) = self.take(wanted)?;
                let bytes = first * self.bytes_per_row..(first + count) * self.bytes_per_row;
                for (bits, values) in bits.iter_mut().zip(&batch.values) {
                    bits.extend_from_slice(&values.as_slice()[bytes.clone()]);
                }
                batch.release(&bytes);
                wanted -= count as u64;
            }
            for (site, bits) in sites.iter().zip(bits) {
                shard.write_activations(site, bits)?;
            }
            done += rows;
            progress(done);
        }
        shard.finish(None)
    }
}
