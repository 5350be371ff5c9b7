//! Import of exported safetensors into a cache.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use safetensors::tensor::TensorView;
use safetensors::{Dtype as Kind, SafeTensors};

use super::layout::{
    DOCUMENT, POSITION, SECTION, SECTIONS_KEY, SEQUENCE, SEQUENCE_DOCUMENT, SEQUENCE_LENGTH, SEQUENCE_ROW_GROUP,
    SUBSET, SUBSETS_KEY, TOKEN, TURN, kind,
};
use crate::convert::intake::{check_tokens, identity, summary};
use crate::convert::provenance::{PROVENANCE_FILE, Provenance};
use crate::convert::selection::choose_sites;
use crate::convert::{ExchangeProgress, ImportSettings, ImportSummary};
use crate::error::{Result, StoreError};
use crate::format::records::Corpus;
use crate::format::section::Section;
use crate::format::settings::HarvestSettings;
use crate::format::site::SiteName;
use crate::format::tables::sequences::Sequence;
use crate::format::tables::tokens::Tokens;
use crate::fs::folder::Folder;
use crate::fs::map::map_file;
use crate::write::cache_writer::CacheWriter;
use crate::write::planning::Planning;

/// Creates a cache in `settings.out` from the folder `settings.from`, which [`super::export`] wrote: the same shards,
/// row groups, tokens, sections and activations, without predictions. Ignores `settings.shard_tokens` and
/// `row_group_rows`.
///
/// # Errors
/// [`StoreError::Invalid`] if there is no `hayloft.json`, [`StoreError::Damaged`] if a file does not match its record
/// there, [`StoreError::Malformed`] if a file has other contents.
pub fn import(settings: &ImportSettings, progress: &mut dyn FnMut(ExchangeProgress)) -> Result<ImportSummary> {
    let Some(provenance) = Provenance::read(&settings.from, "safetensors")? else {
        let expected = format!("a folder with {PROVENANCE_FILE}, as `store export --to safetensors` writes it");
        return Err(StoreError::invalid(settings.from.display(), expected, "none"));
    };
    let sites = choose_sites(&settings.from, &provenance.sites, &settings.sites)?;
    let identity = identity(settings, Some(&provenance), provenance.model.d_model, provenance.dtype)?;
    let folder = Folder::new(&settings.from);
    let listed = settings.from.join(PROVENANCE_FILE);
    let paths = provenance.files.iter().map(|file| folder.locate(&listed, &file.path));
    let files: Vec<ShardFile> = paths.map(|path| ShardFile::open(path?)).collect::<Result<_>>()?;

    let mut planning = Planning::begin(&settings.out, settings.existing)?;
    let mut total_tokens = 0;
    for file in &files {
        let (sequences, tokens) = file.tables()?;
        check_tokens(&settings.from, &identity.model, &tokens.token)?;
        total_tokens += tokens.len() as u64;
        planning.add_shard(&sequences, &tokens)?;
    }
    let name = settings.name.clone().unwrap_or_else(|| provenance.corpus.name.clone());
    let corpus = Corpus { name, tokenizer: identity.tokenizer, ..provenance.corpus };
    planning.finish(corpus)?;

    let site_widths = match files.first() {
        Some(file) => file.widths(&sites)?,
        None => BTreeMap::new(),
    };
    let harvest = HarvestSettings {
        model: identity.model,
        sites,
        site_widths,
        dtype: provenance.dtype,
        codec: settings.codec,
        predictions: None,
    };
    let mut writer = CacheWriter::open(&settings.out, harvest, settings.non_finite, settings.existing)?;
    let mut tokens = 0;
    for (index, file) in files.iter().enumerate() {
        if !writer.is_complete(index) {
            let shard = file.fill(&writer, index)?;
            writer.record(shard)?;
        }
        tokens += writer.plan().shards[index].counts.tokens;
        progress(ExchangeProgress { tokens, total_tokens });
    }
    Ok(summary(settings, &writer.finish()?))
}

/// The mapped file of one shard.
struct ShardFile {
    path: PathBuf,
    bytes: Bytes,
}

impl ShardFile {
    fn open(path: PathBuf) -> Result<Self> {
        let bytes = map_file(&path)?.bytes;
        let file = Self { path, bytes };
        file.tensors()?;
        Ok(file)
    }

    /// Parses the header. The tensors must fill the file exactly.
    fn tensors(&self) -> Result<SafeTensors<'_>> {
        let parsed = SafeTensors::deserialize(&self.bytes);
        parsed.map_err(|error| self.malformed("tensors that fill the file", error.to_string()))
    }

    fn malformed(&self, expected: &str, got: String) -> StoreError {
        malformed(&self.path, expected, got)
    }

    /// The bytes of a tensor, which must have this type. They keep the map alive after the header is dropped.
    fn tensor(&self, name: &str, wanted: Kind) -> Result<Bytes> {
        let tensors = self.tensors()?;
        match tensors.tensor(name) {
            Ok(view) if view.dtype() == wanted => Ok(self.bytes.slice_ref(view.data())),
            Ok(view) => Err(self.malformed(&format!("{name} of {wanted}"), view.dtype().to_string())),
            Err(error) => Err(self.malformed(&format!("the tensor {name}"), error.to_string())),
        }
    }

    /// The row width of each site.
    fn widths(&self, sites: &[SiteName]) -> Result<BTreeMap<SiteName, usize>> {
        let tensors = self.tensors()?;
        let width = |site: &SiteName| match tensors.tensor(site.as_str()).as_ref().map(TensorView::shape) {
            Ok([_, width]) => Ok((site.clone(), *width)),
            Ok(shape) => {
                Err(self.malformed(&format!("{site} of two dimensions"), serde_json::json!(shape).to_string()))
            }
            Err(error) => Err(self.malformed(&format!("the tensor {site}"), error.to_string())),
        };
        sites.iter().map(width).collect()
    }

    fn integers(&self, name: &str) -> Result<Vec<u64>> {
        let bytes = self.tensor(name, Kind::I64)?;
        Ok(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect())
    }

    fn small(&self, name: &str) -> Result<Vec<u32>> {
        let narrow = |value: u64| {
            u32::try_from(value).map_err(|_| self.malformed(&format!("{name} of 32 bits"), value.to_string()))
        };
        self.integers(name)?.into_iter().map(narrow).collect()
    }

    /// A list in the file's metadata.
    fn list<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Vec<T>> {
        let expected = format!("a list {key} in the metadata");
        let (_, header) =
            SafeTensors::read_metadata(&self.bytes).map_err(|error| self.malformed("a header", error.to_string()))?;
        let text = header.metadata().as_ref().and_then(|about| about.get(key));
        let text = text.ok_or_else(|| self.malformed(&expected, "none".to_owned()))?;
        serde_json::from_str(text).map_err(|error| self.malformed(&expected, error.to_string()))
    }

    /// The number of each token's turn; empty if the file has none.
    fn turns(&self) -> Result<Vec<u32>> {
        if self.tensors()?.tensor(TURN).is_err() {
            return Ok(Vec::new());
        }
        let bytes = self.tensor(TURN, Kind::I32)?;
        let turn = |word: &[u8; 4]| {
            let turn = i32::from_le_bytes(*word);
            u32::try_from(turn).map_err(|_| self.malformed("turns counted from 0", turn.to_string()))
        };
        bytes.as_chunks::<4>().0.iter().map(turn).collect()
    }

    fn tables(&self) -> Result<(Vec<Sequence>, Tokens)> {
        let sections: Vec<Section> = self.list(SECTIONS_KEY)?;
        let subsets: Vec<Arc<str>> = self.list::<String>(SUBSETS_KEY)?.into_iter().map(Arc::from).collect();
        let section = |place: &u8| {
            let found = sections.get(usize::from(*place)).copied();
            found.ok_or_else(|| self.malformed("a section of the list", place.to_string()))
        };
        let subset = |word: &[u8; 4]| match i32::from_le_bytes(*word) {
            -1 => Ok(None),
            place => {
                let found = usize::try_from(place).ok().and_then(|place| subsets.get(place));
                found.cloned().map(Some).ok_or_else(|| self.malformed("a subset of the list", place.to_string()))
            }
        };
        let tokens = Tokens {
            sequence: self.integers(SEQUENCE)?,
            position: self.small(POSITION)?,
            token: self.small(TOKEN)?,
            section: self.tensor(SECTION, Kind::U8)?.iter().map(section).collect::<Result<_>>()?,
            document: self.integers(DOCUMENT)?,
            subset: self.tensor(SUBSET, Kind::I32)?.as_chunks::<4>().0.iter().map(subset).collect::<Result<_>>()?,
            turn: self.turns()?,
        };
        let lengths = self.small(SEQUENCE_LENGTH)?;
        let row_groups = self.small(SEQUENCE_ROW_GROUP)?;
        let documents = self.integers(SEQUENCE_DOCUMENT)?;
        let mut sequences = Vec::new();
        let mut first_row = 0;
        for ((length, row_group), document) in lengths.into_iter().zip(row_groups).zip(documents) {
            let row = first_row as usize;
            let (Some(id), Some(subset)) = (tokens.sequence.get(row), tokens.subset.get(row)) else {
                let got = format!("{} rows", tokens.len());
                return Err(self.malformed("a row for every token of every sequence", got));
            };
            let subset = subset.as_deref().map(str::to_owned);
            sequences.push(Sequence { id: *id, document, subset, first_row, length, row_group });
            first_row += u64::from(length);
        }
        Ok((sequences, tokens))
    }

    fn fill(&self, writer: &CacheWriter, index: usize) -> Result<crate::format::shard_record::WrittenShard> {
        let mut shard = writer.begin_shard(index)?;
        let settings = writer.settings();
        for site in &settings.sites {
            let row_bytes = settings.width(site) * settings.dtype.bytes();
            let mut words = self.tensor(site.as_str(), kind(settings.dtype))?;
            for rows in shard.row_group_rows().to_vec() {
                let bytes = rows as usize * row_bytes;
                if words.len() < bytes {
                    return Err(self.malformed(&format!("{site} of every row"), format!("{} bytes", words.len())));
                }
                shard.write_activations(site, words.split_to(bytes))?;
            }
        }
        shard.finish(None)
    }
}

fn malformed(path: &Path, expected: &str, got: String) -> StoreError {
    StoreError::Malformed { path: path.to_owned(), expected: expected.to_owned(), got }
}
