//! Which rows count, from Python's arguments.

use hayloft_rows::stream::RowFilter;
use hayloft_rows::{
    ExcludeChoice, Excluded, MedianRule, OutlierNorm, OutlierRule, Rows, RowsError, SectionChoice, median_norm,
};
use hayloft_store::{Cache, SiteName};
use pyo3::prelude::*;

use crate::error::Failure;

/// Tokens to exclude: by name, or their ids.
#[derive(Debug, Clone, FromPyObject)]
pub(crate) enum Exclude {
    #[pyo3(transparent)]
    Name(String),
    #[pyo3(transparent)]
    Tokens(Vec<u32>),
}

/// The rows that count, as Python gives them: a dict.
#[derive(Debug, Clone, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Selection {
    sections: Vec<String>,
    exclude: Exclude,
    outlier_norm: Option<String>,
    scale: f64,
}

impl Selection {
    /// The filter of these rows. Reads the tables of all shards for a multiple of the median norm.
    pub(crate) fn filter(&self, cache: &Cache, site: &SiteName) -> Result<RowFilter, Failure> {
        let sections = self.sections.iter().map(|name| name.parse()).collect::<Result<Vec<SectionChoice>, _>>()?;
        for section in &sections {
            section.check(cache)?;
        }
        let every = sections.contains(&SectionChoice::All);
        let rows = Rows::new(if every { Vec::new() } else { sections }, self.excluded(cache)?);
        Ok(RowFilter::new(rows.clone(), self.rule(cache, site, &rows)?))
    }

    fn excluded(&self, cache: &Cache) -> Result<Excluded, Failure> {
        let name = match &self.exclude {
            Exclude::Tokens(tokens) => return Ok(Excluded::new(ExcludeChoice::Special, tokens)),
            Exclude::Name(name) => name,
        };
        let choice = name.parse::<ExcludeChoice>().map_err(|error| Failure::invalid(format!("exclude: {error}")))?;
        if choice == ExcludeChoice::Special {
            let expected =
                "expected bos, none or a list of token ids, got special: a cache does not say which tokens are";
            return Err(Failure::invalid(format!("exclude: {expected}. Give the ids that the tokenizer names")));
        }
        Ok(Excluded::of(choice, cache, || Err(RowsError::ExcludeWithoutModel))?)
    }

    fn rule(&self, cache: &Cache, site: &SiteName, rows: &Rows) -> Result<OutlierRule, Failure> {
        let Some(text) = &self.outlier_norm else { return Ok(OutlierRule::above(None)) };
        let norm = text.parse::<OutlierNorm>().map_err(|error| Failure::invalid(format!("outlier_norm: {error}")))?;
        if !(self.scale.is_finite() && self.scale > 0.0) {
            return Err(Failure::invalid(format!("scale: expected a number above zero, got {}", self.scale)));
        }
        let median = match norm {
            OutlierNorm::MedianMultiple(multiple) => {
                // Of every section, as in training and evaluation.
                let any_section = Rows::of_any_section(rows.excluded.clone());
                Some(MedianRule::of(multiple, median_norm(cache, site, &any_section)?)?)
            }
            _ => None,
        };
        Ok(OutlierRule::of(norm.resolve(self.scale, median)))
    }
}
