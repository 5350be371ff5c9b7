//! Fine-tuning with an evaluation before and after.

use std::path::PathBuf;

use hayloft_model::Site;
use hayloft_results::Results;
use hayloft_runtime::{Dtype, Progress};
use hayloft_train::{FinetuneSettings, Finetuning, TrainingSummary};

use crate::error::EvaluateError;
use crate::run::run;
use crate::session::context::EvaluationContext;
use crate::session::settings::RunSettings;

/// How an SAE is evaluated before and after fine-tuning.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// Folder of the checkpoint that the evaluated cache was harvested from.
    pub model: PathBuf,
    /// Folder of the cache; `None` uses the training cache.
    pub cache: Option<PathBuf>,
    /// Precision of the model; `None` uses that of the cache's model.
    pub precision: Option<Dtype>,
}

/// The outcome of a fine-tuning.
#[derive(Debug)]
pub struct Finetuned {
    /// Summary of the training.
    pub training: TrainingSummary,
    /// Results named `before` and `after`.
    pub results: Results,
}

/// Fine-tunes an SAE, saves it with its original normalisation, and evaluates it before and after. Special tokens come
/// from the evaluated model's tokenizer unless the settings name another.
pub fn finetune(
    settings: &FinetuneSettings,
    evaluation: &Evaluation,
    progress: Progress,
) -> Result<Finetuned, EvaluateError> {
    let mut settings = settings.clone();
    settings.course.tokenizer.get_or_insert_with(|| evaluation.model.clone());
    let finetuning = Finetuning::open(&settings)?;
    let mut evaluated = evaluation_settings(&settings, evaluation, finetuning.site());
    // Reject before training what could not be evaluated afterwards.
    EvaluationContext::open(&evaluated, std::slice::from_ref(finetuning.file()), progress)?;
    let training = finetuning.train(progress)?;
    evaluated.saes.push(settings.course.out.clone());
    let mut results = run(&evaluated, progress)?;
    let sections = results.results.len() / 2;
    for (place, result) in results.results.iter_mut().enumerate() {
        if place < sections { "before" } else { "after" }.clone_into(&mut result.sae);
    }
    results.write(&settings.course.out)?;
    Ok(Finetuned { training, results })
}

fn evaluation_settings(settings: &FinetuneSettings, evaluation: &Evaluation, site: Site) -> RunSettings {
    let course = &settings.course;
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
