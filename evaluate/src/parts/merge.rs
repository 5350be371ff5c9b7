//! Merges partial results from files into results.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hayloft_results::Results;

use super::assemble;
use super::combine::{ReadPart, combine};
use super::error::PartialError;
use super::file::{from_bytes, from_bytes_of, seal};

/// File name prefix and suffix of partial results.
pub(super) const NAME: (&str, &str) = ("part-", ".safetensors");

/// Merges partial results, given as files or folders of files. The results are bit-identical to those of one run over
/// the whole cache, in whatever order parts are given. SAEs are ordered by their first appearance in the parts; the
/// parts of a folder are read in order of file name.
///
/// ```no_run
/// use hayloft_evaluate::{RunSettings, merge, run_part};
/// use hayloft_runtime::Progress;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = RunSettings::new("mistral-7b", "cache", vec!["saes/base".into()]);
/// for part in ["0/2", "1/2"] {
///     run_part(&settings, part.parse()?, Progress::Silent)?.write("parts".as_ref())?;
/// }
/// merge(&["parts".into()])?.write("results".as_ref())?;
/// # Ok(()) }
/// ```
pub fn merge(paths: &[PathBuf]) -> Result<Results, PartialError> {
    let mut parts = Vec::new();
    for path in files(paths)? {
        let bytes = std::fs::read(&path).map_err(|cause| PartialError::Read { path: path.clone(), cause })?;
        let (part, measurement) = from_bytes(&path, &bytes)?;
        parts.push(ReadPart { path, part, measurement });
    }
    if parts.is_empty() {
        return Err(PartialError::None { path: paths.first().cloned().unwrap_or_default() });
    }
    Ok(assemble(combine(parts)?))
}

/// The results of the single part in these bytes, without intervals; ignores the seal and the version that wrote them.
pub(crate) fn read_sealed_again(bytes: &[u8]) -> Result<Results, PartialError> {
    let mut bytes = bytes.to_vec();
    seal(&mut bytes);
    let path = PathBuf::from("input");
    let (part, mut measurement) = from_bytes_of(&path, &bytes, None)?;
    measurement.protocol.bootstrap = None;
    Ok(assemble(combine(vec![ReadPart { path, part, measurement }])?))
}

/// The given files and those in the given folders, without duplicates.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, PartialError> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let inner = in_folder(path)?;
            if inner.is_empty() {
                return Err(PartialError::None { path: path.clone() });
            }
            files.extend(inner);
        } else {
            files.push(path.clone());
        }
    }
    let mut seen = BTreeSet::new();
    files.retain(|path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
    Ok(files)
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, PartialError> {
    let read = |cause| PartialError::Read { path: folder.to_path_buf(), cause };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(NAME.0) && name.ends_with(NAME.1) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
