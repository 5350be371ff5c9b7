//! Memory-mapped safetensors files, checked in full against the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hayloft_runtime::{Dtype, other_file};
use safetensors::tensor::{self, SafeTensors};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use super::in_place;
use super::layout::expected_tensors;
use super::tensor_names::{self, canonical, is_set_aside};
use crate::compute::kind::kind;
use crate::error::{ModelError, read_json};
use crate::spec::{DecoderSpec, HeadWeights};
use crate::weights::map::{MappedFile, map_file};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The weights of a checkpoint, mapped but not read.
#[derive(Debug)]
pub(crate) struct WeightFiles {
    folder: PathBuf,
    files: Vec<WeightFile>,
    /// Tensor name → location.
    tensors: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct WeightFile {
    name: String,
    map: MappedFile,
}

/// Location of a tensor: bytes `start..end` of file `file`.
#[derive(Debug)]
struct Entry {
    file: usize,
    kind: Kind,
    shape: Vec<usize>,
    start: usize,
    end: usize,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl WeightFiles {
    /// Maps the weights of a checkpoint and checks that they hold every tensor of `spec`, in its shape, and no other.
    pub(crate) fn open(folder: &Path, spec: &DecoderSpec) -> Result<Self, ModelError> {
        let mut weights = Self { folder: folder.to_path_buf(), files: Vec::new(), tensors: BTreeMap::new() };
        for name in file_names(folder)? {
            weights.add(name, spec)?;
        }
        weights.check(spec)?;
        Ok(weights)
    }

    /// Names of the weight files, sorted.
    pub(crate) fn file_names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str())
    }

    /// The stored type of a tensor.
    pub(crate) fn precision(&self, name: &str) -> Option<Dtype> {
        self.tensors.get(name).map(|entry| match entry.kind {
            Kind::BFloat16 => Dtype::Bf16,
            Kind::Half => Dtype::F16,
            _ => Dtype::F32,
        })
    }

    /// Copies a tensor to a device, in the given precision.
    pub(crate) fn load(&self, name: &str, precision: Dtype, device: Device) -> Result<Tensor, ModelError> {
        let Some(entry) = self.tensors.get(name) else { return Err(self.missing(name, &[])) };
        let shape: Vec<i64> = entry.shape.iter().map(|&size| size as i64).collect();
        let stored = Tensor::f_from_data_size(self.bytes(entry)?, &shape, entry.kind)?;
        Ok(stored.f_to_device(device)?.f_to_kind(kind(precision))?)
    }

    /// The file with an unembedding that the configuration calls tied but whose values differ from the embedding.
    ///
    /// As in transformers, tensors are tied only if they are equal or one of them is absent.
    pub(crate) fn untied_head(&self, spec: &DecoderSpec) -> Result<Option<PathBuf>, ModelError> {
        let outer = tensor_names::of(spec.layout);
        let stored = (self.tensors.get(outer.head), self.tensors.get(outer.embedding));
        let (HeadWeights::Tied, (Some(head), Some(embedding))) = (spec.head, stored) else { return Ok(None) };
        let path = self.path(head.file);
        if head.shape != embedding.shape {
            let (got, expected) = (head.shape.clone(), embedding.shape.clone());
            return Err(ModelError::Shape { path, name: outer.head.to_owned(), got, expected });
        }
        let same = if head.kind == embedding.kind {
            self.bytes(head)? == self.bytes(embedding)?
        } else {
            let wide = |name| self.load(name, Dtype::F32, Device::Cpu);
            wide(outer.head)?.f_equal(&wide(outer.embedding)?)?
        };
        Ok((!same).then_some(path))
    }

    fn bytes(&self, entry: &Entry) -> Result<&[u8], ModelError> {
        let bytes = self.files[entry.file].map.part(entry.start..entry.end);
        bytes.map_err(|source| ModelError::io(&self.path(entry.file), source))
    }

    fn path(&self, file: usize) -> PathBuf {
        self.folder.join(&self.files[file].name)
    }

    fn missing(&self, name: &str, shape: &[usize]) -> ModelError {
        ModelError::MissingTensor { folder: self.folder.clone(), name: name.to_owned(), shape: shape.to_vec() }
    }

    /// Maps one file and records the locations of its tensors.
    fn add(&mut self, name: String, spec: &DecoderSpec) -> Result<(), ModelError> {
        let path = self.folder.join(&name);
        let map = map_file(&path).map_err(|source| ModelError::io(&path, source))?;
        let damaged = |problem: String| ModelError::Weights { path: path.clone(), problem };
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
            let kind = match view.dtype() {
                tensor::Dtype::F32 => Kind::Float,
                tensor::Dtype::BF16 => Kind::BFloat16,
                tensor::Dtype::F16 => Kind::Half,
                other => {
                    let got = other.to_string();
                    return Err(ModelError::TensorType { path: path.clone(), name: tensor.to_owned(), got });
                }
            };
            let start = view.data().as_ptr().addr() - map.as_ptr().addr();
            let entry = Entry { file, kind, shape: view.shape().to_vec(), start, end: start + view.data().len() };
            if self.tensors.insert(canonical(tensor, spec.layout), entry).is_some() {
                let advice = "Is one of the two of an earlier save?";
                return Err(damaged(format!("tensor {tensor} lies in another file of the checkpoint too. {advice}")));
            }
        }
        self.files.push(WeightFile { name, map });
        Ok(())
    }

    fn check(&self, spec: &DecoderSpec) -> Result<(), ModelError> {
        let expected = expected_tensors(spec);
        // Some tools write the embedding again for a tied head; `untied_head` checks that it is the same.
        let copied = (spec.head == HeadWeights::Tied).then_some(tensor_names::of(spec.layout).head);
        let untaken = self.tensors.keys().filter(|name| !expected.contains_key(*name) && copied != Some(name.as_str()));
        let untaken: Vec<&String> = untaken.collect();
        if let Some(first) = untaken.first() {
            let path = self.path(self.tensors[*first].file);
            return Err(ModelError::UntakenTensor { path, name: (*first).clone(), count: untaken.len() });
        }
        for (name, shape) in expected {
            let entry = self.tensors.get(&name).ok_or_else(|| self.missing(&name, &shape))?;
            if entry.shape != shape {
                let path = self.path(entry.file);
                return Err(ModelError::Shape { path, name, got: entry.shape.clone(), expected: shape });
            }
        }
        Ok(())
    }
}

/// The weight files of a folder: the single file, or those of the index.
fn file_names(folder: &Path) -> Result<Vec<String>, ModelError> {
    let index_path = folder.join(INDEX);
    if folder.join(SINGLE).is_file() {
        return Ok(vec![SINGLE.to_owned()]);
    }
    if !index_path.is_file() {
        let folder = folder.to_path_buf();
        return Err(match a_shard(&folder) {
            Some(shard) => ModelError::NoIndex { folder, shard },
            None => ModelError::NoWeights { found: in_place::of_weights(&folder), folder },
        });
    }
    let index: Index = read_json(&index_path)?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    for name in &names {
        // A hostile index must not lead out of the checkpoint.
        let plain = Path::new(name).components().count() == 1 && !name.contains(['/', '\\']) && name != "..";
        if !plain {
            let problem = format!("weight_map names the file {name:?}, expected a plain file name in this folder");
            return Err(ModelError::Json { path: index_path, problem });
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
