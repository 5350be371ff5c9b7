//! Going on from an SAE that is there.

use std::path::PathBuf;

use hayloft_model::{Precision, Site};
use hayloft_store::Cache;
use hayloft_terminal::Progress;
use serde_json::{Map, Value, json};

use super::TrainError;
use super::architecture::{Architecture, Penalty};
use super::course::Course;
use super::model::{Fold, reopen};
use super::provenance::metadata;
use super::selection::Selection;
use super::session::{self, Job};
use super::summary::TrainingSummary;
use crate::results::Results;
use crate::sae::{Own, Parts};
use crate::sae_scale::recorded;
use crate::splice_point::{check_width, held_site, wanted_site};
use crate::subject::{Subject, check_section};
use crate::{EvaluateError, RunSettings, SaeFile, SaeFormat};

/// What a fine-tuning is asked for.
#[derive(Debug, Clone)]
pub struct FinetuneSettings {
    /// On what, how long, how fast, and where to.
    pub course: Course,
    /// Folder of the SAE. It keeps its architecture, k, input bias and normalisation.
    pub sae: PathBuf,
    /// The site; `None` takes it from the SAE.
    pub site: Option<Site>,
    /// What the losses are multiplied by; `None` is what the SAE's `cfg.json` says that it was trained with.
    pub coefficients: Coefficients,
    /// What is evaluated before and after.
    pub evaluation: Evaluation,
}

/// What the losses of a fine-tuning are multiplied by.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Coefficients {
    /// L1 of standard and gated SAEs.
    pub l1: Option<f64>,
    /// The penalty of a `JumpReLU`.
    pub l0: Option<f64>,
    /// The loss of dead latents of a `TopK`; otherwise SAELens's default.
    pub auxiliary: Option<f64>,
}

/// How an SAE is evaluated before and after it is fine-tuned.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// Folder of the checkpoint that the evaluated cache was harvested from.
    pub model: PathBuf,
    /// Folder of the cache; `None` is the one that is trained on.
    pub cache: Option<PathBuf>,
    /// What the model runs in; `None` is what the cache's model ran in.
    pub precision: Option<Precision>,
}

/// What came of a fine-tuning.
#[derive(Debug)]
pub struct Finetuned {
    /// The training.
    pub training: TrainingSummary,
    /// Results named `before` and `after`.
    pub results: Results,
}

/// Trains an SAE further, saves it in its own space, and evaluates it before and after.
pub fn finetune(settings: &FinetuneSettings, progress: Progress) -> Result<Finetuned, TrainError> {
    let course = &settings.course;
    course.check()?;
    let file = SaeFile::open(&settings.sae)?;
    if file.format() != SaeFormat::Saelens || file.is_transcoder() {
        let got = format!("{}: {} in the format {}", settings.sae.display(), file.architecture(), file.format());
        let expected = "an autoencoder in SAELens's format, which `evaluate convert` makes of others";
        return Err(EvaluateError::Setting { what: "SAE to fine-tune", expected, got }.into());
    }
    let cache = Cache::open_at(&course.cache, &course.remote)?;
    for &section in &course.sections {
        check_section(&cache, section)?;
    }
    check_width(&file, &cache)?;
    let wanted = wanted_site(settings.site, std::slice::from_ref(&file), &cache)?;
    let site = held_site(wanted, &cache)?;
    let (expected, got) = (site.d_model, file.d_model());
    if expected != got {
        let sae = settings.sae.clone();
        return Err(EvaluateError::SaeWidth { sae, what: "activations", expected, got }.into());
    }
    let rule = course.scale().rule(file.normalisation(), recorded(&file), &course.rows());
    let tokenizer = course.tokenizer.as_deref().unwrap_or(&settings.evaluation.model);
    let selection = Selection::of(course, &rule, (&cache, site), Some(tokenizer))?;
    let parts = file.parts()?;
    let architecture = architecture(&parts, &file, settings.coefficients)?;
    architecture.check(file.width())?;
    let mut evaluated = evaluation(settings, wanted);
    // What cannot be evaluated afterwards is refused now.
    Subject::open(&evaluated, std::slice::from_ref(&file))?;

    let mut metadata = metadata(&cache, site, course, &selection);
    keep_metadata(&mut metadata, &file);
    metadata.insert("finetuned_from".to_owned(), json!(file.hashes()));
    let own = json!({
        "architecture": architecture,
        "finetuned_from": file.hashes(),
        "normalize_activations": file.normalisation().as_str(),
    });
    let job = Job {
        course,
        cache: &cache,
        site,
        selection: &selection,
        coefficient: architecture.coefficient(),
        fold: Fold::Keep(file.normalisation()),
        settings: own.as_object().cloned().unwrap_or_default(),
        metadata,
    };
    let model = reopen(parts, &architecture, course.device)?;
    let training = session::train(&job, model, progress)?;

    evaluated.saes.push(course.out.clone());
    let mut results = crate::run(&evaluated, progress)?;
    let sections = results.results.len() / 2;
    for (place, result) in results.results.iter_mut().enumerate() {
        if place < sections { "before" } else { "after" }.clone_into(&mut result.sae);
    }
    results.write(&course.out)?;
    Ok(Finetuned { training, results })
}

fn evaluation(settings: &FinetuneSettings, site: Site) -> RunSettings {
    let FinetuneSettings { course, evaluation, .. } = settings;
    let cache = evaluation.cache.as_ref().unwrap_or(&course.cache);
    RunSettings {
        site: Some(site),
        sections: course.sections.clone(),
        exclude: course.exclude,
        outlier_norm: course.outlier_norm,
        scale: course.scale(),
        device: course.device,
        precision: evaluation.precision,
        remote: course.remote.clone(),
        ..RunSettings::new(&evaluation.model, cache, vec![settings.sae.clone()])
    }
}

/// The SAE's architecture, with what its losses are multiplied by.
fn architecture(parts: &Parts, file: &SaeFile, given: Coefficients) -> Result<Architecture, TrainError> {
    let detail = |name: &str| file.raw_config().pointer("/metadata/training_architecture_details")?.get(name);
    let number = |name: &str| detail(name).and_then(Value::as_f64);
    let needed = |given: Option<f64>, what, name: &str| {
        given.or_else(|| number(name)).ok_or_else(|| TrainError::Setting {
            what,
            expected: format!("a coefficient, as {} does not say what it was trained with", file.folder().display()),
            got: "none".to_owned(),
        })
    };
    let auxiliary = given.auxiliary.or_else(|| number("aux_loss_coefficient")).unwrap_or(Architecture::AUXILIARY);
    Ok(match parts.own {
        Own::Standard { .. } => Architecture::Standard { l1: needed(given.l1, "l1", "l1_coefficient")? },
        Own::Gated { .. } => Architecture::Gated { l1: needed(given.l1, "l1", "l1_coefficient")? },
        Own::TopK { k, .. } => Architecture::TopK { k, auxiliary },
        Own::BatchTopK { k, .. } => Architecture::BatchTopK {
            k: k.ok_or_else(|| TrainError::Setting {
                what: "k",
                expected: "the cfg.json of a training checkpoint to say it".to_owned(),
                got: "none".to_owned(),
            })?,
            auxiliary,
        },
        Own::JumpRelu { .. } => {
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

/// What the SAE says of itself stays, but for what training changes: where its activations came from.
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
