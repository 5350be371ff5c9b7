//! An SAE's files: what they say understood, the weights mapped but not read.

use std::path::{Path, PathBuf};
use std::sync::Once;

use hayloft_runtime::{Dtype, FileHash};
use serde_json::Value;
use tch::Device;

use crate::config::{Conventions, Role, SaeConfig};
use crate::error::SaeError;
use crate::formats::{self, Opened, SaeFormat};
use crate::forward::Sae;
use crate::normalisation::Normalisation;
use crate::tensors::SaeTensors;

/// An SAE on disk, in whatever format.
#[derive(Debug)]
pub struct SaeFile {
    /// As it was named.
    path: PathBuf,
    format: SaeFormat,
    opened: Opened,
    /// What is to be said of the weights was said.
    told: Once,
}

impl SaeFile {
    /// Opens an SAE's folder, or its one file, and reads its configuration whole. The format is told from the files.
    pub fn open(path: &Path) -> Result<Self, SaeError> {
        Self::open_as(path, None)
    }

    /// The same where the user may say the format.
    pub fn open_as(path: &Path, format: Option<SaeFormat>) -> Result<Self, SaeError> {
        let (format, opened) = formats::open(path, format)?;
        Ok(Self { path: path.to_path_buf(), format, opened, told: Once::new() })
    }

    /// Copies the weights to a device, in float32, in the one form that the forward pass knows.
    pub fn load(&self, device: Device) -> Result<Sae, SaeError> {
        self.load_computing_in(device, Dtype::F32)
    }

    /// The same, with the encoder's products computed in a precision.
    pub fn load_computing_in(&self, device: Device, precision: Dtype) -> Result<Sae, SaeError> {
        Sae::new(self.parts()?, device, precision)
    }

    /// The weights as the file has them, in float32. Says once what of them is not what it seems.
    pub fn parts(&self) -> Result<SaeTensors, SaeError> {
        let parts = self.format.take(&self.opened)?;
        if let Some(remark) = parts.own.remark()? {
            self.told.call_once(|| tracing::warn!("{}: {remark}", self.path.display()));
        }
        Ok(parts)
    }

    /// The whole of the configuration; null where the format has none.
    pub fn raw_config(&self) -> &Value {
        &self.opened.raw_config
    }

    /// What the files say.
    pub(crate) fn config(&self) -> &SaeConfig {
        &self.opened.config
    }

    /// The format.
    pub fn format(&self) -> SaeFormat {
        self.format
    }

    /// The folder or file as it was named.
    pub fn folder(&self) -> &Path {
        &self.path
    }

    /// Width of the activations that it takes.
    pub fn d_model(&self) -> usize {
        self.config().d_in
    }

    /// Width of its reconstructions.
    pub fn d_out(&self) -> usize {
        self.config().d_out
    }

    /// Number of latents.
    pub fn width(&self) -> usize {
        self.config().d_sae
    }

    /// The architecture, by SAELens's name.
    pub fn architecture(&self) -> &'static str {
        self.config().kind()
    }

    /// Whether it reconstructs another site than it takes.
    pub fn is_transcoder(&self) -> bool {
        self.config().role != Role::Autoencoder
    }

    /// What it wants done to its input.
    pub fn normalisation(&self) -> Normalisation {
        self.config().normalisation
    }

    /// The site that it says it was trained on, as text: it may be one that no cache has.
    pub fn site(&self) -> Option<&str> {
        self.config().site.as_deref()
    }

    /// The site that it reconstructs, where that is another: of a transcoder.
    pub fn output_site(&self) -> Option<&str> {
        self.config().output_site.as_deref()
    }

    /// The model that it says it was trained on.
    pub fn model_name(&self) -> Option<&str> {
        self.config().model_name.as_deref()
    }

    /// What it says of its training where it was trained here: `metadata.hayloft` of its `cfg.json`.
    pub fn training_record(&self) -> Option<&Value> {
        self.raw_config().pointer("/metadata/hayloft").filter(|_| self.format == SaeFormat::Saelens)
    }

    /// What its files say of how activations were made.
    pub fn conventions(&self) -> &Conventions {
        &self.config().conventions
    }

    /// The types of the tensors in the file, each once.
    pub fn types(&self) -> Vec<String> {
        self.opened.weights.types()
    }

    /// Hashes of the files that it was read from. Reads the weights once, on all cores.
    pub fn hashes(&self) -> Vec<FileHash> {
        let config = self.opened.config_file.iter().map(|(name, bytes)| FileHash {
            file: (*name).to_owned(),
            bytes: bytes.len() as u64,
            blake3: blake3::hash(bytes).to_hex().to_string(),
        });
        let weights = FileHash {
            file: self.opened.weights_file.clone(),
            bytes: self.opened.weights.bytes(),
            blake3: self.opened.weights.blake3(),
        };
        config.chain([weights]).collect()
    }
}
