//! Values by subset of the corpus. A subset contains tokens, not sequences: packed sequences mix the documents of
//! several subsets.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A value for each subset, sorted by name; tokens without a subset come first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BySubset<T>(Vec<(Option<String>, T)>);

impl<T> BySubset<T> {
    /// The value of a subset, if there is one.
    pub fn get(&self, subset: Option<&str>) -> Option<&T> {
        let place = self.place(subset).ok()?;
        self.0.get(place).map(|(_, own)| own)
    }

    /// The value of a subset; inserts the default if there is none.
    pub fn entry(&mut self, subset: Option<&str>) -> &mut T
    where
        T: Default,
    {
        let place = self.place(subset).unwrap_or_else(|place| {
            self.0.insert(place, (subset.map(str::to_owned), T::default()));
            place
        });
        &mut self.0[place].1
    }

    /// Iterates over subsets and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&str>, &T)> {
        self.0.iter().map(|(name, own)| (name.as_deref(), own))
    }

    /// Iterates over subsets and mutable values, by name.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Option<&str>, &mut T)> {
        self.0.iter_mut().map(|(name, own)| (name.as_deref(), own))
    }

    /// Whether subsets are sorted and unique. Deserialisation does not ensure it.
    pub fn is_in_order(&self) -> bool {
        self.0.is_sorted_by(|(left, _), (right, _)| left < right)
    }

    fn place(&self, subset: Option<&str>) -> Result<usize, usize> {
        self.0.binary_search_by(|(name, _)| name.as_deref().cmp(&subset))
    }
}

/// The subset of each row of a batch.
#[derive(Debug)]
pub struct RowSubsets {
    /// Unique names, sorted.
    names: Vec<Option<Arc<str>>>,
    /// `[rows]`: index of each row's subset in `names`.
    places: Vec<usize>,
}

impl RowSubsets {
    /// Builds the index from the subset of each row.
    pub fn of(rows: &[Option<Arc<str>>]) -> Self {
        let names: Vec<&Option<Arc<str>>> = rows.iter().collect::<BTreeSet<_>>().into_iter().collect();
        // Every row's subset is in `names`.
        let places = rows.iter().map(|name| names.binary_search(&name).unwrap_or_default()).collect();
        Self { names: names.into_iter().cloned().collect(), places }
    }

    /// For each subset of the batch, the indices into `rows` of its rows, in order.
    pub fn split(&self, rows: &[i64]) -> impl Iterator<Item = (Option<&str>, Vec<usize>)> {
        let mut split = vec![Vec::new(); self.names.len()];
        for (place, &row) in rows.iter().enumerate() {
            split[self.places[row as usize]].push(place);
        }
        self.names.iter().map(Option::as_deref).zip(split)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_come_by_name_and_those_without_one_first() {
        let mut sums: BySubset<u32> = BySubset::default();
        for (subset, more) in [(Some("web"), 1), (None, 2), (Some("law"), 4), (Some("web"), 8)] {
            *sums.entry(subset) += more;
        }
        assert_eq!(sums.iter().collect::<Vec<_>>(), [(None, &2), (Some("law"), &4), (Some("web"), &9)]);
        assert_eq!((sums.get(Some("law")), sums.get(Some("code"))), (Some(&4), None));
        let text = serde_json::to_string(&sums).unwrap();
        assert_eq!(text, r#"[[null,2],["law",4],["web",9]]"#);
        assert_eq!(serde_json::from_str::<BySubset<u32>>(&text).unwrap(), sums);
        assert!(sums.is_in_order());
        for text in [r#"[["law",4],[null,2]]"#, r#"[["law",4],["law",2]]"#] {
            assert!(!serde_json::from_str::<BySubset<u32>>(text).unwrap().is_in_order(), "{text}");
        }
    }

    #[test]
    fn rows_are_split_among_the_subsets_of_their_tokens() {
        let subset = |name: &str| Some(Arc::from(name));
        let rows = RowSubsets::of(&[subset("web"), subset("web"), None, subset("law"), subset("web")]);
        let split: Vec<_> = rows.split(&[1, 2, 4]).collect();
        assert_eq!(split, [(None, vec![1]), (Some("law"), vec![]), (Some("web"), vec![0, 2])]);
    }
}
