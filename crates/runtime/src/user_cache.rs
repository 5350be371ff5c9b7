//! The user's folder for files that can be made again.

use std::path::PathBuf;

/// The environment variable that names the folder.
pub const CACHE_VARIABLE: &str = "HAYLOFT_CACHE";

/// The folder that `HAYLOFT_CACHE` names, or else `hayloft` in the user's cache folder. `None` if neither is known.
pub fn user_cache() -> Option<PathBuf> {
    let named = std::env::var_os(CACHE_VARIABLE).map(PathBuf::from);
    named.or_else(|| dirs::cache_dir().map(|folder| folder.join("hayloft")))
}
