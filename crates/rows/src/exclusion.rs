//! Tokens that are excluded from metrics by their id.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use hayloft_runtime::words::did_you_mean;
use hayloft_store::Cache;
use serde::{Deserialize, Serialize};

use crate::error::RowsError;

/// Which tokens to exclude. At their positions the spliced run keeps the model's activation, and metrics on activations
/// do not count them. Their losses still count, unlike in SAELens's `exclude_special_tokens`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExcludeChoice {
    /// The tokenizer's structural tokens: BOS, EOS, padding and separator.
    Special,
    /// BOS only.
    Bos,
    /// No token.
    #[default]
    None,
}

impl ExcludeChoice {
    /// Help of an option that takes a choice.
    pub const HELP: &'static str = "Leave out tokens for what they are: bos, special (BOS, EOS, padding, separator, as \
        the tokenizer of --model names them, in `train` and `latents` that of --tokenizer) or none. In an evaluation they keep their own \
        activation, and only their losses count; SAELens's exclude_special_tokens leaves their losses out too";
}

/// The excluded tokens.
#[derive(Debug, Clone, Default)]
pub struct Excluded {
    /// The choice that they follow from.
    pub choice: ExcludeChoice,
    tokens: BTreeSet<u32>,
}

impl Excluded {
    /// Resolves a choice for a cache. `special` returns the structural tokens of the model's tokenizer; it is called
    /// only for [`ExcludeChoice::Special`].
    pub fn of<E: From<RowsError>>(
        choice: ExcludeChoice,
        cache: &Cache,
        special: impl FnOnce() -> Result<Vec<u32>, E>,
    ) -> Result<Self, E> {
        let bos = cache.manifest().corpus.tokenizer.bos_id;
        let tokens = match choice {
            ExcludeChoice::None => BTreeSet::new(),
            ExcludeChoice::Bos if bos == u32::MAX => {
                return Err(RowsError::UnknownBos { cache: cache.folder().to_path_buf() }.into());
            }
            ExcludeChoice::Bos => BTreeSet::from([bos]),
            ExcludeChoice::Special => special()?.into_iter().chain([bos]).collect(),
        };
        Ok(Self { choice, tokens })
    }

    /// Excludes these tokens.
    pub fn new(choice: ExcludeChoice, tokens: &[u32]) -> Self {
        Self { choice, tokens: tokens.iter().copied().collect() }
    }

    /// Whether a token is excluded.
    pub fn contains(&self, token: u32) -> bool {
        self.tokens.contains(&token)
    }

    /// The excluded tokens, in ascending order.
    pub fn tokens(&self) -> Vec<u32> {
        self.tokens.iter().copied().collect()
    }
}

impl fmt::Display for ExcludeChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Special => "special",
            Self::Bos => "bos",
            Self::None => "none",
        })
    }
}

impl FromStr for ExcludeChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "special" => Ok(Self::Special),
            "bos" => Ok(Self::Bos),
            "none" => Ok(Self::None),
            other => {
                let near = did_you_mean(other, ["special", "bos", "none"]);
                Err(format!("expected special, bos or none, got {other}{near}"))
            }
        }
    }
}
