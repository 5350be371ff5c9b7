//! What all workers of a cache must share.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::place::ClaimPlace;
use crate::error::{Result, StoreError};
use crate::format::settings::HarvestSettings;
use crate::format::shard_record::CLAIMS_FOLDER;

/// The program version and everything that determines the bytes of shards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Session {
    hayloft_version: String,
    plan_blake3: String,
    settings: HarvestSettings,
}

/// Joins the session of a cache, or starts it.
///
/// # Errors
/// [`StoreError::Mismatch`] if earlier workers have another version, plan or settings.
pub(crate) fn join(place: &dyn ClaimPlace, cache: &Path, plan_blake3: &str, settings: &HarvestSettings) -> Result<()> {
    let name = format!("{CLAIMS_FOLDER}/session.json");
    let own = Session {
        hayloft_version: env!("CARGO_PKG_VERSION").to_owned(),
        plan_blake3: plan_blake3.to_owned(),
        settings: settings.clone(),
    };
    let path = cache.join(&name);
    let bytes = serde_json::to_vec_pretty(&own)
        .map_err(|error| StoreError::invalid(path.display(), "settings that JSON can hold", error))?;
    if place.create(&name, &bytes)? {
        return Ok(());
    }
    // The session has been removed because all shards are whole.
    let Some(there) = place.read(&name)? else { return Ok(()) };
    // Only another version of the program writes a file that this one cannot parse.
    let there: Option<Session> = serde_json::from_slice(&there).ok();
    let version = there.as_ref().map_or_else(|| "another".to_owned(), |there| there.hayloft_version.clone());
    let differs = |field: &str, expected: String, got: String| {
        Err(StoreError::Mismatch { path: PathBuf::from(&path), field: field.to_owned(), expected, got })
    };
    let Some(there) = there.filter(|_| version == own.hayloft_version) else {
        return differs("hayloft_version", own.hayloft_version, version);
    };
    if there.plan_blake3 != own.plan_blake3 {
        return differs("plan_blake3", own.plan_blake3, there.plan_blake3);
    }
    match own.settings.difference(&there.settings) {
        Some((field, expected, got)) => differs(&field, expected, got),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::support::settings;
    use crate::workers::place::FolderClaims;
    use hayloft_runtime::Dtype;

    #[test]
    fn workers_of_another_version_plan_or_model_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let place = FolderClaims::open(folder.path(), "w").unwrap();
        let ours = settings(Dtype::Bf16, Codec::PLANES);
        let join = |plan: &str, settings: &HarvestSettings| join(&place, folder.path(), plan, settings);
        join("aa", &ours).unwrap();
        join("aa", &ours).unwrap();
        assert!(join("bb", &ours).unwrap_err().to_string().contains("plan_blake3 differs"));
        let mut other = ours.clone();
        other.model.identity.as_mut().unwrap().tensors_sha256 = "f".repeat(64);
        assert!(join("aa", &other).unwrap_err().to_string().contains("model.tensors"));

        let path = folder.path().join("claims/session.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let version = format!("\"{}\"", env!("CARGO_PKG_VERSION"));
        for changed in [text.replace(&version, "\"9.9.9\""), "{}".to_owned()] {
            std::fs::write(&path, changed).unwrap();
            let error = join("aa", &ours).unwrap_err().to_string();
            assert!(error.contains("hayloft_version differs") && error.contains("session.json"), "{error}");
        }
    }
}
