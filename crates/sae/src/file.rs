//! An SAE on disk: the parsed configuration and the memory-mapped weights.

use std::path::{Path, PathBuf};
use std::sync::Once;

use hayloft_runtime::{Dtype, FileHash};
use serde_json::Value;
use tch::Device;

use crate::config::{Conventions, Role, SaeConfig};
use crate::error::SaeError;
use crate::formats::{self, Files, Opened, SaeFormat, SaeOptions};
use crate::forward::Sae;
use crate::normalisation::Normalisation;
use crate::tensors::SaeTensors;

/// An SAE on disk, in any supported format.
#[derive(Debug)]
pub struct SaeFile {
    /// The path as given by the caller.
    path: PathBuf,
    format: SaeFormat,
    files: Files,
    opened: Opened,
    /// Set once the remarks have been logged.
    warned: Once,
}

impl SaeFile {
    /// Opens an SAE's folder or single file and parses its configuration. The format is detected from the files.
    pub fn open(path: &Path) -> Result<Self, SaeError> {
        Self::open_with(path, &SaeOptions::default())
    }

    /// Like `Self::open`, with what the user says that the files do not say. What the files contradict is an error.
    pub fn open_with(path: &Path, options: &SaeOptions) -> Result<Self, SaeError> {
        let (format, files, opened) = formats::open(path, options)?;
        Ok(Self { path: path.to_path_buf(), format, files, opened, warned: Once::new() })
    }

    /// Loads the weights onto a device in float32, in the normalised form that the forward pass uses.
    pub fn load(&self, device: Device) -> Result<Sae, SaeError> {
        self.load_computing_in(device, Dtype::F32)
    }

    /// Like `Self::load`, with the encoder's matrix products in `precision`.
    pub fn load_computing_in(&self, device: Device, precision: Dtype) -> Result<Sae, SaeError> {
        Sae::new(self.tensors()?, device, precision)
    }

    /// Reads the weights as stored, converted to float32. Logs remarks on unusual files once.
    pub fn tensors(&self) -> Result<SaeTensors, SaeError> {
        let tensors = self.format.take(&self.opened)?;
        let remarks = self.remarks(&tensors)?;
        self.warned.call_once(|| {
            for remark in remarks {
                tracing::warn!("{}: {remark}", self.path.display());
            }
        });
        Ok(tensors)
    }

    /// What a user should know of the configuration and the weights.
    pub(crate) fn remarks(&self, tensors: &SaeTensors) -> Result<Vec<String>, SaeError> {
        Ok(self.config().remarks.iter().cloned().chain(tensors.own.remark()?).collect())
    }

    /// The full configuration; null if the format has none.
    pub fn raw_config(&self) -> &Value {
        &self.opened.raw_config
    }

    /// The parsed configuration.
    pub(crate) fn config(&self) -> &SaeConfig {
        &self.opened.config
    }

    /// The format.
    pub fn format(&self) -> SaeFormat {
        self.format
    }

    /// The folder or file as given by the caller.
    pub fn folder(&self) -> &Path {
        &self.path
    }

    /// Width of the input activations.
    pub fn d_model(&self) -> usize {
        self.config().d_in
    }

    /// Width of the reconstructions.
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

    /// Whether the SAE reconstructs a different site from its input.
    pub fn is_transcoder(&self) -> bool {
        self.config().role != Role::Autoencoder
    }

    /// The normalisation applied to the input.
    pub fn normalisation(&self) -> Normalisation {
        self.config().normalisation
    }

    /// The training site in the configuration. It is unparsed, so it may be a site that no cache holds.
    pub fn site(&self) -> Option<&str> {
        self.config().site.as_deref()
    }

    /// The site that a transcoder reconstructs.
    pub fn output_site(&self) -> Option<&str> {
        self.config().output_site.as_deref()
    }

    /// The model named in the configuration.
    pub fn model_name(&self) -> Option<&str> {
        self.config().model_name.as_deref()
    }

    /// Hayloft's training record, `metadata.hayloft` of `cfg.json`, if Hayloft trained the SAE.
    pub fn training_record(&self) -> Option<&Value> {
        self.raw_config().pointer("/metadata/hayloft").filter(|_| self.format == SaeFormat::SAELENS)
    }

    /// How the training activations were produced, according to the files.
    pub fn conventions(&self) -> &Conventions {
        &self.config().conventions
    }

    /// The dtypes of the stored tensors, without duplicates.
    pub fn types(&self) -> Vec<String> {
        self.opened.weights.types()
    }

    /// Hashes of the SAE's files. Reads the weights once, using all cores.
    pub fn hashes(&self) -> Vec<FileHash> {
        self.files.hashes(&self.opened.weights)
    }
}
