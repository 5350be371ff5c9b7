//! What the page knows of its SAEs before it loads anything else, and what is said of a page that was written.

use std::path::PathBuf;

use hayloft_latents::{GroupRecord, QUANTILES};
use serde::Serialize;
use serde_json::Value;

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct PageSummary {
    /// The page to open.
    pub page: PathBuf,
    /// Files in its folder.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// The SAEs, in order.
    pub saes: Vec<SaeCounts>,
}

/// What the page has of an SAE.
#[derive(Debug, Clone, Serialize)]
pub struct SaeCounts {
    /// Its name in the page.
    pub name: String,
    /// Number of latents.
    pub latents: u32,
    /// Examples of its latents.
    pub examples: u64,
    /// Distinct tokens that latents are found by.
    pub terms: usize,
    /// Explanations of its latents.
    pub explanations: usize,
}

/// The page's contents: `data/page.js`.
#[derive(Debug, Serialize)]
pub(crate) struct Contents {
    /// The shares of activations that the quantiles of a latent are of.
    pub(crate) quantiles: [f64; QUANTILES.len()],
    pub(crate) saes: Vec<SaeContents>,
    pub(crate) comparisons: Vec<ComparisonContents>,
}

#[derive(Debug, Serialize)]
pub(crate) struct SaeContents {
    pub(crate) name: String,
    /// The folder of its files.
    pub(crate) folder: String,
    /// Its name in them.
    pub(crate) own_name: String,
    pub(crate) width: u32,
    pub(crate) tokens: u64,
    /// Whether tokens have texts, or ids alone.
    pub(crate) has_texts: bool,
    /// Columns that the file could have and lacks.
    pub(crate) missing: Vec<&'static str>,
    pub(crate) sections: Vec<GroupContents>,
    pub(crate) subsets: Vec<GroupContents>,
    pub(crate) turns: Vec<GroupContents>,
    /// The first latent of each piece of `latents`, and of `labels`.
    pub(crate) latents: Vec<u32>,
    pub(crate) labels: Vec<u32>,
    pub(crate) terms: usize,
    pub(crate) examples: u64,
    pub(crate) explanations: usize,
    /// Latents that fire at no token.
    pub(crate) dead: u32,
    /// How the files were made, without what is said of each SAE.
    pub(crate) run: Value,
    /// What is said of this SAE.
    pub(crate) about: Value,
}

/// A section, a subset or a turn, and the tokens in it that count.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct GroupContents {
    pub(crate) name: Option<String>,
    pub(crate) tokens: u64,
}

impl GroupContents {
    pub(crate) fn of(groups: &[GroupRecord]) -> Vec<Self> {
        groups.iter().map(|own| Self { name: own.name.clone(), tokens: own.tokens }).collect()
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct ComparisonContents {
    pub(crate) left: usize,
    pub(crate) right: usize,
    /// `index` or `cosine`.
    pub(crate) matching: &'static str,
}
