//! Code that several tests share.

pub mod bench;
pub mod tiny;

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde_json::Value;
use tch::{Kind, Tensor};
use tempfile::TempDir;

/// The folder of SAEs made by SAELens, with their goldens.
pub fn sae_fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/saes")
}

/// A tensor of a safetensors file, as float32.
pub fn tensor(path: &Path, name: &str) -> Tensor {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let kind = match view.dtype() {
        safetensors::Dtype::F32 => Kind::Float,
        safetensors::Dtype::F64 => Kind::Double,
        safetensors::Dtype::BF16 => Kind::BFloat16,
        other => panic!("{name}: unexpected type {other:?}"),
    };
    let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
    Tensor::from_data_size(view.data(), &shape, kind).to_kind(Kind::Float)
}

/// The largest absolute difference between two tensors.
pub fn distance(left: &Tensor, right: &Tensor) -> f64 {
    assert_eq!(left.size(), right.size());
    (left.to_kind(Kind::Double) - right.to_kind(Kind::Double)).abs().max().double_value(&[])
}

/// A copy of a fixture that a test may corrupt.
pub struct Copy {
    folder: TempDir,
}

impl Copy {
    pub fn of(case: &str) -> Self {
        Self::of_folder(&sae_fixtures().join(case))
    }

    pub fn of_folder(sae: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["cfg.json", "sae_weights.safetensors"] {
            std::fs::copy(sae.join(name), folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn weights(&self) -> PathBuf {
        self.path().join("sae_weights.safetensors")
    }

    /// Sets a field of the configuration.
    pub fn set(&self, field: &str, value: Value) -> &Self {
        self.edit_config(|config| config[field] = value)
    }

    pub fn edit_config(&self, edit: impl FnOnce(&mut Value)) -> &Self {
        let path = self.path().join("cfg.json");
        let mut config = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        edit(&mut config);
        std::fs::write(path, config.to_string()).unwrap();
        self
    }

    /// Writes the tensors again after a change.
    pub fn edit_weights(&self, edit: impl FnOnce(&mut Vec<(String, Tensor)>)) -> &Self {
        let mut tensors = Tensor::read_safetensors(self.weights()).unwrap();
        edit(&mut tensors);
        Tensor::write_safetensors(&tensors, self.weights()).unwrap();
        self
    }
}
