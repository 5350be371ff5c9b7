//! SAELens's native layout: a folder with `cfg.json` and `sae_weights.safetensors`.
//!
//! `sparsity.safetensors` and whatever else lies in the folder is training history and never opened.

mod config;
mod fields;
mod flat;
mod load;
mod nested;
mod parts;
mod place;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use hayloft_model::Precision;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::Device;

use self::config::SaeConfig;
pub(crate) use self::config::{InputBias, Ranking};
pub(crate) use self::parts::{Own, Parts};
use super::weights::WeightFile;
use super::{Normalisation, Sae, SaeError};

const CONFIG: &str = "cfg.json";
const WEIGHTS: &str = "sae_weights.safetensors";

/// More than any configuration needs.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// Name, size and hash of one of an SAE's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaeFileHash {
    /// Name within the SAE's folder.
    pub file: String,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3, hexadecimal.
    pub blake3: String,
}

/// What an SAE's configuration says of how its activations were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conventions {
    /// The model's writing weights were centred.
    pub center_writing_weights: bool,
}

/// An SAE's folder: its configuration understood, its weights mapped but not read.
#[derive(Debug)]
pub struct SaeFile {
    folder: PathBuf,
    config: SaeConfig,
    raw_config: Value,
    config_hash: SaeFileHash,
    weights: WeightFile,
}

impl SaeFile {
    /// Opens a folder, and reads its configuration whole.
    pub fn open(folder: &Path) -> Result<Self, SaeError> {
        let path = place::locate(folder, CONFIG)?;
        let bytes = read_bounded(&path)?;
        let (config, raw_config) = config::parse(&path, &bytes)?;
        let config_hash = SaeFileHash {
            file: CONFIG.to_owned(),
            bytes: bytes.len() as u64,
            blake3: blake3::hash(&bytes).to_hex().to_string(),
        };
        let weights = WeightFile::open(&place::locate(folder, WEIGHTS)?)?;
        Ok(Self { folder: folder.to_path_buf(), config, raw_config, config_hash, weights })
    }

    /// Copies the weights to a device, in float32, in the one form that the forward pass knows.
    pub fn load(&self, device: Device) -> Result<Sae, SaeError> {
        self.load_computing_in(device, Precision::F32)
    }

    /// The same, with the encoder's products computed in a precision.
    pub(crate) fn load_computing_in(&self, device: Device, precision: Precision) -> Result<Sae, SaeError> {
        load::load(&self.config, &self.weights, device, precision)
    }

    /// The weights as the file has them, in float32, for training on.
    pub(crate) fn parts(&self) -> Result<Parts, SaeError> {
        parts::take(&self.config, &self.weights)
    }

    /// The whole of `cfg.json`.
    pub(crate) fn raw_config(&self) -> &Value {
        &self.raw_config
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Width of the activations that it takes.
    pub fn d_model(&self) -> usize {
        self.config.d_in
    }

    /// Number of latents.
    pub fn width(&self) -> usize {
        self.config.d_sae
    }

    /// The architecture, by SAELens's name.
    pub fn architecture(&self) -> &'static str {
        self.config.architecture.as_str()
    }

    /// What it wants done to its input.
    pub fn normalisation(&self) -> Normalisation {
        self.config.normalisation
    }

    /// The site that it says it was trained on, as text: it may be one that no cache has.
    pub fn site(&self) -> Option<&str> {
        self.config.site.as_deref()
    }

    /// The site that it reconstructs, where that is another: of a transcoder.
    pub fn output_site(&self) -> Option<&str> {
        None
    }

    /// Whether it reconstructs another site than it takes.
    pub fn is_transcoder(&self) -> bool {
        false
    }

    /// Width of its reconstructions.
    pub fn d_out(&self) -> usize {
        self.config.d_in
    }

    /// What its configuration says of how activations were made.
    pub fn conventions(&self) -> Conventions {
        Conventions::default()
    }

    /// The model that it says it was trained on.
    pub fn model_name(&self) -> Option<&str> {
        self.config.model_name.as_deref()
    }

    /// Hashes of the files that it was read from. Reads the weights once, on all cores.
    pub fn hashes(&self) -> Vec<SaeFileHash> {
        let weights =
            SaeFileHash { file: WEIGHTS.to_owned(), bytes: self.weights.bytes(), blake3: self.weights.blake3() };
        vec![self.config_hash.clone(), weights]
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, SaeError> {
    let failed = |cause| SaeError::Io { path: path.to_path_buf(), cause };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        let problem = format!("more than {MAX_CONFIG_BYTES} bytes");
        return Err(SaeError::Config { path: path.to_path_buf(), problem });
    }
    Ok(bytes)
}
