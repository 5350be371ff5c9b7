//! The supported SAE formats: detection, configuration and tensors.
//!
//! A format is detected from the files in the folder, never guessed from values. Each module has a [`Format`] that converts
//! a folder to [`SaeConfig`] and [`SaeTensors`]. Code outside this module does not depend on the format.

mod dictionary_learning;
mod files;
mod gemma_scope;
mod llama_scope;
mod llamascopium;
mod openai;
mod saelens;
mod search;
mod source;
mod sparsify;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use hayloft_runtime::words::did_you_mean;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use self::files::Files;
pub use self::search::find_saes;
use crate::config::SaeConfig;
use crate::error::SaeError;
use crate::tensor_files::{Taker, TensorFile};
use crate::tensors::SaeTensors;

/// Every format.
const FORMATS: &[Format] = &[
    saelens::FORMAT,
    gemma_scope::FORMAT,
    gemma_scope::FORMAT_2,
    llama_scope::FORMAT,
    dictionary_learning::FORMAT,
    sparsify::FORMAT,
    openai::FORMAT,
    llamascopium::FORMAT,
];

/// What a format's module states of it.
#[derive(Debug)]
struct Format {
    /// The name on the command line and in JSON.
    name: &'static str,
    weights_file: &'static str,
    /// `None` where the format has no configuration.
    config_file: Option<&'static str>,
    /// Whether a file with this ending is a whole SAE of the format, in a folder whose other files do not matter.
    is_whole: fn(folder: &Path, ending: &str) -> bool,
    /// Parses the configuration and maps the weights.
    open: fn(&Files) -> Result<Opened, SaeError>,
    /// Takes every tensor of the weights.
    take: fn(&Opened, &mut Taker<'_>) -> Result<SaeTensors, SaeError>,
}

impl Format {
    /// Whether a folder has the format's files.
    fn fits(&self, folder: &Path) -> bool {
        let has = |name: &str| folder.join(name).exists();
        has(self.weights_file) && self.config_file.is_none_or(has)
    }
}

/// An opened SAE, before its weights are read.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) config: SaeConfig,
    /// The full configuration; null if the format has none.
    pub(super) raw_config: Value,
    pub(super) weights: TensorFile,
}

/// A published SAE format. Parsed from, displayed and serialised as its name, such as `gemma-scope-2`.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SaeFormat(&'static Format);

impl SaeFormat {
    /// SAELens: `cfg.json`, `sae_weights.safetensors`.
    pub const SAELENS: Self = Self(&saelens::FORMAT);

    /// The name on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        self.0.name
    }

    /// Whether a folder has the files of any format.
    fn is_any(folder: &Path) -> bool {
        FORMATS.iter().any(|format| format.fits(folder))
    }

    /// Detects the format of a folder.
    fn of(folder: &Path) -> Result<Self, SaeError> {
        let has = |name: &str| folder.join(name).exists();
        let fitting: Vec<&'static Format> = FORMATS.iter().filter(|format| format.fits(folder)).collect();
        match fitting[..] {
            [format] => Ok(Self(format)),
            // Treat an incomplete SAELens folder as SAELens, so that the error names the missing file.
            [] if has("cfg.json") || has("sae_weights.safetensors") => Ok(Self::SAELENS),
            [] => Err(SaeError::NoFormat { folder: folder.to_path_buf() }),
            [first, second, ..] => {
                Err(SaeError::TwoFormats { folder: folder.to_path_buf(), first: first.name, second: second.name })
            }
        }
    }

    /// Takes all tensors of the file. A missing or unused tensor is an error.
    pub(super) fn take(self, opened: &Opened) -> Result<SaeTensors, SaeError> {
        let mut taker = opened.weights.take();
        let tensors = (self.0.take)(opened, &mut taker)?;
        taker.finish(opened.config.kind())?;
        Ok(tensors)
    }
}

/// Opens an SAE's folder or its single weight file.
pub(super) fn open(path: &Path, format: Option<SaeFormat>) -> Result<(SaeFormat, Files, Opened), SaeError> {
    let (folder, file) = match path.file_name().and_then(|name| name.to_str()) {
        Some(name) if path.is_file() => (path.parent().unwrap_or(Path::new(".")), Some(name)),
        _ => (path, None),
    };
    let whole = || {
        let (_, ending) = file?.rsplit_once('.')?;
        FORMATS.iter().find(|format| (format.is_whole)(folder, ending)).map(SaeFormat)
    };
    let format = match format.or_else(whole) {
        Some(format) => format,
        None => SaeFormat::of(folder)?,
    };
    let files = Files::find(folder, format.0.config_file, file.unwrap_or(format.0.weights_file))?;
    let opened = (format.0.open)(&files)?;
    Ok((format, files, opened))
}

impl PartialEq for SaeFormat {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for SaeFormat {}

impl fmt::Debug for SaeFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Display for SaeFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for SaeFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = FORMATS.iter().find(|format| format.name == name);
        found.map(Self).ok_or_else(|| {
            let known: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
            format!("expected one of {}, got {name}{}", known.join(", "), did_you_mean(name, known))
        })
    }
}

impl TryFrom<String> for SaeFormat {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<SaeFormat> for String {
    fn from(format: SaeFormat) -> Self {
        format.as_str().to_owned()
    }
}
