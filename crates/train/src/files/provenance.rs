//! The provenance stored in a saved SAE.

use hayloft_rows::TrainingOrigin;
use hayloft_runtime::ModelIdentity;
use hayloft_sae::LAYOUT_VERSION;
use hayloft_store::{Cache, SiteRecord};
use serde_json::{Map, Value, json};

use crate::agreement::tokens::begins_with_bos;
use crate::selection::Selection;
use crate::settings::course::Course;

/// The fields by which SAELens detects the layout of `cfg.json`.
pub(crate) fn layout() -> Map<String, Value> {
    let fields = [("sae_lens_version", json!(LAYOUT_VERSION)), ("sae_lens_training_version", Value::Null)];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Returns `metadata` of `cfg.json`: the fields that SAELens reads, and the SAE's provenance under `hayloft`.
pub(crate) fn metadata(cache: &Cache, site: &SiteRecord, course: &Course, selection: &Selection) -> Map<String, Value> {
    let manifest = cache.manifest();
    let origin = TrainingOrigin {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        corpus: manifest.corpus.name.clone(),
        cache_manifest_blake3: cache.manifest_blake3().to_owned(),
        model_sha256: manifest.model.identity.as_ref().map(ModelIdentity::sha256),
        scale: selection.scale.value,
        scale_source: selection.scale.source,
        scale_rows: selection.scale.rows.clone(),
        rows: selection.record(course),
    };
    let fields = [
        ("model_name", json!(manifest.model.model_type)),
        ("hook_name", json!(site.name)),
        ("context_size", json!(manifest.corpus.context_length)),
        ("hayloft", json!(origin)),
    ];
    let mut metadata = layout();
    let bos = begins_with_bos(manifest).map(|first| ("prepend_bos", json!(first)));
    metadata.extend(fields.into_iter().chain(bos).map(|(name, value)| (name.to_owned(), value)));
    metadata
}
