//! Which rows a training is on, and the scale and the threshold that follow from them.

use std::path::Path;

use hayloft_rows::{
    MedianRule, OutlierNorm, OutlierRule, OutlierThreshold, Rows, Scale, ScaleRule, TrainedRows, median_norm,
};
use hayloft_store::{Cache, SiteRecord};

use crate::agreement::special_tokens::special_tokens;
use crate::data::RowFilter;
use crate::error::TrainError;
use crate::settings::course::Course;

/// The rows, and what follows from them.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) rows: Rows,
    pub(super) scale: Scale,
    pub(super) outliers: Option<OutlierThreshold>,
}

impl Selection {
    /// What a course asks for, with activations scaled by a rule. Reads tables of the cache where scale or threshold are taken from
    /// some of its rows.
    pub(super) fn of(
        course: &Course,
        scale: &ScaleRule,
        (cache, site): (&Cache, &SiteRecord),
        tokenizer: Option<&Path>,
    ) -> Result<Self, TrainError> {
        let special = || special_tokens::<TrainError>(cache, tokenizer);
        let rows = course.rows().on(cache, special)?;
        let scale = scale.on(cache, site, special)?;
        let median = match course.outlier_norm {
            Some(OutlierNorm::MedianMultiple(multiple)) => {
                Some(MedianRule::of(multiple, median_norm(cache, &site.name, &rows)?)?)
            }
            _ => None,
        };
        let outliers = course.outlier_norm.and_then(|norm| norm.resolve(scale.value, median));
        Ok(Self { rows, scale, outliers })
    }

    pub(super) fn filter(&self) -> RowFilter {
        RowFilter::new(self.rows.clone(), OutlierRule::of(self.outliers))
    }

    /// As the SAE says of itself.
    pub(super) fn record(&self, course: &Course) -> TrainedRows {
        TrainedRows { choice: course.rows(), outlier_norm: self.outliers }
    }
}
