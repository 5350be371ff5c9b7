//! The tensors of a weight file, independent of its format. Each is taken once, by name and shape, and none may remain.

mod archive;
mod npz;
mod pickle;
mod safetensors;
mod torch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hayloft_checkpoint::{MappedFile, map_file};
use hayloft_runtime::other_file;
use tch::{Kind, Tensor};

use self::archive::Archive;
pub(super) use self::pickle::Scalar;
use crate::error::SaeError;

/// A memory-mapped weight file.
#[derive(Debug)]
pub(super) struct TensorFile {
    path: PathBuf,
    map: MappedFile,
    entries: BTreeMap<String, Entry>,
}

/// An entry of a weight file.
#[derive(Debug, Clone)]
enum Entry {
    Tensor {
        kind: Type,
        shape: Vec<usize>,
        order: Order,
        place: Place,
    },
    /// A number or string stored beside the tensors of a `PyTorch` dictionary.
    Scalar(Scalar),
}

/// The dtype of a tensor's elements.
#[derive(Debug, Clone, PartialEq)]
enum Type {
    Known(Kind),
    /// An unsupported dtype, by the file's name for it.
    Other(String),
}

/// The memory order of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Row-major.
    Rows,
    /// Column-major.
    Columns,
}

/// The location of a tensor's elements.
#[derive(Debug, Clone)]
enum Place {
    /// Bytes `start..end` of the file.
    Mapped { start: usize, end: usize },
    /// From `start` on in a decompressed buffer.
    Unpacked { bytes: Arc<[u8]>, start: usize },
}

impl Place {
    fn bytes(&self) -> usize {
        match self {
            Self::Mapped { start, end } => end - start,
            Self::Unpacked { bytes, start } => bytes.len() - start,
        }
    }
}

impl TensorFile {
    /// Maps a file and parses its index. The format is detected from the first bytes.
    pub(super) fn open(path: &Path) -> Result<Self, SaeError> {
        let map = map_file(path).map_err(|cause| SaeError::Io { path: path.to_path_buf(), cause })?;
        let entries = if Archive::is_one(&map) {
            let names = Archive::open(&map).map(|archive| archive.names());
            names.and_then(|names| if torch::is_one(&names) { torch::entries(&map) } else { npz::entries(&map) })
        } else if is_old_torch(&map) {
            Err("a file of PyTorch before 1.6, which is one long pickle; load it there and save it again".to_owned())
        } else {
            safetensors::entries(&map)
        };
        let entries = entries.map_err(|problem| {
            // What it is said to be counts: archives are weights as well.
            let other = other_file(&map).filter(|_| !Archive::is_one(&map));
            let problem = match other {
                Some(what) => format!("it is {what}"),
                None if is_old_torch(&map) => problem,
                None => format!("{problem}. Copy the file again from its source"),
            };
            SaeError::Weights { path: path.to_path_buf(), bytes: map.len(), problem }
        })?;
        Ok(Self { path: path.to_path_buf(), map, entries })
    }

    /// The path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// BLAKE3 hash of the file in hexadecimal, computed on all cores.
    pub(super) fn blake3(&self) -> String {
        blake3::Hasher::new().update_rayon(&self.map).finalize().to_hex().to_string()
    }

    /// Size in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// Whether the file has an entry of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The names of all entries.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The shape of a matrix. Files without a configuration are described by it.
    pub(super) fn matrix(&self, name: &str) -> Result<[usize; 2], SaeError> {
        match self.entries.get(name) {
            Some(Entry::Tensor { shape, .. }) => shape[..].try_into().map_err(|_| SaeError::Shape {
                path: self.path.clone(),
                name: name.to_owned(),
                expected: vec![0, 0],
                got: shape.clone(),
            }),
            _ => Err(self.missing(name, &[])),
        }
    }

    /// The dtypes of the tensors, without duplicates, by the file's names.
    pub(super) fn types(&self) -> Vec<String> {
        let mut types: Vec<String> = Vec::new();
        for entry in self.entries.values() {
            let Entry::Tensor { kind, .. } = entry else { continue };
            let name = match kind {
                Type::Known(kind) => format!("{kind:?}").to_lowercase(),
                Type::Other(name) => name.clone(),
            };
            if !types.contains(&name) {
                types.push(name);
            }
        }
        types
    }

    /// Returns a `Taker`, which hands out each entry at most once.
    pub(super) fn take(&self) -> Taker<'_> {
        Taker { file: self, left: self.entries.clone() }
    }

    fn missing(&self, name: &str, shape: &[usize]) -> SaeError {
        SaeError::MissingTensor {
            path: self.path.clone(),
            name: name.to_owned(),
            expected: shape.to_vec(),
            held: self.names().collect::<Vec<_>>().join(", "),
        }
    }
}

/// Whether a file starts with the pickled magic number of the legacy `torch.save` format.
fn is_old_torch(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")
}

/// Hands out the entries of a file and tracks those not taken.
pub(super) struct Taker<'file> {
    file: &'file TensorFile,
    left: BTreeMap<String, Entry>,
}

impl Taker<'_> {
    /// Takes a required tensor, as float32 on the CPU.
    pub(super) fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, SaeError> {
        self.optional(name, shape)?.ok_or_else(|| self.file.missing(name, shape))
    }

    /// Takes a required matrix and transposes it. `shape` is the shape in the file.
    pub(super) fn turned(&mut self, name: &str, shape: [usize; 2]) -> Result<Tensor, SaeError> {
        Ok(self.tensor(name, &shape)?.f_tr()?.f_contiguous()?)
    }

    /// Takes an optional tensor, as float32 on the CPU.
    pub(super) fn optional(&mut self, name: &str, shape: &[usize]) -> Result<Option<Tensor>, SaeError> {
        let Some(entry) = self.left.remove(name) else { return Ok(None) };
        let (path, name) = (self.file.path.clone(), name.to_owned());
        let (kind, got, order, place) = match entry {
            Entry::Tensor { kind: Type::Known(kind), shape, order, place }
                if kind != Kind::Int64 && kind != Kind::Int =>
            {
                (kind, shape, order, place)
            }
            Entry::Tensor { kind: Type::Known(kind), .. } => {
                let got = if kind == Kind::Int64 { "I64" } else { "I32" }.to_owned();
                return Err(SaeError::TensorType { path, name, got });
            }
            Entry::Tensor { kind: Type::Other(got), .. } => return Err(SaeError::TensorType { path, name, got }),
            Entry::Scalar(scalar) => return Err(SaeError::TensorType { path, name, got: scalar.to_string() }),
        };
        if got != shape {
            return Err(SaeError::Shape { path, name, expected: shape.to_vec(), got });
        }
        let stored = self.stored(&path, kind, shape, order, &place)?.f_to_kind(Kind::Float)?;
        let finite = stored.f_isfinite()?.f_sum(Kind::Int64)?.f_int64_value(&[])?;
        let count = stored.numel() as i64 - finite;
        if count > 0 { Err(SaeError::NonFinite { path, name, count }) } else { Ok(Some(stored)) }
    }

    /// Takes an optional tensor, which is an offset that is not computed here: all of it must be zero.
    pub(super) fn all_zeros(&mut self, name: &str, shape: &[usize]) -> Result<(), SaeError> {
        let Some(tensor) = self.optional(name, shape)? else { return Ok(()) };
        let largest = tensor.f_abs()?.f_max()?.f_double_value(&[])?;
        if largest > 0.0 {
            let (path, field) = (self.file.path.clone(), name.to_owned());
            let expected = "zeros: what it adds is not computed here".to_owned();
            return Err(SaeError::Field { path, field, expected, got: format!("values up to {largest}") });
        }
        Ok(())
    }

    /// Takes an optional number: a zero-dimensional tensor, or a scalar beside the tensors.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<f64>, SaeError> {
        let Some(entry) = self.left.remove(name) else { return Ok(None) };
        let (path, name) = (self.file.path.clone(), name.to_owned());
        match entry {
            Entry::Scalar(Scalar::Integer(number)) => Ok(Some(number as f64)),
            Entry::Scalar(Scalar::Number(number)) => Ok(Some(number)),
            Entry::Scalar(other) => Err(SaeError::TensorType { path, name, got: other.to_string() }),
            Entry::Tensor { kind: Type::Other(got), .. } => Err(SaeError::TensorType { path, name, got }),
            Entry::Tensor { shape, .. } if shape.iter().product::<usize>() != 1 => {
                Err(SaeError::Shape { path, name, expected: Vec::new(), got: shape })
            }
            Entry::Tensor { kind: Type::Known(kind), order, place, .. } => {
                let number = self.stored(&path, kind, &[1], order, &place)?.f_double_value(&[0])?;
                if number.is_finite() { Ok(Some(number)) } else { Err(SaeError::NonFinite { path, name, count: 1 }) }
            }
        }
    }

    /// Checks that an optional number matches the configuration.
    pub(super) fn check_number(&mut self, name: &str, expected: f64) -> Result<(), SaeError> {
        match self.number(name)? {
            Some(got) if (got - expected).abs() > 0.0 => {
                let (path, name) = (self.file.path.clone(), name.to_owned());
                Err(SaeError::Contradiction { path, name, expected: expected.to_string(), got: got.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// The error for a missing number.
    pub(super) fn absent(&self, name: &str) -> SaeError {
        self.file.missing(name, &[])
    }

    /// The error for a configuration that no parser produces.
    pub(super) fn contradiction(&self, name: &str) -> SaeError {
        let (path, name) = (self.file.path.clone(), name.to_owned());
        SaeError::Contradiction {
            path,
            name,
            expected: "what the architecture has".to_owned(),
            got: "nothing".to_owned(),
        }
    }

    /// Takes an optional string stored beside the tensors.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, SaeError> {
        match self.left.remove(name) {
            None => Ok(None),
            Some(Entry::Scalar(Scalar::Text(text))) => Ok(Some(text.to_string())),
            Some(_) => {
                let (path, name) = (self.file.path.clone(), name.to_owned());
                Err(SaeError::TensorType { path, name, got: "something that is no text".to_owned() })
            }
        }
    }

    /// Discards entries that concern training only.
    pub(super) fn pass_over(&mut self, names: &[&str]) {
        for name in names {
            self.left.remove(*name);
        }
    }

    /// Checks that no entry remains; one that does means that the configuration does not describe these weights.
    pub(super) fn finish(mut self, architecture: &'static str) -> Result<(), SaeError> {
        match self.left.pop_first() {
            None => Ok(()),
            Some((name, _)) => Err(SaeError::UntakenTensor { path: self.file.path.clone(), name, architecture }),
        }
    }

    /// Returns a tensor in its stored dtype.
    fn stored(
        &self,
        path: &Path,
        kind: Kind,
        shape: &[usize],
        order: Order,
        place: &Place,
    ) -> Result<Tensor, SaeError> {
        let bytes = match place {
            Place::Mapped { start, end } => {
                let part = self.file.map.part(*start..*end);
                part.map_err(|cause| SaeError::Io { path: path.to_path_buf(), cause })?
            }
            Place::Unpacked { bytes, start } => &bytes[*start..],
        };
        let sizes: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
        if order == Order::Rows {
            return Ok(Tensor::f_from_data_size(bytes, &sizes, kind)?);
        }
        let turned: Vec<i64> = sizes.iter().rev().copied().collect();
        let dimensions: Vec<i64> = (0..sizes.len() as i64).rev().collect();
        Ok(Tensor::f_from_data_size(bytes, &turned, kind)?.f_permute(&dimensions)?.f_contiguous()?)
    }
}
