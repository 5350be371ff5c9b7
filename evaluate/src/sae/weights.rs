//! A mapped safetensors file from which each tensor is taken once, by name and shape.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hayloft_model::{MappedFile, map_file};
use safetensors::tensor::{Dtype, SafeTensors};
use tch::{Kind, Tensor};

use super::SaeError;

/// The weights of an SAE, mapped but not read.
#[derive(Debug)]
pub(super) struct WeightFile {
    path: PathBuf,
    map: MappedFile,
    /// Tensor name → where it lies.
    places: BTreeMap<String, Place>,
}

/// Bytes `start..end` of the file.
#[derive(Debug, Clone)]
struct Place {
    kind: Kind,
    shape: Vec<usize>,
    start: usize,
    end: usize,
}

impl WeightFile {
    /// Maps a file and checks its header: sizes are bounded by the file before anything is allocated.
    pub(super) fn open(path: &Path) -> Result<Self, SaeError> {
        let map = map_file(path).map_err(|cause| SaeError::Io { path: path.to_path_buf(), cause })?;
        let parsed = SafeTensors::deserialize(&map).map_err(|error| SaeError::Weights {
            path: path.to_path_buf(),
            bytes: map.len(),
            problem: error.to_string(),
        })?;
        let mut places = BTreeMap::new();
        for (name, view) in parsed.iter() {
            let kind = match view.dtype() {
                Dtype::F32 => Kind::Float,
                Dtype::F64 => Kind::Double,
                Dtype::F16 => Kind::Half,
                Dtype::BF16 => Kind::BFloat16,
                other => {
                    let (path, name) = (path.to_path_buf(), name.to_owned());
                    return Err(SaeError::TensorType { path, name, got: format!("{other:?}") });
                }
            };
            let start = view.data().as_ptr().addr() - map.as_ptr().addr();
            let place = Place { kind, shape: view.shape().to_vec(), start, end: start + view.data().len() };
            places.insert(name.to_owned(), place);
        }
        Ok(Self { path: path.to_path_buf(), map, places })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// BLAKE3 of the whole file, hexadecimal, computed on all cores.
    pub(super) fn blake3(&self) -> String {
        blake3::Hasher::new().update_rayon(&self.map).finalize().to_hex().to_string()
    }

    /// Its size.
    pub(super) fn bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// Starts taking tensors, each at most once.
    pub(super) fn take(&self) -> Taker<'_> {
        Taker { file: self, left: self.places.clone() }
    }
}

/// Takes tensors out of a file and knows in the end which nobody took.
pub(super) struct Taker<'file> {
    file: &'file WeightFile,
    left: BTreeMap<String, Place>,
}

impl Taker<'_> {
    /// A tensor that must be there, as float32 on the CPU.
    pub(super) fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, SaeError> {
        self.optional(name, shape)?.ok_or_else(|| SaeError::MissingTensor {
            path: self.file.path.clone(),
            name: name.to_owned(),
            expected: shape.to_vec(),
            held: self.file.places.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        })
    }

    /// A tensor that may be there, as float32 on the CPU.
    pub(super) fn optional(&mut self, name: &str, shape: &[usize]) -> Result<Option<Tensor>, SaeError> {
        let Some(Place { kind, shape: got, start, end }) = self.left.remove(name) else { return Ok(None) };
        let (path, name) = (self.file.path.clone(), name.to_owned());
        if got != shape {
            return Err(SaeError::Shape { path, name, expected: shape.to_vec(), got });
        }
        let sizes: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
        let bytes = self.file.map.part(start..end).map_err(|cause| SaeError::Io { path: path.clone(), cause })?;
        let stored = Tensor::f_from_data_size(bytes, &sizes, kind)?.f_to_kind(Kind::Float)?;
        let finite = stored.f_isfinite()?.f_sum(Kind::Int64)?.f_int64_value(&[])?;
        let count = stored.numel() as i64 - finite;
        if count > 0 { Err(SaeError::NonFinite { path, name, count }) } else { Ok(Some(stored)) }
    }

    /// Ends the taking: a tensor that is left means that the configuration does not describe these weights.
    pub(super) fn finish(mut self, architecture: &'static str) -> Result<(), SaeError> {
        match self.left.pop_first() {
            None => Ok(()),
            Some((name, _)) => Err(SaeError::UntakenTensor { path: self.file.path.clone(), name, architecture }),
        }
    }
}
