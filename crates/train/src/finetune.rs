//! Fine-tuning of existing SAEs.

use std::path::PathBuf;

use hayloft_model::Site;
use hayloft_runtime::Progress;
use hayloft_sae::{ArchitectureTensors, SaeFile, SaeFormat, SaeTensors};
use hayloft_store::{Cache, SiteRecord};
use serde_json::{Map, Value, json};

use crate::agreement::sae_site::{SiteError, check_width, held_site, wanted_site};
use crate::agreement::training_origin::training_origin;
use crate::error::TrainError;
use crate::files::provenance::metadata;
use crate::messages::summary::TrainingSummary;
use crate::model::{Fold, reopen};
use crate::selection::{Selection, open_cache};
use crate::session::{self, Job};
use crate::settings::architecture::{Architecture, Penalty};
use crate::settings::course::Course;

/// Settings of a fine-tuning.
#[derive(Debug, Clone)]
pub struct FinetuneSettings {
    /// Data, duration, learning rate and output folder.
    pub course: Course,
    /// The SAE's folder. Architecture, k, input bias and normalisation are kept.
    pub sae: PathBuf,
    /// The site; `None` uses the SAE's site.
    pub site: Option<Site>,
    /// Loss coefficients; `None` uses those in the SAE's `cfg.json`.
    pub coefficients: Coefficients,
}

/// Loss coefficients of a fine-tuning.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Coefficients {
    /// The L1 coefficient of standard and gated SAEs.
    pub l1: Option<f64>,
    /// The penalty coefficient of a `JumpReLU`.
    pub l0: Option<f64>,
    /// The auxiliary (dead latent) loss coefficient of a `TopK`; SAELens's default if unknown.
    pub auxiliary: Option<f64>,
}

/// A fine-tuning whose settings, SAE and cache fit one another.
#[derive(Debug)]
pub struct Finetuning<'settings> {
    course: &'settings Course,
    file: SaeFile,
    cache: Cache,
    wanted: Site,
    site: SiteRecord,
    selection: Selection,
    parts: SaeTensors,
    architecture: Architecture,
}

impl<'settings> Finetuning<'settings> {
    /// Opens the SAE and the cache, and checks them against the settings.
    pub fn open(settings: &'settings FinetuneSettings) -> Result<Self, TrainError> {
        let course = &settings.course;
        course.check()?;
        let file = SaeFile::open(&settings.sae)?;
        if file.format() != SaeFormat::SAELENS || file.is_transcoder() {
            let got = format!("{}: {} in the format {}", settings.sae.display(), file.architecture(), file.format());
            let expected = "an autoencoder in SAELens's format, which `evaluate convert` makes of others";
            return Err(TrainError::setting("SAE to fine-tune", expected, &got));
        }
        let cache = open_cache(course)?;
        check_width(&file, &cache)?;
        let wanted = wanted_site(settings.site, std::slice::from_ref(&file), &cache)?;
        let site = held_site(wanted, &cache)?.clone();
        let (expected, got) = (site.d_model, file.d_model());
        if expected != got {
            let sae = settings.sae.clone();
            return Err(SiteError::SaeWidth { sae, what: "activations", expected, got }.into());
        }
        let origin = training_origin(&file)?;
        let recorded = origin.as_ref().and_then(|origin| origin.scale_rows.as_ref());
        let rule = course.scale().rule(file.normalisation().as_str(), recorded, &course.rows());
        let selection = Selection::of(course, &rule, (&cache, &site))?;
        let parts = file.tensors()?;
        let architecture = architecture(&parts, &file, settings.coefficients)?;
        architecture.check(file.width())?;
        Ok(Self { course, file, cache, wanted, site, selection, parts, architecture })
    }

    /// The SAE that the training starts from.
    pub fn file(&self) -> &SaeFile {
        &self.file
    }

    /// The site of the training.
    pub fn site(&self) -> Site {
        self.wanted
    }

    /// Trains, and saves the result in the SAE's original space.
    pub fn train(self, progress: Progress) -> Result<TrainingSummary, TrainError> {
        let Self { course, file, cache, site, selection, parts, architecture, .. } = self;
        let mut metadata = metadata(&cache, &site, course, &selection);
        keep_metadata(&mut metadata, &file);
        metadata.insert("finetuned_from".to_owned(), json!(file.hashes()));
        let weight_settings = json!({
            "finetuned_from": file.hashes(),
            "normalize_activations": file.normalisation().as_str(),
        });
        let job = Job {
            course,
            cache: &cache,
            site: &site,
            selection: &selection,
            architecture: &architecture,
            fold: Fold::Keep(file.normalisation()),
            settings: weight_settings.as_object().cloned().unwrap_or_default(),
            metadata,
        };
        let model = reopen(parts, &architecture, course.device)?;
        session::train(&job, model, progress)
    }
}

/// The SAE's architecture, with its loss coefficients.
fn architecture(parts: &SaeTensors, file: &SaeFile, given: Coefficients) -> Result<Architecture, TrainError> {
    let detail = |name: &str| file.raw_config().pointer("/metadata/training_architecture_details")?.get(name);
    let number = |name: &str| detail(name).and_then(Value::as_f64);
    let needed = |given: Option<f64>, what, name: &str| {
        given.or_else(|| number(name)).ok_or_else(|| {
            let sae = file.folder().display();
            let expected = format!("a coefficient, as {sae} does not say what it was trained with");
            TrainError::setting(what, expected, "none")
        })
    };
    let auxiliary = given.auxiliary.or_else(|| number("aux_loss_coefficient")).unwrap_or(Architecture::AUXILIARY);
    Ok(match parts.own {
        ArchitectureTensors::Standard { .. } => {
            Architecture::Standard { l1: needed(given.l1, "l1", "l1_coefficient")? }
        }
        ArchitectureTensors::Gated { .. } => Architecture::Gated { l1: needed(given.l1, "l1", "l1_coefficient")? },
        ArchitectureTensors::TopK { k, .. } => Architecture::TopK { k, auxiliary },
        ArchitectureTensors::BatchTopK { k, .. } => Architecture::BatchTopK {
            k: k.ok_or_else(|| TrainError::setting("k", "the cfg.json of a training checkpoint to say it", "none"))?,
            auxiliary,
        },
        ArchitectureTensors::JumpRelu { .. } => {
            let is_tanh = detail("jumprelu_sparsity_loss_mode").and_then(Value::as_str) == Some("tanh");
            let scale = number("jumprelu_tanh_scale").unwrap_or(Architecture::TANH_SCALE);
            Architecture::JumpRelu {
                l0: needed(given.l0, "l0", "l0_coefficient")?,
                penalty: if is_tanh { Penalty::Tanh { scale } } else { Penalty::L0 },
                bandwidth: number("jumprelu_bandwidth").unwrap_or(Architecture::BANDWIDTH),
                initial_threshold: Architecture::INITIAL_THRESHOLD,
            }
        }
    })
}

/// Keeps the SAE's own metadata, except for what training changes: the origin of the activations.
fn keep_metadata(metadata: &mut Map<String, Value>, file: &SaeFile) {
    if let Some(name) = file.model_name() {
        metadata.insert("base_model_name".to_owned(), json!(name));
    }
    for name in ["training_architecture", "training_architecture_details"] {
        if let Some(value) = file.raw_config().get("metadata").and_then(|metadata| metadata.get(name)) {
            metadata.insert(name.to_owned(), value.clone());
        }
    }
}
