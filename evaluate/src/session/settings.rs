//! Settings of an evaluation.

use std::path::{Path, PathBuf};

use hayloft_model::Site;
use hayloft_results::Bootstrap;
use hayloft_rows::{ExcludeChoice, OutlierNorm, ScaleChoice, SectionChoice};
use hayloft_runtime::Dtype;
use hayloft_sae::SaeOptions;
use hayloft_store::RemoteOptions;
use tch::Device;

use crate::error::EvaluateError;
use crate::metrics::kl::KlChoice;
use crate::session::weights::WeightsChoice;

/// How several SAEs are spliced into the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Splice {
    /// One at a time, all at the same site.
    #[default]
    EachAlone,
    /// All at once, each at a different site.
    Together,
}

/// Settings of an evaluation.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// Folder of the checkpoint that the cache was harvested from; without it there are no losses, only metrics on
    /// activations.
    pub model: Option<PathBuf>,
    /// Folder of the cache's tokenizer; `None` takes the model's.
    pub tokenizer: Option<PathBuf>,
    /// Folder of the cache, or its URL, such as `s3://farm/stories`.
    pub cache: PathBuf,
    /// How a remote cache is accessed, and where data read from it are stored locally.
    pub remote: RemoteOptions,
    /// Folder of the baselines; `None` uses the cache's own.
    pub baselines: Option<PathBuf>,
    /// Folders of the SAEs, all of one site.
    pub saes: Vec<PathBuf>,
    /// How several SAEs are spliced into the model.
    pub splice: Splice,
    /// What the user says of the SAEs that their files do not say.
    pub sae_options: SaeOptions,
    /// The site; `None` takes it from the SAEs.
    pub site: Option<Site>,
    /// Sections of rows to evaluate, with one set of results for each. Empty means all rows.
    pub sections: Vec<SectionChoice>,
    /// Activations with a larger norm are outliers.
    pub outlier_norm: Option<OutlierNorm>,
    /// Tokens excluded from the metrics, by kind.
    pub exclude: ExcludeChoice,
    /// The weights convention that the SAEs were trained on.
    pub weights: WeightsChoice,
    /// The factor that activations are multiplied by.
    pub scale: ScaleChoice,
    /// The device to compute on.
    pub device: Device,
    /// Precision of the upper model; `None` uses that of the cache's model. SAEs run in float32.
    pub precision: Option<Dtype>,
    /// Precision of all matrix products, of model and SAEs, for speed. Its effect on each metric is measured on a
    /// sample. Overrides `precision`; clean losses still come from the cache.
    pub compute: Option<Dtype>,
    /// How KL(clean ‖ spliced) is computed; `None` omits it. Needs a model.
    pub kl: Option<KlChoice>,
    /// Bootstrap of the metrics' intervals; `None` omits them.
    pub bootstrap: Option<Bootstrap>,
    /// Whether to compute metrics per subset of the corpus.
    pub by_subset: bool,
}

impl RunSettings {
    /// Settings with every option at its default: all rows, no outliers, on the CPU.
    pub fn new(model: impl Into<PathBuf>, cache: impl Into<PathBuf>, saes: Vec<PathBuf>) -> Self {
        Self {
            model: Some(model.into()),
            tokenizer: None,
            cache: cache.into(),
            remote: RemoteOptions::default(),
            baselines: None,
            saes,
            splice: Splice::default(),
            sae_options: SaeOptions::default(),
            site: None,
            sections: Vec::new(),
            outlier_norm: None,
            exclude: ExcludeChoice::default(),
            weights: WeightsChoice::default(),
            scale: ScaleChoice::default(),
            device: Device::Cpu,
            precision: None,
            compute: None,
            kl: None,
            bootstrap: None,
            by_subset: false,
        }
    }

    /// The folder of the cache's tokenizer, if one is named.
    pub(crate) fn tokenizer_folder(&self) -> Option<&Path> {
        self.tokenizer.as_deref().or(self.model.as_deref())
    }

    /// The sections without duplicates, in the order given.
    pub(crate) fn sections(&self) -> Vec<SectionChoice> {
        let sections = each_once(&self.sections);
        if sections.is_empty() { vec![SectionChoice::All] } else { sections }
    }

    /// Returns an error for settings that are unsupported when SAEs are spliced together.
    fn check_together(&self) -> Result<(), EvaluateError> {
        if self.model.is_none() {
            return Err(EvaluateError::TogetherWithoutModel);
        }
        let median = matches!(self.outlier_norm, Some(OutlierNorm::MedianMultiple(_)));
        for (what, given) in [("--site", self.site.is_some()), ("--outlier-norm of a median", median)] {
            if given {
                let (expected, got) = ("none of it with --splice-together", "given".to_owned());
                return Err(EvaluateError::Setting { what, expected, got });
            }
        }
        Ok(())
    }

    /// Returns an error for invalid settings.
    pub(crate) fn check(&self) -> Result<(), EvaluateError> {
        if self.saes.is_empty() {
            return Err(hayloft_train::SiteError::NoSaes.into());
        }
        if let (Some(choice), None) = (self.kl, &self.model) {
            return Err(EvaluateError::KlWithoutModel { choice });
        }
        let resamples = self.bootstrap.unwrap_or_default().resamples;
        if !(Bootstrap::FEWEST..=Bootstrap::MOST).contains(&resamples) {
            let expected = "a number from 100 to 100000";
            return Err(EvaluateError::Setting { what: "number of resamples", expected, got: resamples.to_string() });
        }
        if self.splice == Splice::Together {
            self.check_together()?;
        }
        let positive = |number: f64| number.is_finite() && number > 0.0;
        if let Some(norm) = self.outlier_norm.filter(|norm| !positive(norm.number())) {
            let expected = "a norm above zero";
            return Err(EvaluateError::Setting { what: "outlier norm", expected, got: norm.to_string() });
        }
        if let ScaleChoice::Given(scale) = self.scale
            && !positive(scale)
        {
            let expected = "a number above zero";
            return Err(EvaluateError::Setting { what: "scale", expected, got: scale.to_string() });
        }
        Ok(())
    }
}

/// The items without duplicates, in order of first occurrence.
pub(crate) fn each_once<T: Copy + PartialEq>(items: &[T]) -> Vec<T> {
    let mut once = Vec::new();
    for &item in items {
        if !once.contains(&item) {
            once.push(item);
        }
    }
    once
}
