//! The training rows, and the scale and outlier threshold derived from them.

use hayloft_rows::stream::RowFilter;
use hayloft_rows::{
    MedianRule, OutlierNorm, OutlierRule, OutlierThreshold, Rows, Scale, ScaleRule, TrainedRows, median_norm,
};
use hayloft_store::{Cache, SiteRecord};

use crate::agreement::tokens::special_tokens;
use crate::error::TrainError;
use crate::settings::course::Course;

/// Opens the cache of a training. Returns an error if it has no rows, or none in a section to train on.
pub(super) fn open_cache(course: &Course) -> Result<Cache, TrainError> {
    let cache = Cache::open_at(&course.cache, &course.remote)?;
    if cache.manifest().held.tokens == 0 {
        return Err(TrainError::EmptyCache { cache: course.cache.clone() });
    }
    for section in &course.sections {
        section.check(&cache)?;
    }
    Ok(cache)
}

/// The selected rows, with scale and outlier threshold.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) rows: Rows,
    pub(super) scale: Scale,
    pub(super) outliers: Option<OutlierThreshold>,
}

impl Selection {
    /// Resolves a course's row selection, with activations scaled by `scale`. Reads tables of the cache if the scale or
    /// threshold is computed from its rows.
    pub(super) fn of(
        course: &Course,
        scale: &ScaleRule,
        (cache, site): (&Cache, &SiteRecord),
    ) -> Result<Self, TrainError> {
        let special = || special_tokens::<TrainError>(cache, course.tokenizer.as_deref());
        let rows = course.rows().on(cache, special)?;
        let scale = scale.on(cache, site, special)?;
        let median = match course.outlier_norm {
            Some(OutlierNorm::MedianMultiple(multiple)) => {
                // Of every section, as in an evaluation: one rule leaves out the same rows of a cache in both.
                let any_section = Rows::of_any_section(rows.excluded.clone());
                Some(MedianRule::of(multiple, median_norm(cache, &site.name, &any_section)?)?)
            }
            _ => None,
        };
        let outliers = course.outlier_norm.and_then(|norm| norm.resolve(scale.value, median));
        Ok(Self { rows, scale, outliers })
    }

    pub(super) fn filter(&self) -> RowFilter {
        RowFilter::new(self.rows.clone(), OutlierRule::of(self.outliers))
    }

    /// The record stored with the SAE.
    pub(super) fn record(&self, course: &Course) -> TrainedRows {
        TrainedRows { choice: course.rows(), outlier_norm: self.outliers }
    }
}
