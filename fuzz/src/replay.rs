//! Running one saved input again.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{Target, guarded, target};

/// Runs the input in a file, of the target of this name or of that whose folder it lies in. Gives what the reader made of
/// it.
///
/// # Errors
/// Where there is no such file or target, and where the reader panics.
pub fn replay(file: &Path, name: Option<&str>) -> Result<String> {
    let folder = file.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let name = name.or(folder).unwrap_or_default();
    let target: &Target = target(name).with_context(|| {
        format!("{}: expected the folder of a target, got {name:?}. Name the target with --target", file.display())
    })?;
    let input = fs::read(file).with_context(|| format!("{}", file.display()))?;
    match guarded(target, &input) {
        Ok(Ok(())) => Ok(format!("{name}: read")),
        Ok(Err(words)) => Ok(format!("{name}: refused: {words}")),
        Err(failure) => bail!("{name}: panicked at {}: {}", failure.place, failure.message),
    }
}
