//! Groups of tokens that firings are counted by.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// A group of tokens. A token is in one group of each kind, and in none of turns if its conversation has no turns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Group {
    /// Tokens of a section, by its name.
    Section(String),
    /// Tokens of a subset of the corpus, or of documents without one.
    Subset(Option<String>),
    /// Tokens of a turn of their conversations, from 0.
    Turn(u32),
}

impl Group {
    /// The name of a section or subset.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Section(name) => Some(name),
            Self::Subset(name) => name.as_deref(),
            Self::Turn(_) => None,
        }
    }

    /// The number of a turn.
    pub fn turn(&self) -> Option<u32> {
        match self {
            Self::Turn(turn) => Some(*turn),
            Self::Section(_) | Self::Subset(_) => None,
        }
    }
}

/// Numbers of groups, in the order in which they are first asked for. Threads may share it.
#[derive(Debug, Default)]
pub struct GroupNumbers(Mutex<BTreeMap<Group, u32>>);

impl GroupNumbers {
    /// The number of a group.
    pub fn number(&self, group: &Group) -> u32 {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&number) = numbers.get(group) {
            return number;
        }
        let number = numbers.len() as u32;
        numbers.insert(group.clone(), number);
        number
    }

    /// The groups in their own order, sections first, with their numbers.
    pub(crate) fn sorted(&self) -> Vec<(Group, u32)> {
        let numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.iter().map(|(group, &number)| (group.clone(), number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_their_numbers_and_come_by_kind_and_name() {
        let numbers = GroupNumbers::default();
        let section = |name: &str| Group::Section(name.to_owned());
        let groups = [Group::Turn(1), section("text"), Group::Subset(Some("web".to_owned())), Group::Subset(None)];
        for (number, group) in (0..).zip(&groups) {
            assert_eq!(numbers.number(group), number);
        }
        assert_eq!((numbers.number(&section("text")), numbers.number(&section("bos"))), (1, 4));
        let sorted: Vec<u32> = numbers.sorted().into_iter().map(|(_, number)| number).collect();
        assert_eq!(sorted, [4, 1, 3, 2, 0]);
    }
}
