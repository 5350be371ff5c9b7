//! Tokens that are left out of figures for what they are, whatever their activations look like.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use hayloft_store::Cache;
use serde::{Deserialize, Serialize};

use crate::error::RowsError;

/// Which tokens to leave out. At their positions the spliced run keeps the model's own activation, and no figure on
/// activations counts them; their losses still count. In SAELens's `exclude_special_tokens` their losses do not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExcludeChoice {
    /// Those that the tokenizer has for the structure of a text: BOS, EOS, padding and separator.
    Special,
    /// BOS alone.
    Bos,
    /// None of them.
    #[default]
    None,
}

/// The tokens that are left out.
#[derive(Debug, Clone, Default)]
pub struct Excluded {
    /// What was asked for.
    pub choice: ExcludeChoice,
    tokens: BTreeSet<u32>,
}

impl Excluded {
    /// The tokens of a cache that a choice leaves out. `special` are those that the model's tokenizer has for the structure of a text;
    /// it is asked for only where the choice is [`ExcludeChoice::Special`].
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

    /// These tokens.
    pub fn new(choice: ExcludeChoice, tokens: &[u32]) -> Self {
        Self { choice, tokens: tokens.iter().copied().collect() }
    }

    /// Whether a token is left out.
    pub fn contains(&self, token: u32) -> bool {
        self.tokens.contains(&token)
    }

    /// The tokens, in order.
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
            other => Err(format!("expected special, bos or none, got {other}")),
        }
    }
}
