//! Code that several tests share: the location of the fixtures, and functions that read them.

pub mod conversations;
pub mod program;
#[path = "../../store/tests/remote/server.rs"]
pub mod server;
pub mod stories;

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use tch::{Kind, Tensor};

/// A file or folder under `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// Copies a folder recursively.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}

/// Tensors of a golden file.
pub struct Golden {
    bytes: Vec<u8>,
}

impl Golden {
    pub fn open(path: &Path) -> Self {
        Self { bytes: std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())) }
    }

    /// A tensor by name; panics if it is absent.
    pub fn tensor(&self, name: &str) -> Tensor {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let kind = match view.dtype() {
            safetensors::Dtype::F32 => Kind::Float,
            safetensors::Dtype::I64 => Kind::Int64,
            other => panic!("{name}: unexpected type {other:?}"),
        };
        let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
        Tensor::from_data_size(view.data(), &shape, kind)
    }
}

/// The largest absolute difference between two tensors.
pub fn max_difference(left: &Tensor, right: &Tensor) -> f64 {
    assert_eq!(left.size(), right.size());
    let difference = left.to_kind(Kind::Double) - right.to_kind(Kind::Double);
    difference.abs().max().double_value(&[])
}

/// Asserts that two caches hold the same files with the same bytes, except the lock.
pub fn assert_same_files(left: &Path, right: &Path) {
    let (left_files, right_files) = (files(left), files(right));
    assert!(left_files.iter().any(|file| file.ends_with("manifest.json")), "{left_files:?}");
    assert_eq!(left_files, right_files, "{} and {} hold different files", left.display(), right.display());
    for file in left_files {
        let same = std::fs::read(left.join(&file)).unwrap() == std::fs::read(right.join(&file)).unwrap();
        assert!(same, "{} differs between {} and {}", file.display(), left.display(), right.display());
    }
}

/// Files below a folder, sorted, relative to it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().is_some_and(|name| name != ".lock") {
                found.push(path.strip_prefix(folder).unwrap().to_path_buf());
            }
        }
    }
    found.sort();
    found
}
