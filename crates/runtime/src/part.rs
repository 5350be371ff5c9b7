//! One part of a job that is split over several processes.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Part `index` of `of` parts of a job, counted from zero; the value of `--part I/N`.
///
/// The parts of a list are consecutive ranges of equal length, give or take one. With more parts than items, some parts are
/// empty.
///
/// ```
/// use hayloft_runtime::Part;
///
/// let part: Part = "1/4".parse().unwrap();
/// assert_eq!(part.range(10), 2..5);
/// assert_eq!(part.to_string(), "1/4");
/// assert!("4/4".parse::<Part>().unwrap_err().contains("0/4 to 3/4"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    index: usize,
    of: usize,
}

impl Part {
    /// Largest number of parts.
    pub const MOST: usize = 1_000_000;

    /// The single part of an undivided job.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// Part `index` of `of`, counted from zero. `None` if out of range.
    pub fn new(index: usize, of: usize) -> Option<Self> {
        (index < of && of <= Self::MOST).then_some(Self { index, of })
    }

    /// Index of this part, counted from zero.
    pub fn index(self) -> usize {
        self.index
    }

    /// Number of parts.
    pub fn of(self) -> usize {
        self.of
    }

    /// The range of this part among `count` items. The ranges of all parts, in order, tile `0..count`.
    pub fn range(self, count: usize) -> Range<usize> {
        // The product may exceed 64 bits: up to 2^64 times a million.
        let border = |index: usize| (index as u128 * count as u128 / self.of as u128) as usize;
        border(self.index)..border(self.index + 1)
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let most = Self::MOST;
        let refuse = || format!("expected I/N with N from 1 to {most}, such as 0/8 for the first of eight, got {text}");
        let (index, of) = text.split_once('/').ok_or_else(refuse)?;
        // Digits only: no sign, no space.
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let (index, of) = number(index).zip(number(of)).ok_or_else(refuse)?;
        if of == 0 || of > most {
            return Err(refuse());
        }
        let last = of - 1;
        Self::new(index, of)
            .ok_or_else(|| format!("expected one of 0/{of} to {last}/{of}, as parts are counted from zero, got {text}"))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_round_trip() {
        for text in ["0/1", "0/8", "7/8", "999999/1000000"] {
            assert_eq!(text.parse::<Part>().unwrap().to_string(), text);
        }
        assert_eq!("007/08".parse::<Part>().unwrap().to_string(), "7/8");
        for text in [
            "",
            "/",
            "1",
            "1/",
            "/2",
            "a/b",
            "-1/2",
            "+1/2",
            " 0/2",
            "0/2/3",
            "0/0",
            "0/1000001",
            "0/99999999999999999999",
        ] {
            let message = text.parse::<Part>().unwrap_err();
            assert!(message.contains("expected I/N") && message.ends_with(text), "{text}: {message}");
        }
        for text in ["1/1", "8/8", "9/8"] {
            let message = text.parse::<Part>().unwrap_err();
            assert!(message.contains("counted from zero") && message.ends_with(text), "{text}: {message}");
        }
        assert!(Part::new(1, 1).is_none() && Part::new(0, Part::MOST + 1).is_none());
    }

    #[test]
    fn there_may_be_more_parts_than_items() {
        let ranges: Vec<_> = (0..4).map(|index| Part::new(index, 4).unwrap().range(2)).collect();
        assert_eq!(ranges, [0..0, 0..1, 1..1, 1..2]);
        assert_eq!(Part::new(Part::MOST - 1, Part::MOST).unwrap().range(usize::MAX).end, usize::MAX);
    }

    #[test]
    fn the_ranges_of_all_parts_tile_the_whole_evenly() {
        let counts = || (0..130).chain([1000, 4097]);
        for (count, of) in counts().flat_map(|count| (1..70).chain([1001]).map(move |of| (count, of))) {
            let mut next = 0;
            for index in 0..of {
                let range = Part::new(index, of).unwrap().range(count);
                assert_eq!(range.start, next, "{index}/{of} of {count}");
                assert!(range.len() == count / of || range.len() == count.div_ceil(of), "{index}/{of} of {count}");
                next = range.end;
            }
            assert_eq!(next, count, "{of} parts of {count}");
        }
    }
}
