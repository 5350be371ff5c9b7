//! Bounded reading of configuration files, and errors that name the file.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use hayloft_runtime::{other_file, without_mark};
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

use crate::error::SaeError;

/// Upper bound on a configuration's size.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// Upper bound on a width. It exceeds any residual stream or SAE, and keeps products of two widths within 64 bits.
const MAX_SIZE: u64 = 1 << 30;

/// A configuration file, named in error messages.
pub(in crate::formats) struct Source<'path> {
    pub(in crate::formats) path: &'path Path,
}

/// Reads a configuration file.
pub(in crate::formats) fn read_bounded(path: &Path) -> Result<Vec<u8>, SaeError> {
    let failed = |cause| SaeError::Io { path: path.to_path_buf(), cause };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        let problem = format!("more than {MAX_CONFIG_BYTES} bytes. Is it another file?");
        return Err(SaeError::Config { path: path.to_path_buf(), problem });
    }
    Ok(bytes)
}

impl Source<'_> {
    pub(in crate::formats) fn json(&self, bytes: &[u8]) -> Result<Value, SaeError> {
        let other = |got: &str| SaeError::Config { path: self.path.to_path_buf(), problem: got.to_owned() };
        serde_json::from_slice(without_mark(bytes))
            .map_err(|error| other_file(bytes).map_or_else(|| self.problem(error), other))
    }

    pub(in crate::formats) fn fields<T: DeserializeOwned>(&self, value: Value) -> Result<T, SaeError> {
        serde_json::from_value(value).map_err(|error| self.problem(error))
    }

    pub(in crate::formats) fn field(&self, field: &str, expected: impl Display, got: impl Display) -> SaeError {
        let (field, expected) = (field.to_owned(), expected.to_string());
        SaeError::Field { path: self.path.to_path_buf(), field, expected, got: got.to_string() }
    }

    pub(in crate::formats) fn size(&self, field: &str, size: u64) -> Result<usize, SaeError> {
        match usize::try_from(size) {
            Ok(small) if (1..=MAX_SIZE).contains(&size) => Ok(small),
            _ => Err(self.field(field, format!("a size from 1 to {MAX_SIZE}"), size)),
        }
    }

    /// Returns the required k of a `TopK`.
    pub(in crate::formats) fn whole_k(&self, k: Option<&Number>, d_sae: usize) -> Result<usize, SaeError> {
        let expected = format!("a whole number from 1 to d_sae = {d_sae}");
        let Some(k) = k else { return Err(self.field("k", expected, "none")) };
        // SAELens writes 32.0 as well as 32.
        let whole = k.as_u64().or_else(|| k.as_f64().filter(|k| k.fract() == 0.0 && *k >= 0.0).map(|k| k as u64));
        match whole.and_then(|k| usize::try_from(k).ok()) {
            Some(k) if (1..=d_sae).contains(&k) => Ok(k),
            _ => Err(self.field("k", expected, k)),
        }
    }

    pub(in crate::formats) fn problem(&self, problem: impl Display) -> SaeError {
        let problem = format!("{problem}. Save the SAE again, or correct the file");
        SaeError::Config { path: self.path.to_path_buf(), problem }
    }
}
