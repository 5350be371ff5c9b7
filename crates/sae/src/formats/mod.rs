//! The supported SAE formats: detection, configuration and tensors.
//!
//! A format is detected from the files in the folder, never guessed from values. Each module converts a folder to
//! [`SaeConfig`] and [`SaeTensors`]. Code outside this module does not depend on the format.

mod dictionary_learning;
mod gemma_scope;
mod llama_scope;
mod llamascopium;
mod openai;
mod place;
mod saelens;
mod source;
mod sparsify;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::place::locate;
use self::source::read_bounded;
use crate::config::SaeConfig;
use crate::error::SaeError;
use crate::tensor_files::TensorFile;
use crate::tensors::SaeTensors;

/// A published SAE format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SaeFormat {
    /// SAELens: `cfg.json`, `sae_weights.safetensors`.
    Saelens,
    /// Gemma Scope: `params.npz`, without a configuration.
    GemmaScope,
    /// Gemma Scope 2: `config.json`, `params.safetensors`.
    #[serde(rename = "gemma-scope-2")]
    GemmaScope2,
    /// Llama Scope: `hyperparams.json`, `checkpoints/final.safetensors`.
    LlamaScope,
    /// `dictionary_learning`: `config.json`, `ae.pt`.
    DictionaryLearning,
    /// sparsify: `cfg.json`, `sae.safetensors`.
    Sparsify,
    /// `OpenAI`: a single `PyTorch` file.
    Openai,
    /// llamascopium (lm-saes): `config.json`, `sae_weights.safetensors`.
    Llamascopium,
}

/// An opened SAE, before its weights are read.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) config: SaeConfig,
    /// The full configuration; null if the format has none.
    pub(super) raw_config: Value,
    /// Name and bytes of the configuration file, if the format has one.
    pub(super) config_file: Option<(&'static str, Vec<u8>)>,
    /// Path relative to the folder.
    pub(super) weights_file: String,
    pub(super) weights: TensorFile,
}

impl SaeFormat {
    const ALL: [Self; 8] = [
        Self::Saelens,
        Self::GemmaScope,
        Self::GemmaScope2,
        Self::LlamaScope,
        Self::DictionaryLearning,
        Self::Sparsify,
        Self::Openai,
        Self::Llamascopium,
    ];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Saelens => "saelens",
            Self::GemmaScope => "gemma-scope",
            Self::GemmaScope2 => "gemma-scope-2",
            Self::LlamaScope => "llama-scope",
            Self::DictionaryLearning => "dictionary-learning",
            Self::Sparsify => "sparsify",
            Self::Openai => "openai",
            Self::Llamascopium => "llamascopium",
        }
    }

    /// The weight file, and the configuration file if the format has one.
    fn files(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Saelens => ("sae_weights.safetensors", Some("cfg.json")),
            Self::GemmaScope => ("params.npz", None),
            Self::GemmaScope2 => ("params.safetensors", Some("config.json")),
            Self::LlamaScope => ("checkpoints/final.safetensors", Some("hyperparams.json")),
            Self::DictionaryLearning => ("ae.pt", Some("config.json")),
            Self::Sparsify => ("sae.safetensors", Some("cfg.json")),
            Self::Openai => ("autoencoder.pt", None),
            Self::Llamascopium => ("sae_weights.safetensors", Some("config.json")),
        }
    }

    /// Detects the format of a folder.
    fn of(folder: &Path) -> Result<Self, SaeError> {
        let has = |name: &str| folder.join(name).exists();
        let fits = |format: &Self| {
            let (weights, config) = format.files();
            has(weights) && config.is_none_or(has)
        };
        let fitting: Vec<Self> = Self::ALL.into_iter().filter(fits).collect();
        match fitting[..] {
            [format] => Ok(format),
            // Treat an incomplete SAELens folder as SAELens, so that the error names the missing file.
            [] if has("cfg.json") || has("sae_weights.safetensors") => Ok(Self::Saelens),
            [] => Err(SaeError::NoFormat { folder: folder.to_path_buf() }),
            [first, second, ..] => Err(SaeError::TwoFormats {
                folder: folder.to_path_buf(),
                first: first.as_str(),
                second: second.as_str(),
            }),
        }
    }

    /// Parses a folder's configuration and maps its weights.
    fn open(self, folder: &Path, weights_file: &str) -> Result<Opened, SaeError> {
        let (_, config_file) = self.files();
        let config_path = config_file.map(|name| locate(folder, name)).transpose()?;
        let bytes = config_path.as_deref().map(read_bounded).transpose()?.unwrap_or_default();
        let weights = || TensorFile::open(&locate(folder, weights_file)?);
        let path = config_path.as_deref().unwrap_or(folder);
        let (config, raw_config, weights) = match self {
            // Parse the configuration first: its errors are more specific than those of the weights.
            Self::Saelens => {
                let (config, raw) = saelens::parse(path, &bytes)?;
                (config, raw, weights()?)
            }
            Self::GemmaScope => {
                let weights = weights()?;
                (gemma_scope::describe(folder, &weights)?, Value::Null, weights)
            }
            Self::GemmaScope2 => {
                let weights = weights()?;
                let (config, raw) = gemma_scope::parse(path, &bytes, folder, &weights)?;
                (config, raw, weights)
            }
            Self::LlamaScope => {
                let (config, raw) = llama_scope::parse(path, &bytes)?;
                (config, raw, weights()?)
            }
            Self::DictionaryLearning => {
                let (config, raw) = dictionary_learning::parse(path, &bytes)?;
                (config, raw, weights()?)
            }
            Self::Sparsify => {
                let weights = weights()?;
                let (config, raw) = sparsify::parse(path, &bytes, folder, &weights)?;
                (config, raw, weights)
            }
            Self::Openai => {
                let weights = weights()?;
                (openai::describe(&weights)?, Value::Null, weights)
            }
            Self::Llamascopium => {
                let (config, raw) = llamascopium::parse(path, &bytes)?;
                (config, raw, weights()?)
            }
        };
        let config_file = config_file.map(|name| (name, bytes));
        Ok(Opened { config, raw_config, config_file, weights_file: weights_file.to_owned(), weights })
    }

    /// Takes all tensors of the file. A missing or unused tensor is an error.
    pub(super) fn take(self, opened: &Opened) -> Result<SaeTensors, SaeError> {
        let (config, file) = (&opened.config, &opened.weights);
        let mut taker = file.take();
        let parts = match self {
            Self::Saelens => saelens::take(config, file, &mut taker),
            Self::GemmaScope | Self::GemmaScope2 => gemma_scope::take(config, file, &mut taker),
            Self::LlamaScope => llama_scope::take(config, &opened.raw_config, &mut taker),
            Self::DictionaryLearning => dictionary_learning::take(config, &opened.raw_config, &mut taker),
            Self::Sparsify => sparsify::take(config, file, &mut taker),
            Self::Openai => openai::take(config, &mut taker),
            Self::Llamascopium => llamascopium::take(config, &opened.raw_config, file, &mut taker),
        }?;
        taker.finish(config.kind())?;
        Ok(parts)
    }
}

/// Opens an SAE's folder or its single weight file.
pub(super) fn open(path: &Path, format: Option<SaeFormat>) -> Result<(SaeFormat, Opened), SaeError> {
    let (folder, file) = match path.file_name().and_then(|name| name.to_str()) {
        Some(name) if path.is_file() => (path.parent().unwrap_or(Path::new(".")).to_path_buf(), Some(name.to_owned())),
        _ => (path.to_path_buf(), None),
    };
    let told = |name: &str| match name.rsplit_once('.') {
        Some((_, "npz")) => Some(SaeFormat::GemmaScope),
        Some((_, "pt" | "pth")) if !folder.join("config.json").exists() => Some(SaeFormat::Openai),
        _ => None,
    };
    let format = match format.or_else(|| file.as_deref().and_then(told)) {
        Some(format) => format,
        None => SaeFormat::of(&folder)?,
    };
    let weights = file.unwrap_or_else(|| format.files().0.to_owned());
    let opened = format.open(&folder, &weights)?;
    Ok((format, opened))
}

impl fmt::Display for SaeFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for SaeFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|format| format.as_str() == name);
        found.ok_or_else(|| format!("expected one of {}, got {name}", known()))
    }
}
