//! The evaluated cache and the model it was harvested from, checked against each other.

use std::path::{Path, PathBuf};

use hayloft_checkpoint::{Checkpoint, DecoderSpec};
use hayloft_results::{KlMethod, ModelProvenance, ModelWeights};
use hayloft_rows::Excluded;
use hayloft_runtime::{Dtype, IdentityDifference, ModelIdentity, Progress};
use hayloft_sae::{SaeFile, SaeOptions};
use hayloft_store::Cache;
use hayloft_train::special_tokens;
use tch::Device;

use crate::baseline;
use crate::data::reader::CacheReader;
use crate::error::EvaluateError;
use crate::session::settings::RunSettings;
use crate::session::splice_site::SpliceSite;
use crate::splice::upper_model::UpperModel;

/// A cache, its model, and the site of the evaluation.
#[derive(Debug)]
pub(crate) struct EvaluationContext {
    pub(crate) cache: Cache,
    /// The folder of the baselines.
    pub(crate) baselines: PathBuf,
    /// The model; without it there are no losses.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The model that the cache records, and that `checkpoint` is.
    pub(crate) model: ModelProvenance,
    /// The site that SAEs read and write; the lowest one of SAEs that are spliced together.
    pub(crate) point: SpliceSite,
    /// The weights convention that the SAEs were trained on.
    pub(crate) weights: ModelWeights,
    /// Tokens excluded from the metrics.
    pub(crate) excluded: Excluded,
    /// Precision of the cache's model.
    pub(crate) cache_precision: Dtype,
    /// Precision of the model in this run.
    pub(crate) precision: Dtype,
}

impl EvaluationContext {
    /// Opens the cache and the model. Identifies the model first, so that a cache of another one is refused.
    pub(crate) fn open(settings: &RunSettings, saes: &[SaeFile], progress: Progress) -> Result<Self, EvaluateError> {
        let cache = Cache::open_at(&settings.cache, &settings.remote)?;
        let manifest = cache.manifest();
        if manifest.shards.is_empty() || manifest.held.tokens == 0 {
            return Err(EvaluateError::EmptyCache { cache: settings.cache.clone() });
        }
        for section in settings.sections() {
            section.check(&cache)?;
        }
        let checkpoint = settings.model.as_deref().map(Checkpoint::open).transpose()?;
        let spec = checkpoint.as_ref().map(Checkpoint::spec);
        let point = SpliceSite::find(settings.site, saes, &cache, spec)?;
        let weights = settings.weights.resolve(saes, spec, &point)?;
        let excluded = Excluded::of(settings.exclude, &cache, || {
            special_tokens::<EvaluateError>(&cache, settings.tokenizer_folder())
        })?;
        if let Some(checkpoint) = &checkpoint {
            check_model(&cache, checkpoint, progress)?;
        }
        let record = &cache.manifest().model;
        let model = ModelProvenance {
            model_type: record.model_type.clone(),
            identity_sha256: record.identity.as_ref().map(ModelIdentity::sha256),
        };
        let baselines = settings.baselines.clone().unwrap_or_else(|| cache.folder().join(baseline::FOLDER));
        let cache_precision = cache.manifest().model.precision;
        Ok(Self {
            baselines,
            checkpoint,
            model,
            point,
            weights,
            excluded,
            cache_precision,
            precision: settings.compute.or(settings.precision).unwrap_or(cache_precision),
            cache,
        })
    }

    pub(crate) fn spec(&self) -> Option<&DecoderSpec> {
        self.checkpoint.as_ref().map(Checkpoint::spec)
    }

    /// A reader of a site of the cache for a device, including the inputs of divergences.
    pub(crate) fn source<'own>(
        &'own self,
        point: &'own SpliceSite,
        device: Device,
        kl: Option<KlMethod>,
    ) -> CacheReader<'own> {
        let Self { cache, weights, excluded, .. } = self;
        CacheReader { cache, point, device, excluded, weights: *weights, kl }
    }

    /// The model from the target site up, if there is a model.
    pub(crate) fn upper_model(&self, precision: Dtype, device: Device) -> Result<Option<UpperModel>, EvaluateError> {
        let load = |checkpoint| UpperModel::load(checkpoint, self.point.target_site, precision, device);
        self.checkpoint.as_ref().map(load).transpose()
    }
}

/// Refuses a model that is not the one that the cache records.
pub(crate) fn check_model(cache: &Cache, checkpoint: &Checkpoint, progress: Progress) -> Result<(), EvaluateError> {
    let (folder, model) = (cache.folder().to_path_buf(), checkpoint.folder().to_path_buf());
    let Some(recorded) = &cache.manifest().model.identity else {
        return Err(EvaluateError::UnknownModel { cache: folder, model });
    };
    let gauge = progress.bytes("identifying the model", Some(checkpoint.tensor_bytes()));
    let identity = checkpoint.identity(&|bytes| gauge.advance(bytes))?;
    match recorded.difference(&identity) {
        None => Ok(()),
        Some(IdentityDifference { what, expected, got }) => {
            Err(EvaluateError::OtherModel { cache: folder, model, what, expected, got })
        }
    }
}

pub(crate) fn open_saes<'path>(
    paths: impl IntoIterator<Item = &'path Path>,
    options: &SaeOptions,
) -> Result<Vec<SaeFile>, EvaluateError> {
    paths.into_iter().map(|path| Ok(SaeFile::open_with(path, options)?)).collect()
}
