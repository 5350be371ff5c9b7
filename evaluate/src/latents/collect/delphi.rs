//! Every firing in the form of delphi's latent cache (eai-delphi 0.1.3), from which it explains and scores latents.
//!
//! For each SAE a folder with `config.json` and a file for each range of latents, `FIRST_LAST.safetensors`:
//! `locations` `[firings, 3]` (sequence, position, latent − FIRST) and `activations` `[firings]`, by sequence and position, and
//! `tokens` `[sequences, context]`.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use hayloft_runtime::{safetensors_header, write_whole, write_whole_with};
use hayloft_store::Cache;
use safetensors::Dtype;
use serde_json::json;

use crate::data::batch::Batch;
use crate::error::EvaluateError;

/// Files of an SAE, as many as delphi writes by default.
const SPLITS: usize = 5;

/// Locations are 16-bit numbers if all of them are below this.
const SMALL: usize = 1 << 16;

/// What stands at the positions after a shorter sequence, where no latent fires.
const PADDING: u32 = 0;

/// A latent that fires at a row of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Firing {
    pub(super) row: u32,
    pub(super) latent: u32,
    pub(super) activation: f32,
}

/// The firings of all SAEs, in the making.
#[derive(Debug)]
pub(super) struct DelphiExport {
    folder: PathBuf,
    saes: Vec<SaeExport>,
    /// Number of sequences, and tokens of the longest.
    shape: (usize, usize),
    /// Whether a sequence is shorter than the longest.
    is_padded: bool,
    /// Sequences that have been added.
    added: u32,
}

#[derive(Debug)]
struct SaeExport {
    folder: PathBuf,
    splits: Vec<Split>,
    is_small: bool,
}

/// A range of latents. What is known of it so far is in temporary files, since the length of a tensor comes before it.
#[derive(Debug)]
struct Split {
    latents: Range<u32>,
    locations: BufWriter<File>,
    activations: BufWriter<File>,
    firings: usize,
}

impl DelphiExport {
    /// Begins an export of SAEs, given by names and widths, on the shards at these indices. A folder that is there and not
    /// empty is refused.
    pub(super) fn begin(
        folder: &Path,
        saes: impl Iterator<Item = (String, usize)>,
        cache: &Cache,
        places: &[usize],
    ) -> Result<Self, EvaluateError> {
        let (mut sequences, mut longest, mut shortest) = (0, 0, u32::MAX);
        for &place in places {
            for sequence in cache.shard(place)?.sequences() {
                sequences += 1;
                (longest, shortest) = (longest.max(sequence.length), shortest.min(sequence.length));
            }
        }
        let shape = (sequences, longest as usize);
        let saes = saes.map(|(name, width)| SaeExport::begin(&folder.join(name.replace('/', ".")), width, shape));
        let saes = saes.collect::<Result<_, _>>()?;
        Ok(Self { folder: folder.to_path_buf(), saes, shape, is_padded: shortest < longest, added: 0 })
    }

    /// Adds the next batch of the cache, with the firings of each SAE.
    pub(super) fn add(&mut self, batch: &Batch, firings: Vec<Vec<Firing>>) -> Result<(), EvaluateError> {
        let mut ends = Vec::with_capacity(batch.sequences.len());
        for (_, length) in &batch.sequences {
            ends.push(ends.last().unwrap_or(&0) + length);
        }
        let place = |row: u32| {
            let sequence = ends.partition_point(|end| *end <= row);
            [self.added + sequence as u32, row - sequence.checked_sub(1).map_or(0, |before| ends[before])]
        };
        for (own, mut firings) in self.saes.iter_mut().zip(firings) {
            firings.sort_unstable_by_key(|firing| (firing.row, firing.latent));
            let add = firings.into_iter().try_for_each(|firing| own.add(place(firing.row), firing));
            add.map_err(|cause| unwritten(&own.folder, cause))?;
        }
        self.added += batch.sequences.len() as u32;
        Ok(())
    }

    /// Writes all files. Each appears when it is whole.
    pub(super) fn finish(self, cache: &Cache, places: &[usize]) -> Result<(), EvaluateError> {
        let (sequences, context) = self.shape;
        if self.is_padded {
            tracing::warn!(
                "sequences of the export have different lengths: token {PADDING} follows the shorter ones up to {context} tokens, \
                 and delphi takes it for text at which no latent fires"
            );
        }
        let not_kept = |cause| unwritten(&self.folder, cause);
        let mut tokens = tempfile::tempfile_in(&self.folder).map(BufWriter::new).map_err(not_kept)?;
        for &place in places {
            let shard = cache.shard(place)?;
            let table = shard.tokens()?;
            for sequence in shard.sequences() {
                let rows = &table.token[sequence.first_row as usize..][..sequence.length as usize];
                let padded = rows.iter().copied().chain(std::iter::repeat(PADDING)).take(context);
                let write = padded.map(u32::to_le_bytes).try_for_each(|word| tokens.write_all(&word));
                write.map_err(not_kept)?;
            }
        }
        let mut tokens = read_again(tokens).map_err(not_kept)?;
        let config = json!({
            "dataset_repo": cache.manifest().corpus.name,
            "dataset_split": "",
            "dataset_name": "",
            "dataset_column": "",
            "batch_size": 1,
            "cache_ctx_len": context,
            "ctx_len": context,
            "n_tokens": sequences * context,
            "n_splits": SPLITS,
            "model_name": cache.manifest().model.model_type,
        });
        for sae in self.saes {
            let SaeExport { folder, splits, is_small } = sae;
            let write = || {
                for split in splits {
                    split.write(&folder, is_small, &mut tokens, self.shape)?;
                }
                write_whole(&folder.join("config.json"), format!("{config:#}\n").as_bytes())
            };
            write().map_err(|cause| unwritten(&folder, cause))?;
        }
        Ok(())
    }
}

impl SaeExport {
    fn begin(folder: &Path, width: usize, shape: (usize, usize)) -> Result<Self, EvaluateError> {
        let begin = || {
            fs::create_dir_all(folder)?;
            if fs::read_dir(folder)?.next().is_some() {
                let message = "expected no folder or an empty one, got one with files. Remove it, or name another";
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
            }
            // The boundaries of torch.linspace(0, width, SPLITS + 1).
            let start = |split: usize| (split * width / SPLITS) as u32;
            let ranges = (0..SPLITS).map(|split| start(split)..start(split + 1)).filter(|range| !range.is_empty());
            let split = |latents| {
                let new = || tempfile::tempfile_in(folder).map(BufWriter::new);
                Ok(Split { latents, locations: new()?, activations: new()?, firings: 0 })
            };
            ranges.map(split).collect::<io::Result<Vec<_>>>()
        };
        let splits = begin().map_err(|cause| unwritten(folder, cause))?;
        let is_small = shape.0 <= SMALL && shape.1 <= SMALL && splits.iter().all(|split| split.latents.len() <= SMALL);
        Ok(Self { folder: folder.to_path_buf(), splits, is_small })
    }

    fn add(&mut self, [sequence, position]: [u32; 2], firing: Firing) -> io::Result<()> {
        let split = self.splits.partition_point(|split| split.latents.end <= firing.latent);
        let Some(split) = self.splits.get_mut(split) else { return Ok(()) };
        for number in [sequence, position, firing.latent - split.latents.start] {
            let bytes = number.to_le_bytes();
            split.locations.write_all(if self.is_small { &bytes[..2] } else { &bytes })?;
        }
        split.activations.write_all(&firing.activation.to_le_bytes())?;
        split.firings += 1;
        Ok(())
    }
}

impl Split {
    fn write(self, folder: &Path, is_small: bool, tokens: &mut File, shape: (usize, usize)) -> io::Result<()> {
        let Self { latents, locations, activations, firings } = self;
        let (kind, bytes) = if is_small { (Dtype::U16, 2) } else { (Dtype::U32, 4) };
        let tensors = [
            ("activations".to_owned(), Dtype::F32, vec![firings], 4 * firings),
            ("tokens".to_owned(), Dtype::U32, vec![shape.0, shape.1], 4 * shape.0 * shape.1),
            ("locations".to_owned(), kind, vec![firings, 3], 3 * bytes * firings),
        ];
        tokens.rewind()?;
        let path = folder.join(format!("{}_{}.safetensors", latents.start, latents.end - 1));
        write_whole_with(&path, |file| {
            file.write_all(&safetensors_header(None, tensors.into_iter())?)?;
            for part in [&mut read_again(activations)?, &mut *tokens, &mut read_again(locations)?] {
                io::copy(&mut BufReader::new(part), file)?;
            }
            Ok(())
        })
    }
}

/// The file of a writer, from its beginning.
fn read_again(writer: BufWriter<File>) -> io::Result<File> {
    let mut file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

fn unwritten(path: &Path, cause: io::Error) -> EvaluateError {
    EvaluateError::Export { path: path.to_path_buf(), cause }
}
