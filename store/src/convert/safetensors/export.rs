//! Export of a cache to safetensors.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use hayloft_runtime::Dtype;

use super::layout::Shape;
use crate::FORMAT_VERSION;
use crate::convert::destination::{Destination, total_bytes};
use crate::convert::elements::Converter;
use crate::convert::provenance::{PROVENANCE_FILE, Provenance};
use crate::convert::selection::choose_sites;
use crate::convert::{ExchangeProgress, ExportSettings, ExportSummary};
use crate::error::{Result, StoreError};
use crate::format::records::FileRecord;
use crate::format::section::Section;
use crate::format::site::SiteName;
use crate::format::tables::tokens::Tokens;
use crate::fs::hash::HashingFile;
use crate::fs::json;
use crate::read::cache::{Cache, Shard};

/// Writes a cache as safetensors files, `shard-00000.safetensors` and so on, numbered as in the plan. Activations have
/// the cache's type unless `settings.dtype` names another. Memory is bounded by a shard's tokens and a row group.
///
/// # Errors
/// [`StoreError::Invalid`] if a value is too large for the requested type or a site's name begins with `table.`;
/// [`StoreError::Exists`] if `settings.out` exists.
pub fn export(settings: &ExportSettings, progress: &mut dyn FnMut(ExchangeProgress)) -> Result<ExportSummary> {
    let cache = Cache::open(&settings.cache)?;
    let manifest = cache.manifest();
    let held: Vec<_> = manifest.sites.iter().map(|site| site.name.clone()).collect();
    let sites = choose_sites(&settings.cache, &held, &settings.sites)?;
    if let Some(site) = sites.iter().find(|site| site.as_str().starts_with("table.")) {
        return Err(StoreError::invalid("site", "one that does not begin with `table.`, as our tables do", site));
    }
    let dtype = settings.dtype.unwrap_or(manifest.codec.read_dtype(manifest.dtype));
    let destination = Destination::create(&settings.out)?;
    let total_tokens = manifest.held.tokens;
    let mut tokens = 0;
    let mut files: Vec<FileRecord> = Vec::new();
    for place in 0..cache.shards() {
        let shard = cache.shard(place)?;
        let name = format!("shard-{:05}.safetensors", shard.record().index);
        let (path, file) = destination.create_file(&name)?;
        let mut writer = ShardExport { path: &path, file, sites: &sites, dtype, converter: Converter::default() };
        writer.write(&shard)?;
        files.push(writer.file.finish(&path, name)?);
        tokens += shard.record().counts.tokens;
        progress(ExchangeProgress { tokens, total_tokens });
    }
    let provenance = Provenance {
        format: FORMAT_VERSION,
        exported_as: "safetensors".to_owned(),
        manifest_blake3: cache.manifest_blake3().to_owned(),
        codec: manifest.codec,
        model: manifest.model.clone(),
        corpus: manifest.corpus.clone(),
        sites: sites.clone(),
        dtype,
        files,
    };
    destination.write(PROVENANCE_FILE, &json::seal(&destination.path(PROVENANCE_FILE), &provenance)?)?;
    destination.commit()?;
    Ok(ExportSummary {
        folder: settings.out.clone(),
        files: provenance.files.len(),
        bytes: total_bytes(&provenance.files),
        sequences: manifest.held.sequences,
        tokens: total_tokens,
        left_out_sequences: 0,
        sites,
        dtype,
        codec: manifest.codec,
    })
}

/// Writes the file of one shard.
struct ShardExport<'a> {
    path: &'a Path,
    file: HashingFile,
    sites: &'a [SiteName],
    dtype: Dtype,
    converter: Converter,
}

impl ShardExport<'_> {
    /// Writes the tensors in header order.
    fn write(&mut self, shard: &Shard) -> Result<()> {
        let tokens = shard.tokens()?;
        let subsets = subsets_of(&tokens);
        let names: Vec<Arc<str>> = subsets.keys().cloned().collect();
        let shape = Shape {
            rows: tokens.len(),
            sequences: shard.sequences().len(),
            dtype: self.dtype,
            sites: self.sites.iter().map(|site| (site, shard.contents().settings.width(site))).collect(),
            subsets: &names,
            has_turns: !tokens.turn.is_empty(),
        };
        let header = shape.header();
        let header = header.map_err(|error| StoreError::invalid("header", "values that JSON can hold", error))?;
        self.put(&header)?;
        self.integers(tokens.token.iter().map(|it| u64::from(*it)))?;
        self.integers(tokens.position.iter().map(|it| u64::from(*it)))?;
        self.integers(tokens.sequence.iter().copied())?;
        self.integers(tokens.document.iter().copied())?;
        self.integers(shard.sequences().iter().map(|it| u64::from(it.length)))?;
        self.integers(shard.sequences().iter().map(|it| u64::from(it.row_group)))?;
        self.integers(shard.sequences().iter().map(|it| it.document))?;
        let place = |subset: &Option<Arc<str>>| subset.as_ref().and_then(|name| subsets.get(name)).map_or(-1, |it| *it);
        self.put(&tokens.subset.iter().flat_map(|subset| place(subset).to_le_bytes()).collect::<Vec<u8>>())?;
        self.put(&tokens.turn.iter().flat_map(|turn| turn.to_le_bytes()).collect::<Vec<u8>>())?;
        for site in self.sites {
            let reader = shard.activations(site)?;
            let mut bits = Vec::new();
            for row_group in 0..reader.row_groups() {
                reader.read(row_group, &mut bits)?;
                reader.release(row_group);
                let words = self.converter.convert(reader.dtype(), self.dtype, &bits).map_err(|too_large| {
                    let expected = format!("values that {} can hold; export as f32", self.dtype);
                    StoreError::invalid(site, expected, too_large.value)
                })?;
                let written = self.file.write_all(words);
                written.map_err(|source| StoreError::io(self.path, "write", source))?;
            }
        }
        let section = |section: &Section| Section::ALL.iter().position(|it| it == section).unwrap_or_default() as u8;
        self.put(&tokens.section.iter().map(section).collect::<Vec<u8>>())
    }

    fn integers(&mut self, values: impl Iterator<Item = u64>) -> Result<()> {
        self.put(&values.flat_map(u64::to_le_bytes).collect::<Vec<u8>>())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|source| StoreError::io(self.path, "write", source))
    }
}

/// The subsets sorted by name, each with its index.
fn subsets_of(tokens: &Tokens) -> BTreeMap<Arc<str>, i32> {
    let mut subsets: BTreeMap<Arc<str>, i32> = tokens.subset.iter().flatten().map(|it| (Arc::clone(it), 0)).collect();
    for (place, (_, at)) in (0..).zip(&mut subsets) {
        *at = place;
    }
    subsets
}
