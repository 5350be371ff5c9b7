//! The files of an SAE.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use hayloft_runtime::FileHash;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::folder::Folder;
use super::options::SaeOptions;
use super::source::{Source, read_bounded};
use crate::error::SaeError;
use crate::tensor_files::TensorFile;

/// The configuration file of a format.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ConfigFile {
    /// The format has none.
    None,
    /// A file of this name.
    Named(&'static str),
    /// A file of this name, without which the path and the tensors say what there is.
    Optional(&'static str),
    /// A file whose name is that of the weight file with another ending, both endings given.
    Beside {
        /// The ending of the weight file.
        weights: &'static str,
        /// The ending of the configuration.
        config: &'static str,
    },
}

impl ConfigFile {
    /// Whether a folder has the configuration, if the format needs one of a fixed name.
    pub(super) fn fits(self, folder: &Folder<'_>) -> bool {
        match self {
            Self::Named(name) => folder.has(name),
            Self::None | Self::Optional(_) | Self::Beside { .. } => true,
        }
    }

    /// The name of the configuration that belongs to a weight file, if there is one to be read.
    pub(super) fn name(self, folder: &Folder<'_>, weights: &str) -> Option<String> {
        match self {
            Self::None => None,
            Self::Named(name) => Some(name.to_owned()),
            Self::Optional(name) => folder.has(name).then(|| name.to_owned()),
            Self::Beside { weights: ending, config } => {
                Some(format!("{}{config}", weights.strip_suffix(ending).unwrap_or(weights)))
            }
        }
    }
}

/// The files of an SAE, with its configuration read but not parsed.
#[derive(Debug)]
pub(crate) struct Files {
    pub(super) folder: PathBuf,
    /// `None` where there is no configuration.
    config_file: Option<String>,
    config_path: PathBuf,
    pub(super) config: Vec<u8>,
    /// Relative to the folder.
    pub(super) weights_file: String,
    pub(super) options: SaeOptions,
}

impl Files {
    pub(super) fn find(
        folder: &Path,
        config_file: ConfigFile,
        weights: &str,
        options: SaeOptions,
    ) -> Result<Self, SaeError> {
        let config_file = config_file.name(&Folder::Local(folder), weights);
        let (config_path, config) = match &config_file {
            Some(name) => {
                let path = locate(folder, name)?;
                let bytes = read_bounded(&path)?;
                (path, bytes)
            }
            None => (folder.to_path_buf(), Vec::new()),
        };
        let (folder, weights_file) = (folder.to_path_buf(), weights.to_owned());
        Ok(Self { folder, config_file, config_path, config, weights_file, options })
    }

    /// The configuration file, or the folder where there is none, for messages.
    pub(super) fn source(&self) -> Source<'_> {
        Source { path: &self.config_path }
    }

    /// Whether there is a configuration.
    pub(super) fn has_config(&self) -> bool {
        self.config_file.is_some()
    }

    /// The configuration's fields, and all of it as JSON.
    pub(super) fn fields<T: DeserializeOwned>(&self) -> Result<(T, Value), SaeError> {
        let raw = self.source().json(&self.config)?;
        Ok((self.source().fields(raw.clone())?, raw))
    }

    /// Maps the weight file.
    pub(super) fn weights(&self) -> Result<TensorFile, SaeError> {
        TensorFile::open(&locate(&self.folder, &self.weights_file)?)
    }

    /// The names of the SAE's folder and of the folders above it, from the innermost outwards.
    pub(super) fn folder_names(&self) -> Vec<String> {
        let whole = self.folder.canonicalize().unwrap_or_else(|_| self.folder.clone());
        whole.ancestors().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
    }

    /// Hashes of the configuration, if there is one, and of the weights, which are read once, using all cores.
    pub(crate) fn hashes(&self, weights: &TensorFile) -> Vec<FileHash> {
        let config = self.config_file.as_ref().map(|name| FileHash {
            file: name.clone(),
            bytes: self.config.len() as u64,
            blake3: blake3::hash(&self.config).to_hex().to_string(),
        });
        let weights = FileHash { file: self.weights_file.clone(), bytes: weights.bytes(), blake3: weights.blake3() };
        config.into_iter().chain([weights]).collect()
    }
}

/// Returns the path of a file in an SAE's folder. A link must stay in the folder, or, in the Hub's cache, where the files of
/// `snapshots/COMMIT` are links, lead to the `blobs` of the same repository or of the cache.
fn locate(folder: &Path, name: &str) -> Result<PathBuf, SaeError> {
    let path = folder.join(name);
    let failed = |cause| SaeError::Io { path: path.clone(), cause };
    let real_folder = folder.canonicalize().map_err(failed)?;
    let target = path.canonicalize().map_err(failed)?;
    let snapshots = real_folder.ancestors().find(|folder| folder.file_name() == Some(OsStr::new("snapshots")));
    // The repository's blobs, and those that the cache's repositories share.
    let repository = snapshots.and_then(Path::parent);
    let holders = [repository, repository.and_then(Path::parent)];
    let is_blob = holders.into_iter().flatten().any(|holder| target.starts_with(holder.join("blobs")));
    if !target.starts_with(&real_folder) && !is_blob {
        return Err(SaeError::LeavesFolder { path, target });
    }
    if !target.is_file() {
        // Opening a pipe without a writer would block.
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "expected a file, got something else")));
    }
    Ok(path)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    #[test]
    fn links_within_the_folder_and_into_the_hubs_blobs_are_followed() {
        let root = tempfile::tempdir().unwrap();
        let (folder, blobs) = (root.path().join("r/snapshots/0123/layer"), root.path().join("r/blobs"));
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir(&blobs).unwrap();
        fs::write(blobs.join("abcd"), "{}").unwrap();
        symlink("../../../blobs/abcd", folder.join("cfg.json")).unwrap();
        symlink("cfg.json", folder.join("again")).unwrap();
        fs::write(folder.join("file"), "{}").unwrap();
        let shared = root.path().join("blobs");
        fs::create_dir(&shared).unwrap();
        fs::write(shared.join("ef01"), "{}").unwrap();
        symlink("../../blobs/ef01", blobs.join("ef01")).unwrap();
        symlink("../../../blobs/ef01", folder.join("shared")).unwrap();
        for name in ["cfg.json", "again", "file", "shared"] {
            assert_eq!(locate(&folder, name).unwrap(), folder.join(name));
        }
    }

    #[test]
    fn a_link_to_elsewhere_is_refused() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        symlink(outside.path(), root.path().join("cfg.json")).unwrap();
        let error = locate(root.path(), "cfg.json").unwrap_err();
        assert!(matches!(error, SaeError::LeavesFolder { .. }), "{error}");
        assert!(matches!(locate(root.path(), "none"), Err(SaeError::Io { .. })));
    }

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        assert!(Command::new("mkfifo").arg(root.path().join("cfg.json")).status().unwrap().success());
        let error = locate(root.path(), "cfg.json").unwrap_err().to_string();
        assert!(error.contains("expected a file, got something else"), "{error}");
    }
}
