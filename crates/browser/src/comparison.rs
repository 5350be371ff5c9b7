//! Two SAEs side by side.

use crate::error::BrowserError;
use crate::sources::Sources;

/// Two SAEs, and which of their latents belong together.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The place of the first SAE in the page.
    pub(crate) left: usize,
    /// The place of the second.
    pub(crate) right: usize,
    /// How the first one's latents are matched.
    pub(crate) matching: Match,
}

/// How latents of two SAEs are matched.
#[derive(Debug, Clone, PartialEq)]
pub enum Match {
    /// By their numbers.
    Index,
    /// By the cosine of decoder directions: for each latent of the first SAE the nearest of the second, and their cosine.
    Cosine(Vec<Option<(u32, f32)>>),
}

impl Comparison {
    /// Two SAEs by their names, `A=B`; `matching` is given their places.
    pub fn of<E: From<BrowserError>>(
        sources: &Sources,
        asked: &str,
        matching: impl FnOnce(usize, usize) -> Result<Match, E>,
    ) -> Result<Self, E> {
        let wrong = |expected: String, got: String| BrowserError::Comparison { asked: asked.to_owned(), expected, got };
        let known = || format!("two of the SAEs {}, as A=B", sources.names());
        let (left, rest) = sources.split_name(asked).ok_or_else(|| {
            let name = asked.split('=').next().unwrap_or_default();
            wrong(known(), format!("{name}{}", sources.suggestion(name)))
        })?;
        let right =
            sources.place_of(rest).ok_or_else(|| wrong(known(), format!("{rest}{}", sources.suggestion(rest))))?;
        if left == right {
            return Err(wrong("two SAEs".to_owned(), "one twice".to_owned()).into());
        }
        let matching = matching(left, right)?;
        let [own, other] = [left, right].map(|place| sources.saes()[place].width);
        if matching == Match::Index && own != other {
            let expected = "SAEs of the same width, whose latents match by number; --match cosine takes others";
            return Err(wrong(expected.to_owned(), format!("{own} and {other} latents")).into());
        }
        Ok(Self { left, right, matching })
    }
}
