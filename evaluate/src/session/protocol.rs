//! The protocol of a run: the facts recorded with the metrics, which all parts of one run must share.

use hayloft_results::{CleanCheck, CleanSource, DEFINITIONS, KlMethod, ResultConventions, SaeProvenance};
use hayloft_rows::{MedianRule, OutlierThreshold, Scale};
use hayloft_sae::{SaeError, SaeFile};
use hayloft_train::training_origin;

use crate::parts::{CacheIdentity, KlProtocol, Protocol};
use crate::session::context::EvaluationContext;
use crate::session::settings::{RunSettings, Splice};

pub(crate) fn cache_identity(context: &EvaluationContext) -> CacheIdentity {
    let manifest = context.cache.manifest();
    CacheIdentity {
        manifest_blake3: context.cache.manifest_blake3().to_owned(),
        corpus: manifest.corpus.name.clone(),
        model: context.model.clone(),
        tokens: manifest.held.tokens,
        shards: manifest.shards.iter().map(|shard| shard.index).collect(),
    }
}

/// The resolved settings.
pub(crate) fn protocol(
    settings: &RunSettings,
    context: &EvaluationContext,
    (clean_source, kl, median): (Option<CleanSource>, Option<KlMethod>, Option<MedianRule>),
    site: Option<String>,
) -> Protocol {
    let EvaluationContext { weights, excluded, precision, cache_precision, .. } = context;
    let of_method = |method| KlProtocol {
        method,
        clean_precision: if method == KlMethod::Recomputed { *precision } else { *cache_precision },
        spliced_precision: *precision,
    };
    Protocol {
        splice_together: settings.splice == Splice::Together,
        site,
        sections: settings.sections(),
        outlier_norm: settings.outlier_norm.map(|norm| norm.to_string()),
        scale: settings.scale.to_string(),
        conventions: ResultConventions {
            weights: *weights,
            exclude: excluded.choice,
            excluded_tokens: excluded.tokens(),
            outlier_median: median,
            spliced_with: Vec::new(),
        },
        precision: *precision,
        compute: settings.compute,
        clean_loss_source: clean_source,
        kl: kl.map(of_method),
        bootstrap: settings.bootstrap.map(|bootstrap| bootstrap.resamples),
        by_subset: settings.by_subset,
        definitions: DEFINITIONS.to_owned(),
    }
}

/// Identifies the SAE. Reads its weights once.
pub(crate) fn provenance(file: &SaeFile) -> Result<SaeProvenance, SaeError> {
    Ok(SaeProvenance {
        folder: file.folder().display().to_string(),
        format: file.format().as_str().to_owned(),
        architecture: file.architecture().to_owned(),
        width: file.width(),
        normalize_activations: file.normalisation().as_str().to_owned(),
        site: file.site().map(str::to_owned),
        model_name: file.model_name().map(str::to_owned),
        files: file.hashes(),
        training: training_origin(file)?,
    })
}

/// The norm threshold of outliers for an SAE with this scale.
pub(crate) fn threshold(settings: &RunSettings, median: Option<MedianRule>, scale: &Scale) -> Option<OutlierThreshold> {
    settings.outlier_norm?.resolve(scale.value, median)
}

/// Warns if an SAE trained by hayloft left out other rows in training, because of their norm, than the run does.
pub(crate) fn warn_of_other_outliers(
    file: &SaeFile,
    name: &str,
    scale: &Scale,
    threshold: Option<&OutlierThreshold>,
) -> Result<(), SaeError> {
    let is_scaled = scale.source.is_scaled(file.normalisation().as_str());
    if let Some(other) = training_origin(file)?.and_then(|training| training.other_outliers(threshold, is_scaled)) {
        tracing::warn!(sae = %name, "{}", other.beside(threshold));
    }
    Ok(())
}

/// Whether spliced predictions are compared with the cache's clean predictions. They are if both have the same
/// precision, or if the run uses a lower one only for speed.
pub(crate) fn takes_cached_losses(settings: &RunSettings, context: &EvaluationContext) -> bool {
    context.cache_precision == context.precision || settings.compute.is_some()
}

/// Logs the outcome of the clean check and decides where clean losses come from; `None` without a model.
pub(crate) fn clean_source(
    settings: &RunSettings,
    context: &EvaluationContext,
    clean_check: Option<CleanCheck>,
) -> Option<CleanSource> {
    if context.checkpoint.is_none() {
        tracing::info!("no --model, so no losses: L0, error and explained variance only");
        return None;
    }
    if let Some(CleanCheck { tokens, max_difference, tolerance }) = clean_check {
        tracing::info!(
            tokens,
            max_difference,
            tolerance,
            "clean loss from the cached residual, against the cached loss"
        );
    }
    let (cache, now) = (context.cache_precision, context.precision);
    Some(if context.cache.manifest().predictions.is_none() {
        tracing::info!("the cache keeps no losses (--logits none), so the clean losses are computed too");
        CleanSource::Recomputed
    } else if !takes_cached_losses(settings, context) {
        tracing::info!(%cache, %now, "the cached losses are of another precision, so the clean losses are computed again");
        CleanSource::Recomputed
    } else {
        CleanSource::Cache
    })
}
