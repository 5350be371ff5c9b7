//! Export of a cache to the data set that SAELens reads with `cached_activations_path`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Float16Array, Float32Array, Int32Array, ListArray, RecordBatch};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, FieldRef, Schema};
use half::f16;
use hayloft_runtime::Dtype;
use serde_json::json;

use super::features::Features;
use super::folder::{INFO_FILE, STATE_FILE};
use crate::FORMAT_VERSION;
use crate::convert::destination::{Destination, total_bytes};
use crate::convert::elements::Converter;
use crate::convert::provenance::{PROVENANCE_FILE, Provenance};
use crate::convert::selection::choose_sites;
use crate::convert::{ExchangeProgress, ExportSettings, ExportSummary};
use crate::error::{Result, StoreError, joined};
use crate::format::records::FileRecord;
use crate::format::settings::HarvestSettings;
use crate::format::site::SiteName;
use crate::format::tables::sequences::Sequence;
use crate::fs::hash::HashingFile;
use crate::fs::json;
use crate::read::cache::{Cache, Shard};

/// Approximate size of a site's values in one record batch.
const BATCH_BYTES: usize = 32 << 20;

/// Writes a cache as a data set for SAELens: one file per shard, one row per sequence of full context length, one
/// column per site, as float32 or float16. Memory is bounded by one row group of each site.
///
/// # Errors
/// [`StoreError::Invalid`] if a sequence is shorter and `settings.leave_out_short` is not set, if no sequence has full
/// length, if the type is bf16, or if a value is too large for f16; [`StoreError::Exists`] if `settings.out` exists.
pub fn export(settings: &ExportSettings, progress: &mut dyn FnMut(ExchangeProgress)) -> Result<ExportSummary> {
    let cache = Cache::open(&settings.cache)?;
    let manifest = cache.manifest();
    let held: Vec<_> = manifest.sites.iter().map(|site| site.name.clone()).collect();
    let sites = choose_sites(&settings.cache, &held, &settings.sites)?;
    let features = Features {
        d_model: common_width(&manifest.settings(), &sites)?,
        sites,
        context: manifest.corpus.context_length as usize,
        dtype: exported_type(settings.dtype, manifest.codec.read_dtype(manifest.dtype))?,
    };
    let shards = full_shards(settings, &cache, features.context)?;
    let schema = Arc::new(features.schema());
    let destination = Destination::create(&settings.out)?;

    let mut files: Vec<FileRecord> = Vec::new();
    let total_tokens = shards.iter().map(|shard| shard.full * features.context as u64).sum();
    let mut tokens = 0;
    for FullShard { place, .. } in shards.iter().filter(|shard| shard.full > 0) {
        let name = format!("data-{:05}-of-{:05}.arrow", files.len(), shards.iter().filter(|it| it.full > 0).count());
        let (path, file) = destination.create_file(&name)?;
        let mut writer =
            ShardExport { features: &features, schema: &schema, path: &path, converter: Converter::default() };
        let file = writer.write(&cache.shard(*place)?, file, &mut |more| {
            tokens += more;
            progress(ExchangeProgress { tokens, total_tokens });
        })?;
        files.push(file.finish(&path, name)?);
    }

    let provenance = Provenance {
        format: FORMAT_VERSION,
        exported_as: "saelens".to_owned(),
        manifest_blake3: cache.manifest_blake3().to_owned(),
        codec: manifest.codec,
        model: manifest.model.clone(),
        corpus: manifest.corpus.clone(),
        sites: features.sites.clone(),
        dtype: features.dtype,
        files,
    };
    write_descriptions(&destination, &features, &provenance)?;
    destination.commit()?;
    Ok(ExportSummary {
        folder: settings.out.clone(),
        files: provenance.files.len(),
        bytes: total_bytes(&provenance.files),
        sequences: shards.iter().map(|shard| shard.full).sum(),
        tokens: total_tokens,
        left_out_sequences: shards.iter().map(|shard| shard.short).sum(),
        sites: features.sites,
        dtype: features.dtype,
        codec: manifest.codec,
    })
}

/// The common width of the sites. A SAELens data set has only one.
fn common_width(settings: &HarvestSettings, sites: &[SiteName]) -> Result<usize> {
    let widths: BTreeSet<usize> = sites.iter().map(|site| settings.width(site)).collect();
    match Vec::from_iter(widths)[..] {
        [width] => Ok(width),
        ref widths => Err(StoreError::invalid("sites", "sites of one width; export the others apart", joined(widths))),
    }
}

/// float16 if the cache has it, else float32, which holds bf16 exactly.
fn exported_type(wanted: Option<Dtype>, stored: Dtype) -> Result<Dtype> {
    match wanted {
        Some(Dtype::Bf16) => Err(StoreError::invalid("dtype", "f32 or f16: `datasets` has no bfloat16", "bf16")),
        Some(dtype) => Ok(dtype),
        None if stored == Dtype::F16 => Ok(Dtype::F16),
        None => Ok(Dtype::F32),
    }
}

/// A shard, by its position in the cache, and its number of full-length and shorter sequences.
struct FullShard {
    place: usize,
    full: u64,
    short: u64,
}

fn full_shards(settings: &ExportSettings, cache: &Cache, context: usize) -> Result<Vec<FullShard>> {
    let mut shards = Vec::new();
    for place in 0..cache.shards() {
        let shard = cache.shard(place)?;
        let full = shard.sequences().iter().filter(|sequence| sequence.length as usize == context).count() as u64;
        shards.push(FullShard { place, full, short: shard.sequences().len() as u64 - full });
    }
    let full: u64 = shards.iter().map(|shard| shard.full).sum();
    let short: u64 = shards.iter().map(|shard| shard.short).sum();
    let what = format!("{}: sequences", settings.cache.display());
    if full == 0 {
        return Err(StoreError::invalid(what, format!("some of {context} tokens, the context"), "none"));
    }
    if short > 0 && !settings.leave_out_short {
        let expected = format!("all of {context} tokens, as SAELens needs them (--leave-out-short leaves others out)");
        return Err(StoreError::invalid(what, expected, format!("{short} of {} that are shorter", full + short)));
    }
    Ok(shards)
}

/// Writes `hayloft.json` and then the files that `datasets` reads first.
fn write_descriptions(destination: &Destination, features: &Features, provenance: &Provenance) -> Result<()> {
    let sealed = json::seal(&destination.path(PROVENANCE_FILE), provenance)?;
    destination.write(PROVENANCE_FILE, &sealed)?;
    let info =
        json!({"citation": "", "description": "", "features": features.to_json(), "homepage": "", "license": ""});
    // `datasets` caches results under the fingerprint, so it must differ for different data.
    let mut hasher = blake3::Hasher::new();
    for file in &provenance.files {
        hasher.update(file.blake3.as_bytes());
    }
    let names: Vec<_> = provenance.files.iter().map(|file| json!({"filename": file.path})).collect();
    let state = json!({
        "_data_files": names,
        "_fingerprint": &hasher.finalize().to_hex()[..16],
        "_format_columns": null,
        "_format_kwargs": {},
        "_format_type": null,
        "_output_all_columns": false,
        "_split": null,
    });
    for (name, value) in [(INFO_FILE, info), (STATE_FILE, state)] {
        let text = serde_json::to_vec_pretty(&value)
            .map_err(|error| StoreError::invalid(name, "values that JSON can hold", error))?;
        destination.write(name, &text)?;
    }
    Ok(())
}

/// Writes the file of one shard.
struct ShardExport<'a> {
    features: &'a Features,
    schema: &'a Arc<Schema>,
    path: &'a Path,
    converter: Converter,
}

impl ShardExport<'_> {
    fn write(&mut self, shard: &Shard, file: HashingFile, progress: &mut dyn FnMut(u64)) -> Result<HashingFile> {
        let failed = |path: &Path, error| StoreError::io(path, "write", to_io(error));
        let mut stream = StreamWriter::try_new(file, self.schema).map_err(|error| failed(self.path, error))?;
        let Features { sites, context, d_model, .. } = self.features;
        let tokens = shard.tokens()?;
        let readers = sites.iter().map(|site| shard.activations(site)).collect::<Result<Vec<_>>>()?;
        let mut bits = vec![Vec::new(); sites.len()];
        let row_bytes = d_model * readers.first().map_or(1, |reader| reader.dtype().bytes());
        let most = (BATCH_BYTES / (context * d_model * 4)).max(1);
        for group in shard.sequences().chunk_by(|left, right| left.row_group == right.row_group) {
            let full: Vec<&Sequence> = group.iter().filter(|sequence| sequence.length as usize == *context).collect();
            if full.is_empty() {
                continue;
            }
            for (reader, bits) in readers.iter().zip(&mut bits) {
                reader.read(group[0].row_group as usize, bits)?;
                reader.release(group[0].row_group as usize);
            }
            let start = group[0].first_row;
            for sequences in full.chunks(most) {
                let mut columns: Vec<ArrayRef> = Vec::new();
                for ((bits, reader), column) in bits.iter().zip(&readers).zip(self.schema.fields()) {
                    let mut words = Vec::with_capacity(sequences.len() * context * row_bytes);
                    for sequence in sequences {
                        let first = (sequence.first_row - start) as usize * row_bytes;
                        words.extend_from_slice(&bits[first..first + context * row_bytes]);
                    }
                    columns.push(self.activations(column, reader.dtype(), &words)?);
                }
                let ids = sequences.iter().flat_map(|sequence| {
                    let first = sequence.first_row as usize;
                    tokens.token[first..first + context].iter().copied()
                });
                columns.push(self.token_ids(ids)?);
                let batch = RecordBatch::try_new(Arc::clone(self.schema), columns);
                let written = batch.and_then(|batch| stream.write(&batch));
                written.map_err(|error| failed(self.path, error))?;
                progress((sequences.len() * context) as u64);
            }
        }
        stream.finish().and_then(|()| stream.into_inner()).map_err(|error| failed(self.path, error))
    }

    /// A column of whole sequences, from the raw elements.
    fn activations(&mut self, column: &FieldRef, stored: Dtype, words: &[u8]) -> Result<ArrayRef> {
        let Features { context, d_model, dtype, .. } = self.features;
        let converted = self.converter.convert(stored, *dtype, words);
        let converted = converted.map_err(|too_large| {
            StoreError::invalid(column.name(), "values that f16 can hold; export as f32", too_large.value)
        })?;
        let elements: ArrayRef = if *dtype == Dtype::F16 {
            let values = converted.as_chunks::<2>().0.iter().map(|word| f16::from_le_bytes(*word));
            Arc::new(Float16Array::new(ScalarBuffer::from(values.collect::<Vec<_>>()), None))
        } else {
            let values = converted.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word));
            Arc::new(Float32Array::new(ScalarBuffer::from(values.collect::<Vec<_>>()), None))
        };
        let rows = elements.len() / d_model;
        let invalid = |error| StoreError::io(self.path, "write", to_io(error));
        let DataType::List(inner) = column.data_type() else {
            return Err(StoreError::invalid(column.name(), "a column of lists", column.data_type()));
        };
        let DataType::List(element) = inner.data_type() else {
            return Err(StoreError::invalid(column.name(), "a column of lists of lists", column.data_type()));
        };
        let lengths = OffsetBuffer::from_repeated_length(*d_model, rows);
        let vectors = ListArray::try_new(Arc::clone(element), lengths, elements, None).map_err(invalid)?;
        let lengths = OffsetBuffer::from_repeated_length(*context, rows / context);
        let sequences = ListArray::try_new(Arc::clone(inner), lengths, Arc::new(vectors), None).map_err(invalid)?;
        Ok(Arc::new(sequences))
    }

    fn token_ids(&self, ids: impl Iterator<Item = u32>) -> Result<ArrayRef> {
        let signed = |id: u32| {
            i32::try_from(id).map_err(|_| StoreError::invalid("token", "an id that int32 can hold, as SAELens has", id))
        };
        let ids = Int32Array::from(ids.map(signed).collect::<Result<Vec<_>>>()?);
        let column = self.schema.fields().last().map(|field| field.data_type().clone());
        let Some(DataType::FixedSizeList(item, length)) = column else {
            return Err(StoreError::invalid("token_ids", "a column of lists of one length", "another"));
        };
        let lists = FixedSizeListArray::try_new(item, length, Arc::new(ids), None);
        lists.map(|lists| Arc::new(lists) as ArrayRef).map_err(|error| StoreError::io(self.path, "write", to_io(error)))
    }
}

/// Converts an error of the Arrow writer, unwrapping an I/O error.
fn to_io(error: ArrowError) -> std::io::Error {
    match error {
        ArrowError::IoError(_, source) => source,
        other => std::io::Error::other(other),
    }
}
