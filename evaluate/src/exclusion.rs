//! Tokens that are left out of figures for what they are, whatever their activations look like.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use hayloft_model::Tokenizer;
use hayloft_store::Cache;
use serde::{Deserialize, Serialize};

use crate::EvaluateError;

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
pub(crate) struct Excluded {
    pub(crate) choice: ExcludeChoice,
    tokens: BTreeSet<u32>,
}

impl Excluded {
    /// The tokens of a cache that a choice leaves out. Which ones are special the model's tokenizer says.
    pub(crate) fn of(choice: ExcludeChoice, cache: &Cache, model: Option<&Path>) -> Result<Self, EvaluateError> {
        let recorded = &cache.manifest().corpus.tokenizer;
        let tokens = match choice {
            ExcludeChoice::None => BTreeSet::new(),
            ExcludeChoice::Bos if recorded.bos_id == u32::MAX => {
                return Err(EvaluateError::UnknownBos { cache: cache.folder().to_path_buf() });
            }
            ExcludeChoice::Bos => BTreeSet::from([recorded.bos_id]),
            ExcludeChoice::Special => {
                let model = model.ok_or(EvaluateError::ExcludeWithoutModel)?;
                let tokenizer = Tokenizer::open(model)?;
                if tokenizer.blake3() != recorded.blake3 {
                    return Err(EvaluateError::OtherModel {
                        cache: cache.folder().to_path_buf(),
                        model: model.to_path_buf(),
                        what: "tokenizer.json".to_owned(),
                        expected: format!("BLAKE3 {}", recorded.blake3),
                        got: format!("BLAKE3 {}", tokenizer.blake3()),
                    });
                }
                let structural = tokenizer.structural_tokens()?;
                structural.into_iter().map(|token| token.id).chain([recorded.bos_id]).collect()
            }
        };
        Ok(Self { choice, tokens })
    }

    #[cfg(test)]
    pub(crate) fn made_up(choice: ExcludeChoice, tokens: &[u32]) -> Self {
        Self { choice, tokens: tokens.iter().copied().collect() }
    }

    /// Whether a token is left out.
    pub(crate) fn contains(&self, token: u32) -> bool {
        self.tokens.contains(&token)
    }

    /// The tokens, in order.
    pub(crate) fn tokens(&self) -> Vec<u32> {
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
