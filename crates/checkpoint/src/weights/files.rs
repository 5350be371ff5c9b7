//! Memory-mapped safetensors files, checked in full against the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hayloft_runtime::{Dtype, other_file};
use safetensors::tensor::{self, SafeTensors};
use serde::Deserialize;

use super::in_place;
use super::layout::expected_tensors;
use super::tensor_names::{self, canonical, is_set_aside};
use crate::error::{CheckpointError, read_json};
use crate::spec::{DecoderSpec, HeadWeights};
use crate::weights::map::{MappedFile, map_file};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The weights of a checkpoint, mapped but not read.
#[derive(Debug)]
pub struct WeightFiles {
    folder: PathBuf,
    files: Vec<WeightFile>,
    /// Tensor name → location.
    tensors: BTreeMap<String, Entry>,
}

/// One of the files of a checkpoint.
#[derive(Debug)]
pub(crate) struct WeightFile {
    pub(crate) path: PathBuf,
    pub(crate) map: MappedFile,
}

/// Location of a tensor: bytes `start..end` of file `file`.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) file: usize,
    /// Name in the file.
    pub(crate) stored_name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    start: usize,
    end: usize,
}

impl Entry {
    /// Size in bytes.
    pub(crate) fn len(&self) -> u64 {
        (self.end - self.start) as u64
    }
}

/// A tensor of a mapped file.
#[derive(Debug, Clone, Copy)]
pub struct StoredTensor<'weights> {
    /// Number type of the elements.
    pub dtype: Dtype,
    /// Shape.
    pub shape: &'weights [usize],
    /// The elements, row-major, as little-endian words.
    pub bytes: &'weights [u8],
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl WeightFiles {
    /// Maps the weights of a checkpoint and checks that they hold every tensor of `spec`, in its shape, and no other.
    pub(crate) fn open(folder: &Path, spec: &DecoderSpec) -> Result<Self, CheckpointError> {
        let mut weights = Self { folder: folder.to_path_buf(), files: Vec::new(), tensors: BTreeMap::new() };
        for name in file_names(folder)? {
            weights.add(&name, spec)?;
        }
        weights.check(spec)?;
        Ok(weights)
    }

    /// The files, in the order of [`Entry::file`].
    pub(crate) fn files(&self) -> &[WeightFile] {
        &self.files
    }

    /// The tensors by canonical name, in the order of the names.
    pub(crate) fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.tensors
    }

    /// The stored type of a tensor.
    pub(crate) fn precision(&self, name: &str) -> Option<Dtype> {
        self.tensors.get(name).map(|entry| entry.dtype)
    }

    /// A tensor by its canonical name.
    ///
    /// # Errors
    /// [`CheckpointError::MissingTensor`], or [`CheckpointError::Io`] if its file has been truncated.
    pub fn tensor(&self, name: &str) -> Result<StoredTensor<'_>, CheckpointError> {
        let entry = self.tensors.get(name).ok_or_else(|| self.missing(name, &[]))?;
        Ok(StoredTensor { dtype: entry.dtype, shape: &entry.shape, bytes: self.bytes(entry)? })
    }

    /// The file with an unembedding that the configuration calls tied but whose values differ from the embedding.
    ///
    /// As in transformers, tensors are tied only if they are equal or one of them is absent.
    pub(crate) fn untied_head(&self, spec: &DecoderSpec) -> Result<Option<PathBuf>, CheckpointError> {
        let outer = tensor_names::of(spec.layout);
        let stored = (self.tensors.get(outer.head), self.tensors.get(outer.embedding));
        let (HeadWeights::Tied, (Some(head), Some(embedding))) = (spec.head, stored) else { return Ok(None) };
        let path = self.path(head.file);
        if head.shape != embedding.shape {
            let (got, expected) = (head.shape.clone(), embedding.shape.clone());
            return Err(CheckpointError::Shape { path, name: outer.head.to_owned(), got, expected });
        }
        let [head_bytes, embedding_bytes] = [self.bytes(head)?, self.bytes(embedding)?];
        let same = if head.dtype == embedding.dtype {
            head_bytes == embedding_bytes
        } else {
            same_numbers((head.dtype, head_bytes), (embedding.dtype, embedding_bytes))
        };
        Ok((!same).then_some(path))
    }

    /// The bytes of a tensor.
    pub(crate) fn bytes(&self, entry: &Entry) -> Result<&[u8], CheckpointError> {
        let bytes = self.files[entry.file].map.part(entry.start..entry.end);
        bytes.map_err(|source| CheckpointError::io(&self.path(entry.file), source))
    }

    fn path(&self, file: usize) -> PathBuf {
        self.files[file].path.clone()
    }

    fn missing(&self, name: &str, shape: &[usize]) -> CheckpointError {
        CheckpointError::MissingTensor { folder: self.folder.clone(), name: name.to_owned(), shape: shape.to_vec() }
    }

    /// Maps one file and records the locations of its tensors.
    fn add(&mut self, name: &str, spec: &DecoderSpec) -> Result<(), CheckpointError> {
        let path = self.folder.join(name);
        let map = map_file(&path).map_err(|source| CheckpointError::io(&path, source))?;
        let damaged = |problem: String| CheckpointError::Weights { path: path.clone(), problem };
        // Checks that the header is valid and that the tensors tile the rest of the file exactly.
        let parsed = SafeTensors::deserialize(&map).map_err(|error| {
            damaged(match other_file(&map) {
                Some(what) => format!("got {what}"),
                None => format!(
                    "expected a header whose tensors fill the file, got {} bytes ({error}). Copy or download it again",
                    map.len()
                ),
            })
        })?;
        let file = self.files.len();
        for (tensor, view) in parsed.iter().filter(|(tensor, _)| !is_set_aside(tensor, spec.layout)) {
            let dtype = match view.dtype() {
                tensor::Dtype::F32 => Dtype::F32,
                tensor::Dtype::BF16 => Dtype::Bf16,
                tensor::Dtype::F16 => Dtype::F16,
                other => {
                    let got = other.to_string();
                    return Err(CheckpointError::TensorType { path: path.clone(), name: tensor.to_owned(), got });
                }
            };
            let start = view.data().as_ptr().addr() - map.as_ptr().addr();
            let (stored_name, shape) = (tensor.to_owned(), view.shape().to_vec());
            let entry = Entry { file, stored_name, dtype, shape, start, end: start + view.data().len() };
            if self.tensors.insert(canonical(tensor, spec.layout), entry).is_some() {
                let advice = "Is one of the two of an earlier save?";
                return Err(damaged(format!("tensor {tensor} lies in another file of the checkpoint too. {advice}")));
            }
        }
        self.files.push(WeightFile { path, map });
        Ok(())
    }

    fn check(&self, spec: &DecoderSpec) -> Result<(), CheckpointError> {
        let expected = expected_tensors(spec);
        // Some tools write the embedding again for a tied head; `untied_head` checks that it is the same.
        let copied = (spec.head == HeadWeights::Tied).then_some(tensor_names::of(spec.layout).head);
        let untaken = self.tensors.keys().filter(|name| !expected.contains_key(*name) && copied != Some(name.as_str()));
        let untaken: Vec<&String> = untaken.collect();
        if let Some(first) = untaken.first() {
            let path = self.path(self.tensors[*first].file);
            return Err(CheckpointError::UntakenTensor { path, name: (*first).clone(), count: untaken.len() });
        }
        for (name, shape) in expected {
            let entry = self.tensors.get(&name).ok_or_else(|| self.missing(&name, &shape))?;
            if entry.shape != shape {
                let path = self.path(entry.file);
                return Err(CheckpointError::Shape { path, name, got: entry.shape.clone(), expected: shape });
            }
        }
        Ok(())
    }
}

/// Whether elements of two types have the same values. NaN differs from every value.
fn same_numbers((one_type, one): (Dtype, &[u8]), (other_type, other): (Dtype, &[u8])) -> bool {
    const BLOCK: usize = 4096;
    let wide = |dtype: Dtype, bytes: &[u8]| {
        let mut numbers = vec![0.0; bytes.len() / dtype.bytes()];
        dtype.widen(bytes, &mut numbers);
        numbers
    };
    let (one, other) = (one.chunks(BLOCK * one_type.bytes()), other.chunks(BLOCK * other_type.bytes()));
    one.zip(other).all(|(one, other)| wide(one_type, one) == wide(other_type, other))
}

/// The weight files of a folder: the single file, or those of the index.
fn file_names(folder: &Path) -> Result<Vec<String>, CheckpointError> {
    let index_path = folder.join(INDEX);
    if folder.join(SINGLE).is_file() {
        return Ok(vec![SINGLE.to_owned()]);
    }
    if !index_path.is_file() {
        let folder = folder.to_path_buf();
        return Err(match a_shard(&folder) {
            Some(shard) => CheckpointError::NoIndex { folder, shard },
            None => CheckpointError::NoWeights { found: in_place::of_weights(&folder), folder },
        });
    }
    let index: Index = read_json(&index_path)?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    for name in &names {
        // A hostile index must not lead out of the checkpoint.
        let plain = Path::new(name).components().count() == 1 && !name.contains(['/', '\\']) && name != "..";
        if !plain {
            let problem = format!("weight_map names the file {name:?}, expected a plain file name in this folder");
            return Err(CheckpointError::Json { path: index_path, problem });
        }
    }
    Ok(names.into_iter().collect())
}

/// A file in a folder that is named as a shard of a checkpoint.
fn a_shard(folder: &Path) -> Option<String> {
    let files = std::fs::read_dir(folder).ok()?;
    let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with("model-") && name.ends_with(".safetensors")).min()
}
