//! Which of the model's predictions are kept.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use hayloft_store::KeptPredictions;

use crate::error::HarvestError;

/// Default number of highest logits kept.
const MOST: NonZeroU32 = NonZeroU32::new(64).expect("not zero");

/// How much of the logits the cache keeps for each token.
///
/// ```
/// use hayloft_harvest::Logits;
///
/// let logits: Logits = "top=64".parse()?;
/// assert_eq!(logits.kept(32).map(|kept| kept.top_k), Some(32)); // a vocabulary has no more than its tokens
/// # Ok::<(), hayloft_harvest::HarvestError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logits {
    /// Nothing. The model runs only up to the last site, and later blocks are not loaded.
    None,
    /// Label loss, logsumexp and entropy.
    Loss,
    /// The same, plus this number of highest logits with their tokens.
    Top(NonZeroU32),
    /// The same with the 64 highest logits, plus all logits in a separate file.
    Full,
}

impl Logits {
    /// Returns what a cache keeps for a model with `vocab_size` tokens.
    pub fn kept(self, vocab_size: usize) -> Option<KeptPredictions> {
        let capped = |most: NonZeroU32| most.get().min(u32::try_from(vocab_size).unwrap_or(u32::MAX));
        match self {
            Self::None => None,
            Self::Loss => Some(KeptPredictions::top(0)),
            Self::Top(most) => Some(KeptPredictions::top(capped(most))),
            Self::Full => Some(KeptPredictions { top_k: capped(MOST), full_logits: true }),
        }
    }
}

impl Default for Logits {
    fn default() -> Self {
        Self::Top(MOST)
    }
}

impl fmt::Display for Logits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("none"),
            Self::Loss => formatter.write_str("loss"),
            Self::Top(most) => write!(formatter, "top={most}"),
            Self::Full => formatter.write_str("full"),
        }
    }
}

impl FromStr for Logits {
    type Err = HarvestError;

    fn from_str(text: &str) -> Result<Self, HarvestError> {
        let wrong = || HarvestError::LogitsText { text: text.to_owned() };
        match text {
            "none" => Ok(Self::None),
            "loss" => Ok(Self::Loss),
            "full" => Ok(Self::Full),
            _ => {
                let most = text.strip_prefix("top=").ok_or_else(wrong)?;
                most.parse().map(Self::Top).map_err(|_| wrong())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["none", "loss", "top=1", "top=64", "full"] {
            assert_eq!(name.parse::<Logits>().unwrap().to_string(), name);
        }
        for name in ["", "all", "top", "top=", "top=0", "top=-1", "top=x", "loss=3"] {
            assert!(name.parse::<Logits>().unwrap_err().to_string().contains("none, loss, top=K or full"), "{name}");
        }
    }

    #[test]
    fn kept_logits_are_capped_at_the_vocabulary() {
        assert_eq!(Logits::None.kept(512), None);
        assert_eq!(Logits::Loss.kept(512), Some(KeptPredictions::top(0)));
        assert_eq!(Logits::default().kept(512), Some(KeptPredictions::top(64)));
        assert_eq!(Logits::default().kept(10), Some(KeptPredictions::top(10)));
        assert_eq!(Logits::Full.kept(10), Some(KeptPredictions { top_k: 10, full_logits: true }));
    }
}
