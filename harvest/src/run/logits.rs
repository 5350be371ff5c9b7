//! What is kept of the model's predictions.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use hayloft_store::KeptPredictions;

use crate::error::HarvestError;

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
    /// Nothing: the model runs no further than the last site, and the blocks above it are not loaded.
    None,
    /// Label loss, logsumexp and entropy.
    Loss,
    /// The same, and the so many highest logits with their tokens.
    Top(NonZeroU32),
}

impl Logits {
    /// What a cache of a model with `vocab_size` tokens keeps.
    pub fn kept(self, vocab_size: usize) -> Option<KeptPredictions> {
        match self {
            Self::None => None,
            Self::Loss => Some(KeptPredictions::top(0)),
            Self::Top(most) => {
                let vocab_size = u32::try_from(vocab_size).unwrap_or(u32::MAX);
                Some(KeptPredictions::top(most.get().min(vocab_size)))
            }
        }
    }
}

impl Default for Logits {
    fn default() -> Self {
        const MOST: NonZeroU32 = NonZeroU32::new(64).expect("not zero");
        Self::Top(MOST)
    }
}

impl fmt::Display for Logits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("none"),
            Self::Loss => formatter.write_str("loss"),
            Self::Top(most) => write!(formatter, "top={most}"),
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
    fn names_go_there_and_back() {
        for name in ["none", "loss", "top=1", "top=64"] {
            assert_eq!(name.parse::<Logits>().unwrap().to_string(), name);
        }
        for name in ["", "all", "top", "top=", "top=0", "top=-1", "top=x", "loss=3"] {
            assert!(name.parse::<Logits>().unwrap_err().to_string().contains("none, loss or top=K"), "{name}");
        }
    }

    #[test]
    fn kept_logits_are_capped_at_the_vocabulary() {
        assert_eq!(Logits::None.kept(512), None);
        assert_eq!(Logits::Loss.kept(512), Some(KeptPredictions::top(0)));
        assert_eq!(Logits::default().kept(512), Some(KeptPredictions::top(64)));
        assert_eq!(Logits::default().kept(10), Some(KeptPredictions::top(10)));
    }
}
