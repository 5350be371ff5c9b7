//! The evaluated cache and the model it was harvested from, checked against each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hayloft_model::{Checkpoint, DecoderSpec};
use hayloft_results::{KlMethod, ModelWeights};
use hayloft_rows::Excluded;
use hayloft_runtime::{Dtype, FileHash, Fingerprint};
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
    pub(crate) fingerprint: Fingerprint,
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
    /// Opens the cache and the model. Hashes the whole checkpoint, so that a cache of another model is rejected first.
    pub(crate) fn open(settings: &RunSettings, saes: &[SaeFile]) -> Result<Self, EvaluateError> {
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
            special_tokens::<EvaluateError>(&cache, settings.model.as_deref())
        })?;
        let fingerprint = match &checkpoint {
            Some(checkpoint) => {
                let fingerprint = checkpoint.fingerprint()?;
                check_model(&cache, checkpoint, &fingerprint)?;
                fingerprint
            }
            None => recorded_fingerprint(&cache),
        };
        let baselines = settings.baselines.clone().unwrap_or_else(|| cache.folder().join(baseline::FOLDER));
        let cache_precision = cache.manifest().model.precision;
        Ok(Self {
            baselines,
            checkpoint,
            fingerprint,
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

/// The model recorded in the cache's manifest.
fn recorded_fingerprint(cache: &Cache) -> Fingerprint {
    let record = &cache.manifest().model;
    let weights = record.weights.iter();
    Fingerprint {
        model_type: record.model_type.clone(),
        config_blake3: record.config_blake3.clone(),
        weights: weights
            .map(|file| FileHash { file: file.path.clone(), bytes: file.bytes, blake3: file.blake3.clone() })
            .collect(),
    }
}

fn check_model(cache: &Cache, checkpoint: &Checkpoint, fingerprint: &Fingerprint) -> Result<(), EvaluateError> {
    let record = &cache.manifest().model;
    if !record.is_known() {
        let (cache, model) = (cache.folder().to_path_buf(), checkpoint.folder().to_path_buf());
        return Err(EvaluateError::UnknownModel { cache, model });
    }
    let differs = |what: String, expected: &str, got: &str| EvaluateError::OtherModel {
        cache: cache.folder().to_path_buf(),
        model: checkpoint.folder().to_path_buf(),
        what,
        expected: expected.to_owned(),
        got: got.to_owned(),
    };
    let Fingerprint { model_type, config_blake3, weights } = fingerprint;
    if *model_type != record.model_type {
        return Err(differs("model_type".to_owned(), &record.model_type, model_type));
    }
    // Weights are compared first: a different checkpoint is more informative than an edited configuration.
    let expected: BTreeMap<&str, &str> =
        record.weights.iter().map(|file| (file.path.as_str(), file.blake3.as_str())).collect();
    let got: BTreeMap<&str, &str> =
        weights.iter().map(|FileHash { file, blake3, .. }| (file.as_str(), blake3.as_str())).collect();
    for name in expected.keys().chain(got.keys()) {
        let (expected, got) = (expected.get(name), got.get(name));
        if expected != got {
            let say = |hash: Option<&&str>| hash.map_or("no such file".to_owned(), |hash| format!("BLAKE3 {hash}"));
            return Err(differs((*name).to_owned(), &say(expected), &say(got)));
        }
    }
    if *config_blake3 != record.config_blake3 {
        let say = |hash: &str| format!("BLAKE3 {hash}");
        return Err(differs("config.json".to_owned(), &say(&record.config_blake3), &say(config_blake3)));
    }
    Ok(())
}

pub(crate) fn open_saes<'path>(
    paths: impl IntoIterator<Item = &'path Path>,
    options: &SaeOptions,
) -> Result<Vec<SaeFile>, EvaluateError> {
    paths.into_iter().map(|path| Ok(SaeFile::open_with(path, options)?)).collect()
}
