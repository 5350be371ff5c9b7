//! Writing one shard.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use hayloft_runtime::Dtype;

use crate::FORMAT_VERSION;
use crate::codec::encoded::Buffers;
use crate::error::{Result, StoreError};
use crate::format::activations::layout::Layout;
use crate::format::activations::writer::{ActivationWriter, WrittenFile};
use crate::format::group_sums::GroupSums;
use crate::format::plan::{SEQUENCES_FILE, TOKENS_FILE, shard_name};
use crate::format::records::FileRecord;
use crate::format::settings::NonFinite;
use crate::format::shard_record::{SHARD_FILE, SHARDS_FOLDER, ShardContents, ShardLogits, ShardSite, WrittenShard};
use crate::format::site::SiteName;
use crate::format::statistics::{ActivationSums, measure};
use crate::format::tables::predictions::Predictions;
use crate::format::tables::sequences::{Sequence, row_group_rows};
use crate::format::tables::token_table::TokenTable;
use crate::fs::hash::{HashingFile, read_verified};
use crate::fs::json;
use crate::fs::staged::{StagedFolder, write_file};
use crate::write::core::WriterCore;

/// Writes one shard by row group and site. Memory is bounded by one row group and the contents of `tokens.parquet`.
/// Dropping the writer before [`Self::finish`] removes its files.
#[derive(Debug)]
pub struct ShardWriter {
    core: Arc<WriterCore>,
    staged: StagedFolder,
    index: usize,
    sequences: Vec<Sequence>,
    row_group_rows: Vec<u64>,
    sites: BTreeMap<SiteName, SiteWriter>,
    /// Boxed, because most caches have none.
    logits: Option<Box<LogitsWriter>>,
    /// Shared by all sites, which are written sequentially.
    buffers: Buffers,
}

/// The file of one site and its running statistics.
struct SiteWriter {
    path: PathBuf,
    writer: ActivationWriter<HashingFile>,
    sums: ActivationSums,
    norms: Vec<f32>,
}

struct LogitsWriter {
    path: PathBuf,
    writer: ActivationWriter<HashingFile>,
}

impl std::fmt::Debug for LogitsWriter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LogitsWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SiteWriter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SiteWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ShardWriter {
    pub(crate) fn create(core: Arc<WriterCore>, index: usize) -> Result<Self> {
        let sequences = core.plan.sequences(index)?;
        let destination = core.folder.join(SHARDS_FOLDER).join(shard_name(index));
        let disk = Arc::clone(&core.disk);
        let staged = match core.mode.temporary(&destination) {
            Some(temporary) => StagedFolder::create_at(disk, temporary, destination)?,
            None => StagedFolder::create(disk, destination)?,
        };
        let settings = &core.settings;
        let begin = |name: &SiteName, width: usize| -> Result<_> {
            let path = staged.file(&name.file_name());
            let sink = HashingFile::create(core.disk.as_ref(), &path)?;
            let layout = Layout { site: name.clone(), dtype: settings.dtype, codec: settings.codec, d_model: width };
            let writer = ActivationWriter::new(&path, sink, layout)?;
            Ok((path, writer))
        };
        let mut sites = BTreeMap::new();
        for site in &settings.sites {
            let width = settings.width(site);
            let (path, writer) = begin(site, width)?;
            let sums = ActivationSums::new(width);
            sites.insert(site.clone(), SiteWriter { path, writer, sums, norms: Vec::new() });
        }
        let mut logits = None;
        if settings.predictions.is_some_and(|kept| kept.full_logits) {
            let (path, writer) = begin(&SiteName::logits(), settings.model.vocab_size)?;
            logits = Some(Box::new(LogitsWriter { path, writer }));
        }
        let row_group_rows = row_group_rows(&sequences);
        Ok(Self { core, staged, index, sequences, row_group_rows, sites, logits, buffers: Buffers::default() })
    }

    /// Returns the shard's number in the plan.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns the required number of rows of each row group.
    pub fn row_group_rows(&self) -> &[u64] {
        &self.row_group_rows
    }

    /// Writes a site's next row group. `bits` are little-endian words of the cache's dtype, `[rows, width]`, without
    /// padding. A `Vec<u8>` or [`Bytes`] is moved, not copied.
    ///
    /// # Errors
    /// [`StoreError::NonFinite`] if an element is NaN or infinite and that is not allowed; [`StoreError::Invalid`] if
    /// `bits` has the wrong size, or if the site is unknown or has all its row groups.
    pub fn write_activations(&mut self, site: &SiteName, bits: impl Into<Bytes>) -> Result<()> {
        let bits = bits.into();
        let settings = &self.core.settings;
        let Some(writer) = self.sites.get_mut(site) else {
            return Err(StoreError::invalid("site", settings.sites_in_words(), site));
        };
        let width = settings.width(site);
        let place = Place { name: site, shard: self.index, row_group: writer.writer.row_groups() };
        place.check_size(&self.row_group_rows, width, settings.dtype, bits.len())?;
        let measured = measure(settings.dtype, width, &bits);
        if let (Some(row), NonFinite::Refuse) = (measured.first_non_finite, self.core.non_finite) {
            return Err(non_finite(site, &self.sequences, writer.norms.len() + row));
        }
        writer.sums.add(&measured.sums);
        writer.norms.extend_from_slice(&measured.norms);
        writer.writer.write(&bits, &mut self.buffers)
    }

    /// Writes the next row group of the full logits. `bits` are little-endian words of the cache's dtype,
    /// `[rows, vocab_size]`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if `bits` has the wrong size, if full logits are not stored, or if all row groups are
    /// written.
    pub fn write_logits(&mut self, bits: impl Into<Bytes>) -> Result<()> {
        let bits = bits.into();
        let settings = &self.core.settings;
        let Some(logits) = &mut self.logits else {
            return Err(StoreError::invalid("logits", "a cache that keeps them all", "one that does not"));
        };
        let place = Place { name: &SiteName::logits(), shard: self.index, row_group: logits.writer.row_groups() };
        place.check_size(&self.row_group_rows, settings.model.vocab_size, settings.dtype, bits.len())?;
        logits.writer.write(&bits, &mut self.buffers)
    }

    /// Writes the tables and `shard.json`, fsyncs the files and renames the folder to its final name. With several
    /// workers, the returned shard may be one that another worker finished first.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if a site lacks row groups, or if the predictions do not match the settings.
    #[expect(clippy::needless_pass_by_value, reason = "they are large, and go with the writer that they were made for")]
    pub fn finish(self, predictions: Option<Predictions>) -> Result<WrittenShard> {
        let (core, index) = (Arc::clone(&self.core), self.index);
        match self.finish_own(predictions.as_ref()) {
            // Another worker took this one for dead and removed its folder. No error if the shard is complete.
            Err(StoreError::Io { path, action, cause }) if cause.kind() == ErrorKind::NotFound => {
                core.of_another(index)?.ok_or(StoreError::Io { path, action, cause })
            }
            finished => finished,
        }
    }

    fn finish_own(mut self, predictions: Option<&Predictions>) -> Result<WrittenShard> {
        self.check_complete(predictions)?;
        let (tokens_file, statistics) = self.write_tokens(predictions)?;
        let mut files = vec![self.write_sequences()?, tokens_file];
        let mut sites = Vec::new();
        for (name, SiteWriter { path, writer, sums, .. }) in std::mem::take(&mut self.sites) {
            let (sink, WrittenFile { footer_blake3, rounding }) = writer.finish()?;
            files.push(sink.finish(&path, name.file_name())?);
            sites.push(ShardSite { name, footer_blake3, sums, rounding });
        }
        let mut logits = None;
        if let Some(logits_writer) = self.logits.take() {
            let LogitsWriter { path, writer } = *logits_writer;
            let (sink, WrittenFile { footer_blake3, rounding }) = writer.finish()?;
            files.push(sink.finish(&path, SiteName::logits().file_name())?);
            logits = Some(ShardLogits { footer_blake3, rounding });
        }
        let contents = ShardContents {
            format: FORMAT_VERSION,
            index: self.index,
            plan_blake3: self.core.plan.blake3().to_owned(),
            settings: self.core.settings.clone(),
            counts: self.core.plan.shard(self.index)?.counts.clone(),
            files,
            sites,
            logits,
            statistics,
        };
        let path = self.staged.file(SHARD_FILE);
        let bytes = json::seal(&path, &contents)?;
        write_file(self.core.disk.as_ref(), &path, &bytes)?;
        let shard = WrittenShard::new(contents, &bytes);
        self.core.commit(self.staged, shard)
    }

    fn check_complete(&self, predictions: Option<&Predictions>) -> Result<()> {
        let sites = self.sites.iter().map(|(site, writer)| (site.to_string(), writer.writer.row_groups()));
        let logits = self.logits.iter().map(|logits| ("logits".to_owned(), logits.writer.row_groups()));
        for (name, got) in sites.chain(logits) {
            let expected = self.row_group_rows.len();
            if got != expected {
                let what = format!("{name} of shard {}", self.index);
                return Err(StoreError::invalid(what, format!("{expected} row groups"), got));
            }
        }
        let kept = self.core.settings.predictions;
        match (kept, predictions) {
            (None, None) => Ok(()),
            (Some(kept), Some(predictions)) if kept.top_k as usize == predictions.top_k => {
                let rows: u64 = self.row_group_rows.iter().sum();
                let checked = predictions.check(rows as usize);
                checked.map_err(|got| StoreError::invalid("predictions", "values for every row", got))
            }
            (kept, got) => {
                let in_words = |top_k: Option<usize>| {
                    top_k.map_or_else(|| "none".to_owned(), |top_k| format!("predictions with the top {top_k}"))
                };
                let expected = in_words(kept.map(|kept| kept.top_k as usize));
                Err(StoreError::invalid("predictions", expected, in_words(got.map(|got| got.top_k))))
            }
        }
    }

    /// Copies the plan's sequence table byte for byte.
    fn write_sequences(&self) -> Result<FileRecord> {
        let (source, record) = self.core.plan.file(self.index, 0)?;
        let bytes = read_verified(&source, record)?;
        write_file(self.core.disk.as_ref(), &self.staged.file(SEQUENCES_FILE), &bytes)?;
        Ok(FileRecord { path: SEQUENCES_FILE.to_owned(), ..record.clone() })
    }

    fn write_tokens(&self, predictions: Option<&Predictions>) -> Result<(FileRecord, Vec<GroupSums>)> {
        let (_, planned) = self.core.plan.sequences_and_tokens(self.index)?;
        let norms = self.sites.iter().map(|(name, site)| (name, site.norms.as_slice())).collect();
        let table = TokenTable { planned: &planned, predictions, norms };
        table.write(self.core.disk.as_ref(), &self.staged.file(TOKENS_FILE))
    }
}

/// The position of a row group to write.
struct Place<'a> {
    name: &'a SiteName,
    shard: usize,
    row_group: usize,
}

impl Place<'_> {
    /// Checks that `bytes` is the size of this row group.
    fn check_size(&self, row_group_rows: &[u64], width: usize, dtype: Dtype, bytes: usize) -> Result<()> {
        let Self { name, shard, row_group } = self;
        let Some(rows) = row_group_rows.get(*row_group) else {
            let expected = format!("{} row groups", row_group_rows.len());
            return Err(StoreError::invalid(format!("{name} of shard {shard}"), expected, "one more"));
        };
        let expected = *rows as usize * width * dtype.bytes();
        if bytes != expected {
            let what = format!("{name}, row group {row_group} of shard {shard}");
            let expected = format!("{rows} rows of {width} {dtype} in {expected} bytes");
            return Err(StoreError::invalid(what, expected, format!("{bytes} bytes")));
        }
        Ok(())
    }
}

/// Returns the error for the non-finite row at index `row` of the shard.
fn non_finite(site: &SiteName, sequences: &[Sequence], row: usize) -> StoreError {
    let row = row as u64;
    let after = sequences.partition_point(|sequence| sequence.first_row <= row);
    let (sequence, first_row) =
        after.checked_sub(1).map_or((0, 0), |index| (sequences[index].id, sequences[index].first_row));
    StoreError::NonFinite { site: site.to_string(), sequence, position: row - first_row }
}
