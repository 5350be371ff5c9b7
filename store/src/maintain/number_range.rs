//! A range of numbers, as on a command line.

use std::fmt;
use std::str::FromStr;

use crate::error::StoreError;

/// A half-open range of numbers, `A..B`. Either end may be omitted.
///
/// ```
/// use hayloft_store::maintain::NumberRange;
///
/// let range: NumberRange = "4..".parse()?;
/// assert!(range.contains(4) && !range.contains(3));
/// # Ok::<(), hayloft_store::StoreError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NumberRange {
    first: Option<u64>,
    end: Option<u64>,
}

impl NumberRange {
    /// Whether the range contains a number.
    pub fn contains(self, number: u64) -> bool {
        self.first.is_none_or(|first| first <= number) && self.end.is_none_or(|end| number < end)
    }
}

impl fmt::Display for NumberRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |end: Option<u64>| end.map(|end| end.to_string()).unwrap_or_default();
        write!(formatter, "{}..{}", number(self.first), number(self.end))
    }
}

impl FromStr for NumberRange {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let parse = || {
            let (first, end) = text.split_once("..")?;
            let number = |part: &str| if part.is_empty() { Some(None) } else { part.parse().ok().map(Some) };
            Some(Self { first: number(first)?, end: number(end)? })
        };
        parse().ok_or_else(|| StoreError::invalid("range", "A..B, A.. or ..B, such as 0..100, without B", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_go_there_and_back() {
        for (text, inside, outside) in [("..3", 2, 3), ("2..", 2, 1), ("2..3", 2, 3), ("5..9", 8, 4)] {
            let range: NumberRange = text.parse().unwrap();
            assert_eq!(range.to_string(), text);
            assert!(range.contains(inside) && !range.contains(outside), "{text}");
        }
        for wrong in ["", "3", "a..b", "1..=2", "-1..2", "1...2"] {
            assert!(wrong.parse::<NumberRange>().unwrap_err().to_string().contains("A..B"), "{wrong}");
        }
    }
}
