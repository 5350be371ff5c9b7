//! Merges partial results from files into results.

use std::path::PathBuf;

use hayloft_results::Results;

use super::assemble;
use super::combine::{ReadPart, combine};
use super::error::PartialError;
use super::file::{from_bytes, from_bytes_of};
use super::find::{PartKind, find_parts_of};
use super::sealed::seal;

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
    for path in find_parts_of(PartKind::Results, paths)? {
        let bytes = std::fs::read(&path).map_err(|cause| PartialError::Read { path: path.clone(), cause })?;
        let (part, measurement) = from_bytes(&path, &bytes)?;
        parts.push(ReadPart { path, part, measurement });
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
