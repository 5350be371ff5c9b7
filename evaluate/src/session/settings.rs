//! What an evaluation is asked for.

use std::path::PathBuf;

use hayloft_model::Site;
use hayloft_results::Bootstrap;
use hayloft_rows::{ExcludeChoice, OutlierNorm, ScaleChoice, SectionChoice};
use hayloft_runtime::Dtype;
use hayloft_sae::SaeFormat;
use hayloft_store::RemoteOptions;
use tch::Device;

use crate::error::EvaluateError;
use crate::metrics::kl::KlChoice;
use crate::session::weights::WeightsChoice;

/// How several SAEs are put into the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Splice {
    /// Each by itself, all at one site.
    #[default]
    EachAlone,
    /// All at once, each at a site of its own.
    Together,
}

/// What an evaluation is asked for.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// Folder of the checkpoint that the cache was harvested from; without it there are no losses, only the figures on
    /// activations.
    pub model: Option<PathBuf>,
    /// Folder of the cache, or its location, such as `s3://farm/stories`.
    pub cache: PathBuf,
    /// How a cache at a location is reached, and where what is read from it is kept.
    pub remote: RemoteOptions,
    /// Folder in which baselines are kept; `None` is the cache's own.
    pub baselines: Option<PathBuf>,
    /// Folders of the SAEs, all of one site.
    pub saes: Vec<PathBuf>,
    /// How several SAEs are put into the model.
    pub splice: Splice,
    /// The format of the SAEs; `None` tells it from their files.
    pub sae_format: Option<SaeFormat>,
    /// The site; `None` takes it from the SAEs.
    pub site: Option<Site>,
    /// Which rows; one set of results for each. Empty means all rows.
    pub sections: Vec<SectionChoice>,
    /// Activations of a larger norm than this are outliers.
    pub outlier_norm: Option<OutlierNorm>,
    /// Tokens that are left out of figures for what they are.
    pub exclude: ExcludeChoice,
    /// The weights that the SAEs were trained on.
    pub weights: WeightsChoice,
    /// What activations are multiplied by.
    pub scale: ScaleChoice,
    /// Where to compute.
    pub device: Device,
    /// What the model's upper model runs in; `None` is what the cache's model ran in. SAEs run in float32.
    pub precision: Option<Dtype>,
    /// What all matrix products are computed in, of model and SAEs, for speed; what that does to each figure is measured on
    /// a sample. Takes the place of `precision`; clean losses stay the cache's.
    pub compute: Option<Dtype>,
    /// How KL(clean ‖ spliced) is computed; `None` leaves it out. It takes a model.
    pub kl: Option<KlChoice>,
    /// How figures get their intervals; `None` leaves them out.
    pub bootstrap: Option<Bootstrap>,
    /// Whether figures of each subset of the corpus are wanted.
    pub by_subset: bool,
}

impl RunSettings {
    /// Settings with every choice left at its default: all rows, no outliers, on the CPU.
    pub fn new(model: impl Into<PathBuf>, cache: impl Into<PathBuf>, saes: Vec<PathBuf>) -> Self {
        Self {
            model: Some(model.into()),
            cache: cache.into(),
            remote: RemoteOptions::default(),
            baselines: None,
            saes,
            splice: Splice::default(),
            sae_format: None,
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

    /// The sections, each once, in the order given.
    pub(crate) fn sections(&self) -> Vec<SectionChoice> {
        let sections = each_once(&self.sections);
        if sections.is_empty() { vec![SectionChoice::All] } else { sections }
    }

    /// Refuses what is not computed where SAEs are in place at once.
    fn check_together(&self) -> Result<(), EvaluateError> {
        if self.model.is_none() {
            return Err(EvaluateError::TogetherWithoutModel);
        }
        let median = matches!(self.outlier_norm, Some(OutlierNorm::MedianMultiple(_)));
        for (what, given) in [
            ("--site", self.site.is_some()),
            ("--kl", self.kl.is_some()),
            ("--compute", self.compute.is_some()),
            ("--bootstrap", self.bootstrap.is_some()),
            ("--by subset", self.by_subset),
            ("--outlier-norm of a median", median),
        ] {
            if given {
                let (expected, got) = ("none of it with --splice-together", "given".to_owned());
                return Err(EvaluateError::Setting { what, expected, got });
            }
        }
        Ok(())
    }

    /// Refuses what makes no sense.
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

/// The items without those that came before already.
pub(crate) fn each_once<T: Copy + PartialEq>(items: &[T]) -> Vec<T> {
    let mut once = Vec::new();
    for &item in items {
        if !once.contains(&item) {
            once.push(item);
        }
    }
    once
}
