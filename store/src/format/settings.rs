//! Harvest settings, and how two of them are compared.

use std::collections::{BTreeMap, BTreeSet};

use hayloft_runtime::Dtype;
use serde::{Deserialize, Serialize};

use crate::codec::Codec;
use crate::error::{Result, StoreError, joined};
use crate::format::difference::{Difference, differ};
use crate::format::records::{KeptPredictions, ModelRecord};
use crate::format::site::SiteName;

/// Everything, besides the plan, that determines the bytes of a cache's shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HarvestSettings {
    /// The model.
    pub model: ModelRecord,
    /// The sites to store. Their order is irrelevant.
    pub sites: Vec<SiteName>,
    /// Row widths of sites that are not `model.d_model` wide, such as concatenated attention heads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub site_widths: BTreeMap<SiteName, usize>,
    /// The dtype of the stored activations.
    pub dtype: Dtype,
    /// The codec of the stored activations.
    pub codec: Codec,
    /// The predictions to store, if any.
    pub predictions: Option<KeptPredictions>,
}

/// How to handle NaN or infinite activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonFinite {
    /// Fail at the first one.
    Refuse,
    /// Store them, and count their rows.
    Allow,
}

/// How to handle a cache that already has shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Fail.
    Refuse,
    /// Keep the complete shards if they have the same settings.
    Resume,
}

/// Maximum row width. The bytes of a row stay well within the 31 bits that Parquet allows.
pub(crate) const MAX_D_MODEL: usize = 1 << 24;

/// Maximum number of top logits. The bytes of a row fit in 31 bits.
const MAX_TOP_K: u32 = 1 << 24;

impl HarvestSettings {
    /// Validates the settings and returns them with the sites sorted.
    pub(crate) fn checked(mut self) -> Result<Self> {
        self.sites.sort();
        if self.sites.is_empty() {
            return Err(StoreError::invalid("sites", "at least one", "none"));
        }
        let distinct: BTreeSet<&SiteName> = self.sites.iter().collect();
        if distinct.len() != self.sites.len() {
            return Err(StoreError::invalid("sites", "each once", self.sites_in_words()));
        }
        let d_model = self.model.d_model;
        self.site_widths.retain(|_, width| *width != d_model);
        self.check_sizes()?;
        Ok(self)
    }

    /// Returns the row width of a site.
    pub fn width(&self, site: &SiteName) -> usize {
        self.site_widths.get(site).copied().unwrap_or(self.model.d_model)
    }

    /// Keeps only the wanted sites.
    pub(crate) fn retain_sites(&mut self, wanted: impl Fn(&SiteName) -> bool) {
        self.sites.retain(&wanted);
        self.site_widths.retain(|site, _| wanted(site));
    }

    /// Checks that all widths are in range.
    pub(crate) fn check_sizes(&self) -> Result<()> {
        if !(1..=MAX_D_MODEL).contains(&self.model.d_model) {
            return Err(StoreError::invalid("d_model", format!("1 to {MAX_D_MODEL}"), self.model.d_model));
        }
        for (site, width) in &self.site_widths {
            if !self.sites.contains(site) || !(1..=MAX_D_MODEL).contains(width) {
                let expected = format!("1 to {MAX_D_MODEL} for one of the sites {}", self.sites_in_words());
                return Err(StoreError::invalid("site_widths", expected, format!("{width} for {site}")));
            }
        }
        if self.predictions.is_some_and(|kept| kept.full_logits) && !(1..=MAX_D_MODEL).contains(&self.model.vocab_size)
        {
            let expected = format!("1 to {MAX_D_MODEL} to keep all logits");
            return Err(StoreError::invalid("vocab_size", expected, self.model.vocab_size));
        }
        let top_k = self.predictions.map_or(0, |kept| kept.top_k);
        if top_k > MAX_TOP_K {
            return Err(StoreError::invalid("top_k", format!("at most {MAX_TOP_K}"), top_k));
        }
        Ok(())
    }

    /// Returns the site names, joined by commas.
    pub(crate) fn sites_in_words(&self) -> String {
        joined(&self.sites)
    }

    /// Returns the first setting that differs.
    pub(crate) fn difference(&self, other: &Self) -> Option<Difference> {
        self.differences(other).into_iter().next()
    }

    /// Returns all settings that differ.
    pub(crate) fn differences(&self, other: &Self) -> Vec<Difference> {
        let (ours, theirs) = (&self.model, &other.model);
        let known = [
            differ("dtype", &self.dtype, &other.dtype),
            differ("codec", &self.codec, &other.codec),
            differ("sites", &self.sites_in_words(), &other.sites_in_words()),
            differ("site_widths", &in_words(&self.site_widths), &in_words(&other.site_widths)),
            differ("predictions", &predictions_in_words(self), &predictions_in_words(other)),
        ];
        let mut differences = ours.differences(theirs);
        differences.extend(known.into_iter().flatten());
        // The sizes follow from the identity, and differ only in a forged file.
        let sizes = |model: &ModelRecord| (model.vocab_size, model.d_model, model.n_blocks);
        if differences.is_empty() && sizes(ours) != sizes(theirs) {
            differences.push(("model".to_owned(), in_words(ours), in_words(theirs)));
        }
        differences
    }
}

fn predictions_in_words(settings: &HarvestSettings) -> String {
    settings.predictions.map_or_else(
        || "none".to_owned(),
        |kept| format!("top={}{}", kept.top_k, if kept.full_logits { " and full" } else { "" }),
    )
}

fn in_words(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
