//! The supported SAE formats: detection, configuration and tensors.
//!
//! A format is detected from the files in the folder, never guessed from values. Each module has a [`Format`] that converts
//! a folder to [`SaeConfig`] and [`SaeTensors`]. Code outside this module does not depend on the format.

mod attn_saes;
mod circuit_tracer;
mod dictionary_learning;
mod files;
mod gemma_scope;
mod goodfire;
mod llama_scope;
mod llamascopium;
mod openai;
mod options;
mod qwen_scope;
mod saelens;
mod search;
mod source;
mod sparsify;
mod yaml;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use hayloft_runtime::other_file;
use hayloft_runtime::words::did_you_mean;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use self::files::{ConfigFile, Files};
pub use self::options::{SaeOptions, Transcoded};
pub use self::search::find_saes;
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
    Named { name: &'static str, also: fn(folder: &Path, name: &str) -> bool },
    /// Several SAEs share a folder: each file whose name is one of these is an SAE.
    Several(fn(folder: &Path, name: &str) -> bool),
}

impl WeightFiles {
    /// One file of this name in the folder of each SAE.
    const fn named(name: &'static str) -> Self {
        Self::Named { name, also: |_, _| false }
    }

    /// Whether a file is the weights of an SAE whatever the rest of the folder is.
    fn is_whole(self, folder: &Path, name: &str) -> bool {
        match self {
            Self::Named { also, .. } => also(folder, name),
            Self::Several(is_one) => is_one(folder, name),
        }
    }

    /// The weight files of a folder, in the order of their names.
    fn in_folder(self, folder: &Path) -> Vec<String> {
        match self {
            Self::Named { name, .. } if folder.join(name).exists() => vec![name.to_owned()],
            Self::Named { .. } => Vec::new(),
            Self::Several(is_one) => {
                let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
                let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
                let mut names: Vec<String> = names.filter(|name| is_one(folder, name)).collect();
                names.sort();
                names
            }
        }
    }
}

impl Format {
    /// Whether a folder has the format's files.
    fn fits(&self, folder: &Path) -> bool {
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
        let Some(format) = FORMATS.iter().find(|format| format.fits(folder)) else { return Vec::new() };
        match format.weights {
            WeightFiles::Named { .. } => vec![folder.to_path_buf()],
            WeightFiles::Several(_) => format.weights.in_folder(folder).iter().map(|name| folder.join(name)).collect(),
        }
    }

    /// Detects the format of a folder.
    fn of(folder: &Path) -> Result<Self, SaeError> {
        let has = |name: &str| folder.join(name).exists();
        let fitting: Vec<&'static Format> = FORMATS.iter().filter(|format| format.fits(folder)).collect();
        match fitting[..] {
            [format] => Ok(Self(format)),
            // Treat an incomplete SAELens folder as SAELens, so that the error names the missing file.
            [] if has("cfg.json") || has("sae_weights.safetensors") => Ok(Self::SAELENS),
            [] => Err(no_format(folder, None)),
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
    let whole = || {
        let name = file?;
        FORMATS.iter().find(|format| format.weights.is_whole(folder, name)).map(SaeFormat)
    };
    let format = match options.format.or_else(whole) {
        Some(format) => format,
        None => SaeFormat::of(folder).map_err(|error| match (error, file) {
            (SaeError::NoFormat { .. } | SaeError::NoSae { .. }, Some(_)) => no_format(folder, Some(path)),
            (error, _) => error,
        })?,
    };
    let weights = match file {
        Some(name) => name.to_owned(),
        None => format.weights_in(folder)?,
    };
    let files = Files::find(folder, format.0.config, &weights, options.clone())?;
    let mut opened = (format.0.open)(&files)?;
    let config = &mut opened.config;
    options.apply(&files.source(), config)?;
    if let Some(registered) = registry::published_at(&files.folder_names(), &files.weights_file) {
        let is_centred = config.conventions.center_writing_weights;
        config.remarks.extend(registered.unsaid(config.normalisation, is_centred));
    }
    Ok((format, files, opened))
}

/// The error for a folder, or for a file in it, that is of no format.
fn no_format(folder: &Path, file: Option<&Path>) -> SaeError {
    const HEAD_BYTES: u64 = 512;
    let path = file.unwrap_or(folder).to_path_buf();
    let mut head = Vec::new();
    if let Some(file) = file {
        // A file that cannot be read is not recognised.
        let _ = File::open(file).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
    }
    if let Some(got) = other_file(&head) {
        return SaeError::NoSae { path, got };
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    let is_model = |name: &str| name.starts_with("model") && name.ends_with(".safetensors");
    let own = file.and_then(|file| file.file_name()?.to_str());
    let holds_model = own.map_or_else(|| names.iter().any(|name| is_model(name)), is_model);
    if holds_model && names.iter().any(|name| name == "config.json") {
        return SaeError::NoSae { path, got: "the checkpoint of a language model. It is given as --model" };
    }
    let got = match (file, path.exists()) {
        (_, false) => "no such file or folder".to_owned(),
        (Some(_), true) => "a file of another name".to_owned(),
        (None, true) if names.is_empty() => "an empty folder".to_owned(),
        (None, true) => {
            let more = if names.len() > NAMED_FILES { ", …" } else { "" };
            names.truncate(NAMED_FILES);
            format!("{}{more}", names.join(", "))
        }
    };
    SaeError::NoFormat { path, got }
}

/// Most files of a folder that a message names.
const NAMED_FILES: usize = 6;

/// How to bring an SAE of SAELens's registry to this machine.
fn how_to_fetch(Registered { release, sae }: Registered) -> String {
    let format: Option<SaeFormat> = release.format.and_then(|name| name.parse().ok());
    let files = format.map_or_else(|| vec![format!("{}/*", sae.path)], |format| format.files_of(sae.path));
    let repository = release.repository;
    let is_pickled = files.iter().any(|file| file.contains(".pt"))
        || format.is_some_and(|format| format.0.name == dictionary_learning::FORMAT.name);
    if is_pickled {
        let files = files.join(" and ");
        return format!("It is {files} of {repository} on the Hugging Face Hub; `harvest fetch` brings no .pt file");
    }
    // The folder has the repository's name, which some formats read the site or k from.
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let files: Vec<String> = files.iter().map(|file| format!("\"{file}\"")).collect();
    let files = files.join(", ");
    format!(
        "`harvest fetch` brings it with this manifest:\n[[saes]]\nname = \"{name}\"\nrepo = \"{repository}\"\nfiles = [{files}]"
    )
}

/// Says what a path that does not exist is in SAELens's registry, if its first part is the name of a release.
fn check_registry(path: &Path, name: &str) -> Result<(), SaeError> {
    let release = name.split('/').next().unwrap_or_default();
    if registry::release_of(release).is_err() {
        return Ok(());
    }
    let path = path.to_path_buf();
    Err(match registry::find(name) {
        Ok(registered) => SaeError::NotFetched { path, how: how_to_fetch(registered) },
        Err(problem) => SaeError::NotInRegistry { path, problem },
    })
}

impl SaeFormat {
    /// Patterns of the files to bring of an SAE that is published at `path` in a repository. Each matches a file there.
    fn files_of(self, path: &str) -> Vec<String> {
        match (self.0.weights, self.0.config) {
            (WeightFiles::Several(_), ConfigFile::None) => vec![path.to_owned()],
            (WeightFiles::Several(_), ConfigFile::Named(config) | ConfigFile::Optional(config)) => {
                vec![path.to_owned(), format!("*{config}")]
            }
            (WeightFiles::Several(_), ConfigFile::Beside { weights, config }) => {
                vec![path.to_owned(), format!("{}{config}", path.strip_suffix(weights).unwrap_or(path))]
            }
            (WeightFiles::Named { name, .. }, ConfigFile::Named(config)) => {
                vec![format!("{path}/{name}"), format!("{path}/{config}")]
            }
            (WeightFiles::Named { .. }, ConfigFile::Optional(_)) => vec![format!("{path}/*")],
            (WeightFiles::Named { name, .. }, _) => vec![format!("{path}/{name}")],
        }
    }

    /// The one weight file of a folder.
    fn weights_in(self, folder: &Path) -> Result<String, SaeError> {
        let held = self.0.weights.in_folder(folder);
        match (self.0.weights, &held[..]) {
            (WeightFiles::Named { name, .. }, _) => Ok(name.to_owned()),
            (WeightFiles::Several(_), [one]) => Ok(one.clone()),
            (WeightFiles::Several(_), _) => {
                let (folder, format) = (folder.to_path_buf(), self.0.name);
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
