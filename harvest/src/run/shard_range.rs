//! A range of planned shards.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::error::HarvestError;

/// A range of shards, `A..B` without B. Either end is optional.
///
/// ```
/// use hayloft_harvest::ShardRange;
///
/// let range: ShardRange = "4..".parse()?;
/// assert_eq!(range.within(10)?, 4..10);
/// # Ok::<(), hayloft_harvest::HarvestError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardRange {
    first: Option<usize>,
    end: Option<usize>,
}

impl ShardRange {
    /// Resolves the range for a plan with `planned` shards.
    pub fn within(self, planned: usize) -> Result<Range<usize>, HarvestError> {
        let range = self.first.unwrap_or(0)..self.end.unwrap_or(planned);
        if range.is_empty() || range.end > planned {
            return Err(HarvestError::ShardRange { range: self.to_string(), planned });
        }
        Ok(range)
    }
}

impl fmt::Display for ShardRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(first) = self.first {
            write!(formatter, "{first}")?;
        }
        formatter.write_str("..")?;
        if let Some(end) = self.end {
            write!(formatter, "{end}")?;
        }
        Ok(())
    }
}

impl FromStr for ShardRange {
    type Err = HarvestError;

    fn from_str(text: &str) -> Result<Self, HarvestError> {
        let parse = || {
            let (first, end) = text.split_once("..")?;
            let number = |part: &str| if part.is_empty() { Some(None) } else { part.parse().ok().map(Some) };
            Some(Self { first: number(first)?, end: number(end)? })
        };
        parse().ok_or_else(|| HarvestError::ShardRangeText { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_understood() {
        for (text, shards) in [("..", 0..8), ("2..", 2..8), ("..3", 0..3), ("2..3", 2..3), ("0..8", 0..8)] {
            let range: ShardRange = text.parse().unwrap();
            assert_eq!(range.to_string(), text);
            assert_eq!(range.within(8).unwrap(), shards);
        }
        assert_eq!(ShardRange::default().within(8).unwrap(), 0..8);
    }

    #[test]
    fn invalid_ranges_are_refused() {
        for text in ["", "3", "a..b", "1..=2", "-1..2", "1...2"] {
            assert!(text.parse::<ShardRange>().unwrap_err().to_string().contains("A..B"), "{text}");
        }
    }

    #[test]
    fn shards_outside_the_plan_are_refused() {
        for text in ["0..9", "8..", "3..3", "4..2"] {
            let message = text.parse::<ShardRange>().unwrap().within(8).unwrap_err().to_string();
            assert!(message.contains(text) && message.contains("0..8"), "{message}");
        }
    }
}
