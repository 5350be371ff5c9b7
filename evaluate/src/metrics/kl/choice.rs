//! The user's choice of how to compute divergences.

use std::fmt;
use std::str::FromStr;

use hayloft_results::KlMethod;
use hayloft_runtime::words::did_you_mean;
use hayloft_store::{Cache, KeptPredictions};

use crate::error::EvaluateError;

/// How to compute KL(clean ‖ spliced).
///
/// ```
/// use hayloft_evaluate::KlChoice;
///
/// assert_eq!("bound".parse(), Ok(KlChoice::Bound));
/// assert!("cheap".parse::<KlChoice>().unwrap_err().contains("exact, stored, recomputed or bound"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KlChoice {
    /// Exact: from stored logits if the cache has all of them, else from recomputed ones.
    Exact,
    /// From the full logits in the cache; exact unless the cache's codec is lossy, in which case results are labelled
    /// as rounded.
    Stored,
    /// Exact: from logits that the upper model recomputes from the clean activations, once for all SAEs.
    Recomputed,
    /// A lower bound, from the top-k logits in the cache.
    Bound,
}

impl KlChoice {
    const ALL: [(&'static str, Self); 4] =
        [("exact", Self::Exact), ("stored", Self::Stored), ("recomputed", Self::Recomputed), ("bound", Self::Bound)];

    /// Resolves the choice for a cache. By default a run uses stored logits only if it also uses the cached losses, and
    /// never rounded ones.
    pub(crate) fn resolve(self, cache: &Cache, takes_cached_losses: bool) -> Result<KlMethod, EvaluateError> {
        let kept = cache.manifest().predictions;
        let largest = kept.map_or(0, |kept| kept.top_k);
        let stored = kept.is_some_and(|kept| kept.full_logits);
        let rounded = cache.manifest().codec.is_lossy();
        let missing = |expected, harvest| EvaluateError::KlNotKept {
            cache: cache.folder().to_path_buf(),
            choice: self,
            expected,
            got: in_words(cache),
            harvest,
        };
        match self {
            Self::Exact if stored && !rounded && takes_cached_losses => Ok(KlMethod::Stored),
            Self::Exact | Self::Recomputed => Ok(KlMethod::Recomputed),
            Self::Stored if !stored => Err(missing("all logits of each token", "full")),
            Self::Stored if rounded => Ok(KlMethod::StoredRounded),
            Self::Stored => Ok(KlMethod::Stored),
            Self::Bound if largest == 0 => Err(missing("the largest logits of each token", "top=64")),
            Self::Bound => Ok(KlMethod::Bound { top_k: largest }),
        }
    }
}

/// Describes the predictions that a cache stores.
fn in_words(cache: &Cache) -> String {
    match cache.manifest().predictions {
        None => "no predictions".to_owned(),
        Some(KeptPredictions { top_k: 0, full_logits: false }) => "losses only".to_owned(),
        Some(KeptPredictions { top_k: 0, full_logits: true }) => {
            "losses and all logits, but not the largest by themselves".to_owned()
        }
        Some(kept) => format!("losses and the top {} logits", kept.top_k),
    }
}

impl FromStr for KlChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, choice)| choice).ok_or_else(|| {
            let near = did_you_mean(text, Self::ALL.map(|(name, _)| name));
            format!("expected exact, stored, recomputed or bound, got {text}{near}")
        })
    }
}

impl fmt::Display for KlChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, choice)| choice == self).map_or("", |(name, _)| name);
        formatter.write_str(name)
    }
}
