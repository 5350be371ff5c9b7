//! Which rows a training is on, and the scale and the threshold that follow from them.

use std::path::Path;

use hayloft_store::{Cache, SiteRecord};

use super::TrainError;
use super::course::Course;
use super::data::RowFilter;
use crate::kept_norms::median_norm;
use crate::outliers::{MedianRule, OutlierNorm, OutlierRule, OutlierThreshold};
use crate::rows::Rows;
use crate::scale::{Scale, ScaleRule};
use crate::training_origin::TrainedRows;

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
        let rows = course.rows().on(cache, tokenizer)?;
        let scale = scale.on(cache, site, tokenizer)?;
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
