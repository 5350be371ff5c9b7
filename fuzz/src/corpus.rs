//! The inputs that are kept with the source: seeds made by real writers, and one for each crash there was.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{TARGETS, Target};

/// A file of the corpus.
#[derive(Debug, Clone)]
pub struct CorpusFile {
    /// Whose input it is.
    pub target: &'static Target,
    /// Where it is.
    pub path: PathBuf,
    /// The input.
    pub bytes: Vec<u8>,
}

/// The folder that holds one folder for each target.
pub fn corpus_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Every input of a target, in the order of their names; none where it has no folder.
fn inputs(folder: &Path, target: &'static Target) -> io::Result<Vec<CorpusFile>> {
    let entries = match fs::read_dir(folder.join(target.name)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    paths.into_iter().map(|path| Ok(CorpusFile { target, bytes: fs::read(&path)?, path })).collect()
}

/// Every input of every target.
///
/// # Errors
/// What the system says of a file that cannot be read.
pub fn corpus() -> io::Result<Vec<CorpusFile>> {
    let folder = corpus_folder();
    let all: Vec<_> = TARGETS.iter().map(|target| inputs(&folder, target)).collect::<io::Result<_>>()?;
    Ok(all.into_iter().flatten().collect())
}
