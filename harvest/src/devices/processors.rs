//! Sets of processors.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::str::FromStr;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Processors of this machine by number, in Linux list format: `0-15,32-47`.
///
/// ```
/// use hayloft_harvest::Processors;
///
/// let processors: Processors = "0-2,8".parse().unwrap();
/// assert_eq!(processors.to_string(), "0-2,8");
/// assert!("2-0".parse::<Processors>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processors(BTreeSet<usize>);

impl Processors {
    /// Returns the processors that this process may run on; `None` if the system does not report them.
    pub(super) fn allowed() -> Option<Self> {
        let set = sched_getaffinity(None).ok()?;
        Self::of((0..CpuSet::MAX_CPU).filter(|&processor| set.is_set(processor)))
    }

    fn of(numbers: impl IntoIterator<Item = usize>) -> Option<Self> {
        let numbers: BTreeSet<usize> = numbers.into_iter().collect();
        (!numbers.is_empty()).then_some(Self(numbers))
    }

    /// Returns the number of processors.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the intersection; `None` if it is empty.
    pub(super) fn both(&self, other: &Self) -> Option<Self> {
        Self::of(self.0.intersection(&other.0).copied())
    }

    /// Returns the `index`-th of `of` shares. A share is contiguous, because neighbours share caches. With fewer
    /// processors than shares, each share is one processor, in turn.
    pub(super) fn share(&self, index: usize, of: usize) -> Self {
        let count = self.count();
        let range =
            if count < of { index % count..index % count + 1 } else { index * count / of..(index + 1) * count / of };
        Self(self.0.iter().copied().skip(range.start).take(range.len()).collect())
    }

    /// Pins the calling thread, and the threads that it starts from now on, to these processors.
    pub fn keep_to(&self) -> io::Result<()> {
        let mut set = CpuSet::new();
        for &processor in &self.0 {
            set.set(processor);
        }
        Ok(sched_setaffinity(None, &set)?)
    }
}

impl FromStr for Processors {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let most = CpuSet::MAX_CPU - 1;
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|number| *number <= most);
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(first..=last)
        };
        let ranges: Option<Vec<_>> = text.trim().split(',').map(range).collect();
        ranges.and_then(|ranges| Self::of(ranges.into_iter().flatten())).ok_or_else(|| {
            format!("expected numbers of processors from 0 to {most} and ranges of them, such as 0-15,32, got {text}")
        })
    }
}

impl fmt::Display for Processors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<usize> = self.0.iter().copied().collect();
        for (place, run) in numbers.chunk_by(|one, next| one + 1 == *next).enumerate() {
            let comma = if place > 0 { "," } else { "" };
            match run {
                [only] => write!(formatter, "{comma}{only}")?,
                [first, .., last] => write!(formatter, "{comma}{first}-{last}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_as_linux_has_them() {
        for text in ["0", "0-3", "0-2,8", "1,3,5-7"] {
            assert_eq!(text.parse::<Processors>().unwrap().to_string(), text);
        }
        assert_eq!("0-3\n".parse::<Processors>().unwrap().to_string(), "0-3", "as a file of the kernel ends");
        for text in ["", "a", "3-1", "-1", "0-99999999", "1,,2", "1024"] {
            assert!(text.parse::<Processors>().unwrap_err().contains("0-15,32"), "{text}");
        }
    }

    #[test]
    fn shares_are_neighbours_and_tile() {
        let all: Processors = "0-6".parse().unwrap();
        let shares: Vec<String> = (0..3).map(|index| all.share(index, 3).to_string()).collect();
        assert_eq!(shares, ["0-1", "2-3", "4-6"]);
        assert_eq!(all.share(8, 9).to_string(), "1", "in turn");
        let one: Processors = "5".parse().unwrap();
        assert_eq!(one.share(0, 2).to_string(), "5", "rather than none");
    }

    #[test]
    fn a_thread_is_kept_to_what_it_is_told() {
        let allowed = Processors::allowed().unwrap();
        let one = allowed.share(0, allowed.count());
        let kept = std::thread::spawn(move || {
            one.keep_to().unwrap();
            (Processors::allowed().unwrap(), one)
        });
        let (now, one) = kept.join().unwrap();
        assert_eq!(now, one);
        assert_eq!(Processors::allowed().unwrap(), allowed, "and no other");
    }
}
