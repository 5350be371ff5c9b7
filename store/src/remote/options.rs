//! Settings for remote caches, and for the local folder that their files are kept in.

use std::path::PathBuf;
use std::time::Duration;

use hayloft_runtime::{CACHE_VARIABLE, user_cache};

use crate::error::{Result, StoreError};
use crate::remote::environment::Environment;
use crate::remote::location::Location;

/// Settings for remote caches. Credentials come from variables only, unless `instance_credentials` is set.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// The variables that name credentials and endpoints.
    pub environment: Environment,
    /// The folder for files of remote caches. `None` means `HAYLOFT_CACHE`, or else `hayloft` in the user's cache folder.
    pub folder: Option<PathBuf>,
    /// The maximum size of the shards and plans in that folder, in bytes.
    pub limit: u64,
    /// Whether the instance metadata service or `gcloud`'s file supplies credentials if no variable names any.
    pub instance_credentials: bool,
    /// The retry budget of one request: the total time for all tries.
    pub budget: Duration,
    /// The time limit of one try.
    pub timeout: Duration,
    /// The delay after the first failure; it doubles with each further one.
    pub pause: Duration,
    /// The size of one request in bytes. Larger files are moved in parts of this size; uploaded parts have at least 5 MiB.
    pub part_bytes: u64,
    /// The number of files moved in parallel.
    pub jobs: usize,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            environment: Environment::Process,
            folder: None,
            limit: 50 * 1_000_000_000,
            instance_credentials: false,
            budget: Duration::from_secs(150),
            timeout: Duration::from_secs(120),
            pause: Duration::from_millis(100),
            part_bytes: 8 << 20,
            jobs: 8,
        }
    }
}

impl RemoteOptions {
    /// Returns the folder for files of remote caches.
    pub(crate) fn kept_in(&self) -> Result<PathBuf> {
        let folder = self.folder.clone().or_else(user_cache).ok_or_else(|| {
            let expected = format!("--cache-folder, {CACHE_VARIABLE} or HOME to name one");
            StoreError::invalid("folder for what is read from remote caches", expected, "none")
        })?;
        match Location::of_place(&folder)? {
            None => Ok(folder),
            Some(location) => {
                let what = format!("--cache-folder or {CACHE_VARIABLE}");
                Err(StoreError::invalid(what, "a folder of this machine", location))
            }
        }
    }
}

/// Parses a size in bytes such as `50GB`, `512MiB` or `1000000`.
///
/// # Errors
/// [`StoreError::Invalid`] with the accepted forms.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1_048_576.0,
        "gib" => 1_073_741_824.0,
        "tib" => 1_099_511_627_776.0,
        _ => f64::NAN,
    };
    let bytes = number.parse::<f64>().unwrap_or(f64::NAN) * unit;
    if bytes >= 1.0 && bytes < u64::MAX as f64 {
        Ok(bytes.round() as u64)
    } else {
        Err(StoreError::invalid("size", "a number of bytes such as 50GB, 512MiB or 1000000", format!("`{text}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_powers_of_ten_and_of_two() {
        for (text, bytes) in
            [("50GB", 50_000_000_000), ("512MiB", 512 << 20), ("7", 7), ("1.5k", 1500), ("2 TiB", 2 << 40)]
        {
            assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "GB", "0", "-1", "1XB", "1.2.3", "inf"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
