//! The supported SAE formats: detection, configuration and tensors.
//!
//! A format is detected from the files in the folder, never guessed from values. Each module has a [`Format`] that converts
//! a folder to [`SaeConfig`] and [`SaeTensors`]. Code outside this module does not depend on the format.

mod attn_saes;
mod circuit_tracer;
mod dictionary_learning;
mod files;
mod folder;
mod gemma_scope;
mod goodfire;
mod llama_scope;
mod llamascopium;
mod openai;
mod options;
mod published;
mod qwen_scope;
mod saelens;
mod search;
mod source;
mod sparsify;
mod yaml;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use hayloft_runtime::other_file_at;
use hayloft_runtime::words::did_you_mean;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use self::files::{ConfigFile, Files};
use self::folder::Folder;
pub use self::options::{SaeOptions, Transcoded};
pub use self::published::{PublishedFiles, published_files};
pub use self::search::{find_saes, is_pattern};
use crate::config::SaeConfig;
use crate::error::SaeError;
use crate::registry::{self, Registered};
use crate::tensor_files::{Taker, TensorFile};
use crate::tensors::SaeTensors;

/// Every format. Of a single weight file, the first format that has such files decides.
const FORMATS: &[Format] = &[
    saelens::FORMAT,
    gemma_scope::FORMAT,
    gemma_scope::FORMAT_2,
    llama_scope::FORMAT,
    dictionary_learning::FORMAT,
    sparsify::FORMAT,
    qwen_scope::FORMAT,
    circuit_tracer::FORMAT,
    attn_saes::FORMAT,
    goodfire::FORMAT,
    openai::FORMAT,
    llamascopium::FORMAT,
];

/// Formats that no files tell, so that `--sae-format` names them.
const NAMED_FORMATS: &[Format] = &[dictionary_learning::TOPK, dictionary_learning::BATCH_TOPK];

/// What a format's module states of it.
#[derive(Debug)]
struct Format {
    /// The name on the command line and in JSON.
    name: &'static str,
    weights: WeightFiles,
    config: ConfigFile,
    /// Parses the configuration and maps the weights.
    open: fn(&Files) -> Result<Opened, SaeError>,
    /// Takes every tensor of the weights.
    take: fn(&Opened, &mut Taker<'_>) -> Result<SaeTensors, SaeError>,
}

/// The weight files of a format.
#[derive(Debug, Clone, Copy)]
enum WeightFiles {
    /// One file of this name in the folder of each SAE. A file of another name for which `also` is true is a whole SAE,
    /// in a folder whose other files do not matter.
    Named { name: &'static str, also: fn(folder: &Folder<'_>, name: &str) -> bool },
    /// Several SAEs share a folder: each file whose name is one of these is an SAE.
    Several(fn(folder: &Folder<'_>, name: &str) -> bool),
}

impl WeightFiles {
    /// One file of this name in the folder of each SAE.
    const fn named(name: &'static str) -> Self {
        Self::Named { name, also: |_, _| false }
    }

    /// Whether a file is the weights of an SAE whatever the rest of the folder is.
    fn is_whole(self, folder: &Folder<'_>, name: &str) -> bool {
        match self {
            Self::Named { also, .. } => also(folder, name),
            Self::Several(is_one) => is_one(folder, name),
        }
    }

    /// The weight files of a folder, in the order of their names.
    fn in_folder(self, folder: &Folder<'_>) -> Vec<String> {
        match self {
            Self::Named { name, .. } if folder.has(name) => vec![name.to_owned()],
            Self::Named { .. } => Vec::new(),
            Self::Several(is_one) => folder.names().into_iter().filter(|name| is_one(folder, name)).collect(),
        }
    }
}

impl Format {
    /// Whether a folder has the format's files.
    fn fits(&self, folder: &Folder<'_>) -> bool {
        !self.weights.in_folder(folder).is_empty() && self.config.fits(folder)
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

    /// The SAEs that lie directly in a folder: the folder itself, or its files where several SAEs share a folder.
    fn saes_in(folder: &Path) -> Vec<std::path::PathBuf> {
        let names = Folder::Local(folder);
        let Some(format) = FORMATS.iter().find(|format| format.fits(&names)) else { return Vec::new() };
        match format.weights {
            WeightFiles::Named { .. } => vec![folder.to_path_buf()],
            WeightFiles::Several(_) => format.weights.in_folder(&names).iter().map(|name| folder.join(name)).collect(),
        }
    }

    /// Detects the format of a folder. `place` names it in messages.
    fn of(folder: &Folder<'_>, place: &Path) -> Result<Self, SaeError> {
        let fitting: Vec<&'static Format> = FORMATS.iter().filter(|format| format.fits(folder)).collect();
        match fitting[..] {
            [format] => Ok(Self(format)),
            // Treat an incomplete SAELens folder as SAELens, so that the error names the missing file.
            [] if folder.has("cfg.json") || folder.has("sae_weights.safetensors") => Ok(Self::SAELENS),
            [] => Err(no_format(folder, place, None)),
            [first, second, ..] => {
                Err(SaeError::TwoFormats { folder: place.to_path_buf(), first: first.name, second: second.name })
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
pub(super) fn open(path: &Path, options: &SaeOptions) -> Result<(SaeFormat, Files, Opened), SaeError> {
    let (folder, file) = match path.file_name().and_then(|name| name.to_str()) {
        Some(name) if path.is_file() => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            (folder.unwrap_or(Path::new(".")), Some(name))
        }
        _ => (path, None),
    };
    if !path.exists()
        && let Some(name) = path.to_str()
    {
        check_registry(path, name)?;
    }
    if let Some(name) = file
        && ["json", "yaml", "yml"].iter().any(|ending| name.rsplit_once('.').is_some_and(|(_, own)| own == *ending))
    {
        return Err(SaeError::NoWeights { path: path.to_path_buf(), folder: folder.to_path_buf() });
    }
    let (format, weights) = choose(&Folder::Local(folder), file, folder, options.format)?;
    let files = Files::find(folder, format.0.config, &weights, options.clone())?;
    let mut opened = (format.0.open)(&files)?;
    let config = &mut opened.config;
    options.apply(&files.source(), config)?;
    let folders = files.folder_names();
    if let Some(registered) = registry::published_at(&folders, &files.weights_file) {
        if registered.is_in_hub_cache(&folders) {
            registered.apply(options.normalisation, config);
        }
        let is_centred = config.conventions.center_writing_weights;
        config.remarks.extend(registered.unsaid(config.normalisation, is_centred));
    }
    Ok((format, files, opened))
}

/// The format and the weight file of an SAE: that of a folder, or one of its files. `place` names the folder in messages.
fn choose(
    folder: &Folder<'_>,
    file: Option<&str>,
    place: &Path,
    format: Option<SaeFormat>,
) -> Result<(SaeFormat, String), SaeError> {
    let whole = || {
        let name = file?;
        FORMATS.iter().find(|format| format.weights.is_whole(folder, name)).map(SaeFormat)
    };
    let format = match format.or_else(whole) {
        Some(format) => format,
        None => SaeFormat::of(folder, place).map_err(|error| match (error, file) {
            (SaeError::NoFormat { .. } | SaeError::NoSae { .. }, Some(_)) => no_format(folder, place, file),
            (error, _) => error,
        })?,
    };
    let weights = match file {
        Some(name) => name.to_owned(),
        None => format.weights_in(folder, place)?,
    };
    Ok((format, weights))
}

/// The error for a folder, or for a file in it, that is of no format. `place` names the folder in messages, or a published
/// file.
fn no_format(folder: &Folder<'_>, place: &Path, file: Option<&str>) -> SaeError {
    let (path, is_there) = match (folder, file) {
        (Folder::Local(_), Some(name)) => (place.join(name), true),
        (Folder::Local(_), None) => (place.to_path_buf(), place.exists()),
        (Folder::Published(..), _) => (place.to_path_buf(), true),
    };
    if let (Folder::Local(_), Some(_)) = (folder, file)
        && let Some(got) = other_file_at(&path)
    {
        return SaeError::NoSae { path, got };
    }
    let mut names = folder.names();
    let is_model = |name: &str| name.starts_with("model") && name.ends_with(".safetensors");
    let holds_model = file.map_or_else(|| names.iter().any(|name| is_model(name)), is_model);
    if holds_model && names.iter().any(|name| name == "config.json") {
        return SaeError::NoSae { path, got: "the checkpoint of a language model. It is given as --model" };
    }
    let got = match file {
        _ if !is_there => "no such file or folder".to_owned(),
        Some(_) => "a file of another name".to_owned(),
        None if names.is_empty() => "an empty folder".to_owned(),
        None => {
            let more = if names.len() > NAMED_FILES { ", …" } else { "" };
            names.truncate(NAMED_FILES);
            format!("{}{more}", names.join(", "))
        }
    };
    SaeError::NoFormat { path, got }
}

/// Most files of a folder that a message names.
const NAMED_FILES: usize = 6;

/// Says what a path that does not exist is in SAELens's registry, if its first part is the name of a release.
fn check_registry(path: &Path, name: &str) -> Result<(), SaeError> {
    let release = name.split('/').next().unwrap_or_default();
    if registry::release_of(release).is_err() {
        return Ok(());
    }
    let path = path.to_path_buf();
    Err(match registry::find(name) {
        Ok(Registered { release, sae }) => {
            SaeError::NotFetched { path, repository: release.repository, file: sae.path }
        }
        Err(problem) => SaeError::NotInRegistry { path, problem },
    })
}

impl SaeFormat {
    /// The one weight file of a folder.
    fn weights_in(self, folder: &Folder<'_>, place: &Path) -> Result<String, SaeError> {
        let held = self.0.weights.in_folder(folder);
        match (self.0.weights, &held[..]) {
            (WeightFiles::Named { name, .. }, _) => Ok(name.to_owned()),
            (WeightFiles::Several(_), [one]) => Ok(one.clone()),
            (WeightFiles::Several(_), _) => {
                let (folder, format) = (place.to_path_buf(), self.0.name);
                Err(SaeError::SeveralInFolder { folder, format, count: held.len(), held: held.join(", ") })
            }
        }
    }
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
        let all = || FORMATS.iter().chain(NAMED_FORMATS);
        all().find(|format| format.name == name).map(Self).ok_or_else(|| {
            let known: Vec<&str> = all().map(|format| format.name).collect();
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
