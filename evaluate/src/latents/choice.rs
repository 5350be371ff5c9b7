//! Latents that a user names.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use crate::error::EvaluateError;

/// Some latents: numbers and ranges of numbers, such as `3,17,100..200`, without 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatentChoice(Vec<RangeInclusive<u64>>);

impl LatentChoice {
    /// The latents, in ascending order and each once. Returns an error if an SAE of `width` latents lacks one.
    pub(crate) fn of(&self, sae: &Path, width: usize) -> Result<Vec<u32>, EvaluateError> {
        if let Some(range) = self.0.iter().find(|range| *range.end() >= width as u64) {
            return Err(EvaluateError::NoSuchLatent { sae: sae.to_path_buf(), width, latent: *range.end() });
        }
        let mut latents: Vec<u32> = self.0.iter().cloned().flatten().map(|latent| latent as u32).collect();
        latents.sort_unstable();
        latents.dedup();
        Ok(latents)
    }
}

impl fmt::Display for LatentChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, range) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            if range.start() == range.end() {
                write!(formatter, "{comma}{}", range.start())?;
            } else {
                write!(formatter, "{comma}{}..{}", range.start(), u128::from(*range.end()) + 1)?;
            }
        }
        Ok(())
    }
}

impl FromStr for LatentChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let item = |item: &str| match item.split_once("..") {
            None => item.parse().ok().map(|latent| latent..=latent),
            Some((first, end)) => {
                let (first, end): (u64, u64) = (first.parse().ok()?, end.parse().ok()?);
                (first < end).then(|| first..=end - 1)
            }
        };
        let items: Option<Vec<RangeInclusive<u64>>> = text.split(',').map(|text| item(text.trim())).collect();
        items.map(Self).ok_or_else(|| {
            format!("expected numbers of latents and ranges A..B (without B), separated by commas, such as 3,17,100..200, got {text}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_are_latents_in_order_and_each_once() {
        let choice: LatentChoice = "9, 2..5,3".parse().unwrap();
        assert_eq!(choice.to_string(), "9,2..5,3");
        assert_eq!(choice.of(Path::new("s"), 10).unwrap(), [2, 3, 4, 9]);
        let message = choice.of(Path::new("s"), 9).unwrap_err().to_string();
        assert!(message.contains("has 9, numbered from 0 to 8, got 9"), "{message}");
        for text in ["", "a", "3..", "5..5", "1,,2", "-1"] {
            assert!(text.parse::<LatentChoice>().unwrap_err().contains("100..200"), "{text}");
        }
        let huge: LatentChoice = "0..18446744073709551615".parse().unwrap();
        assert!(huge.of(Path::new("s"), 9).is_err());
    }
}
