//! What a saved SAE says of its origin.

use hayloft_store::{Cache, SiteRecord};
use serde_json::{Map, Value, json};

use crate::sae::LAYOUT_VERSION;
use crate::scale::Scale;
use crate::trained_on::begins_with_bos;

/// What tells SAELens which layout `cfg.json` has.
pub(super) fn layout() -> Map<String, Value> {
    let fields = [("sae_lens_version", json!(LAYOUT_VERSION)), ("sae_lens_training_version", Value::Null)];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// `metadata` of `cfg.json`: what SAELens reads, and in `hayloft` what the SAE was made from.
pub(super) fn metadata(cache: &Cache, site: &SiteRecord, scale: Scale) -> Map<String, Value> {
    let manifest = cache.manifest();
    let fields = [
        ("model_name", json!(manifest.model.model_type)),
        ("hook_name", json!(site.name)),
        ("context_size", json!(manifest.corpus.context_length)),
        (
            "hayloft",
            json!({
                "version": env!("CARGO_PKG_VERSION"),
                "corpus": manifest.corpus.name,
                "cache_manifest_blake3": cache.manifest_blake3(),
                "model_config_blake3": manifest.model.config_blake3,
                "scale": scale.value,
                "scale_source": scale.source,
            }),
        ),
    ];
    let mut metadata = layout();
    let bos = begins_with_bos(manifest).map(|first| ("prepend_bos", json!(first)));
    metadata.extend(fields.into_iter().chain(bos).map(|(name, value)| (name.to_owned(), value)));
    metadata
}
