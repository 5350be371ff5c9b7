//! What is evaluated on: a cache and the model that it was harvested from, checked against one another.

use std::collections::BTreeMap;
use std::path::Path;

use hayloft_model::{Checkpoint, FileHash, Fingerprint, Precision, Site};
use hayloft_store::{Cache, Dtype, SiteRecord};
use tch::Device;

use crate::section_choice::SectionChoice;
use crate::upper_half::UpperHalf;
use crate::{EvaluateError, RunSettings, SaeFile};

/// A cache, its model, and the one site of both that is evaluated at.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) cache: Cache,
    /// The model; without it there are no losses.
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) fingerprint: Fingerprint,
    /// The site as the cache calls it.
    pub(crate) site: SiteRecord,
    /// The block that the site's residual enters.
    pub(crate) block: usize,
    /// What the cache's model ran in.
    pub(crate) cache_precision: Precision,
    /// What the model runs in now.
    pub(crate) precision: Precision,
}

impl Subject {
    /// Opens cache and model. Hashes the whole checkpoint: a cache of another model is refused before any figure.
    pub(crate) fn open(settings: &RunSettings, saes: &[SaeFile]) -> Result<Self, EvaluateError> {
        let cache = Cache::open(&settings.cache)?;
        let manifest = cache.manifest();
        if manifest.shards.is_empty() || manifest.held.tokens == 0 {
            return Err(EvaluateError::EmptyCache { cache: settings.cache.clone() });
        }
        for section in settings.sections() {
            check_section(&cache, section)?;
        }
        for sae in saes {
            let (expected, got) = (manifest.model.d_model, sae.d_model());
            if expected != got {
                return Err(EvaluateError::SaeWidth { sae: sae.folder().to_path_buf(), expected, got });
            }
        }
        let wanted = wanted_site(settings.site, saes, &cache)?;
        let checkpoint = settings.model.as_deref().map(Checkpoint::open).transpose()?;
        if let Some(checkpoint) = &checkpoint {
            wanted.check(checkpoint.spec().n_blocks)?;
        }
        let site = held_site(wanted, &cache)?.clone();
        let fingerprint = match &checkpoint {
            Some(checkpoint) => {
                let fingerprint = checkpoint.fingerprint()?;
                check_model(&cache, checkpoint, &fingerprint)?;
                fingerprint
            }
            None => recorded_fingerprint(&cache),
        };
        let cache_precision = precision(cache.manifest().model.precision);
        Ok(Self {
            checkpoint,
            fingerprint,
            site,
            block: wanted.block(),
            cache_precision,
            precision: settings.compute.or(settings.precision).unwrap_or(cache_precision),
            cache,
        })
    }

    /// The model from the site on, if there is one.
    pub(crate) fn upper_half(&self, precision: Precision, device: Device) -> Result<Option<UpperHalf>, EvaluateError> {
        let load = |checkpoint| UpperHalf::load(checkpoint, self.block, precision, device);
        self.checkpoint.as_ref().map(load).transpose()
    }
}

/// The model that the cache says it is of.
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

/// The site of all SAEs, or the one that the user names and no SAE contradicts.
pub(crate) fn wanted_site(named: Option<Site>, saes: &[SaeFile], cache: &Cache) -> Result<Site, EvaluateError> {
    let mut wanted = named;
    for sae in saes {
        let path = || sae.folder().to_path_buf();
        let Some(name) = sae.site() else {
            if named.is_some() {
                continue;
            }
            return Err(EvaluateError::SaeWithoutSite { sae: path(), available: sites_in_words(cache) });
        };
        let site: Site = name.parse().map_err(|_| EvaluateError::SaeSite {
            sae: path(),
            expected: "a residual stream (blocks.L.hook_resid_pre or blocks.L.hook_resid_post)".to_owned(),
            got: name.to_owned(),
            advice: "SAEs of other sites cannot be evaluated yet",
        })?;
        match wanted {
            Some(wanted) if wanted.block() != site.block() => {
                let advice = if named.is_some() {
                    "Leave --site out, or give an SAE of that site"
                } else {
                    "Evaluate SAEs of different sites one site at a time"
                };
                return Err(EvaluateError::SaeSite {
                    sae: path(),
                    expected: wanted.to_string(),
                    got: site.to_string(),
                    advice,
                });
            }
            Some(_) => {}
            None => wanted = Some(site),
        }
    }
    wanted.ok_or(EvaluateError::NoSaes)
}

/// The cache's record of the residual that enters the same block, whatever its name.
pub(crate) fn held_site(wanted: Site, cache: &Cache) -> Result<&SiteRecord, EvaluateError> {
    let same =
        |record: &&SiteRecord| record.name.as_str().parse::<Site>().is_ok_and(|site| site.block() == wanted.block());
    let found = cache.manifest().sites.iter().find(same).ok_or_else(|| EvaluateError::SiteNotHeld {
        cache: cache.folder().to_path_buf(),
        wanted: wanted.to_string(),
        available: sites_in_words(cache),
    })?;
    if found.name.as_str() != wanted.to_string() {
        tracing::info!(asked = %wanted, held = %found.name, "the cache holds the same residual under another name");
    }
    Ok(found)
}

fn sites_in_words(cache: &Cache) -> String {
    cache.manifest().sites.iter().map(|site| site.name.to_string()).collect::<Vec<_>>().join(", ")
}

/// Refuses a section that no token is in.
pub(crate) fn check_section(cache: &Cache, section: SectionChoice) -> Result<(), EvaluateError> {
    let SectionChoice::Only(only) = section else { return Ok(()) };
    let held = &cache.manifest().held.sections;
    if held.get(&only).is_some_and(|&tokens| tokens > 0) {
        return Ok(());
    }
    let available = held.iter().map(|(section, tokens)| format!("{section} ({tokens})")).collect::<Vec<_>>();
    Err(EvaluateError::EmptySection {
        cache: cache.folder().to_path_buf(),
        section: only.to_string(),
        available: available.join(", "),
    })
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
    // The weights come first: which checkpoint it is says more than that its configuration was touched.
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

/// The store's name of a type as the model's.
fn precision(dtype: Dtype) -> Precision {
    match dtype {
        Dtype::F32 => Precision::F32,
        Dtype::Bf16 => Precision::Bf16,
        Dtype::F16 => Precision::F16,
    }
}

/// Opens the SAEs' folders, in the order given.
pub(crate) fn open_saes<'path>(folders: impl IntoIterator<Item = &'path Path>) -> Result<Vec<SaeFile>, EvaluateError> {
    folders.into_iter().map(|folder| Ok(SaeFile::open(folder)?)).collect()
}
