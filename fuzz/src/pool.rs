//! The inputs that are mutated: the corpus, and what has come somewhere new since.

use std::collections::HashSet;

use rand::Rng;

use crate::outcome::signature;
use crate::{Outcome, mutate};

/// Outcomes are told apart by words, some of which come from the input; there is an end to how many are followed.
const MOST_INPUTS: usize = 1024;

/// Inputs to mutate.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    inputs: Vec<Vec<u8>>,
    seen: HashSet<String>,
}

impl Pool {
    /// Adds an input of the corpus.
    pub(crate) fn add_seed(&mut self, input: Vec<u8>) {
        self.inputs.push(input);
    }

    /// Keeps an input if its outcome is a new one.
    pub(crate) fn learn(&mut self, input: &[u8], outcome: &Outcome) {
        if self.inputs.len() < MOST_INPUTS && self.seen.insert(signature(outcome)) {
            self.inputs.push(input.to_vec());
        }
    }

    /// How many inputs there are.
    pub(crate) fn len(&self) -> usize {
        self.inputs.len()
    }

    /// An input to try: a mutated one of these.
    pub(crate) fn next(&self, random: &mut impl Rng) -> Vec<u8> {
        let mut input = self.pick(random).to_vec();
        mutate::mutate(&mut input, self.pick(random), random);
        input
    }

    fn pick(&self, random: &mut impl Rng) -> &[u8] {
        match self.inputs.len() {
            0 => &[],
            count => &self.inputs[mutate::below(random, count)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_somewhere_new_is_kept_once() {
        let mut pool = Pool::default();
        pool.add_seed(b"seed".to_vec());
        for (outcome, expected) in [(Ok(()), 2), (Ok(()), 2), (Err("no".to_owned()), 3), (Err("no".to_owned()), 3)] {
            pool.learn(b"input", &outcome);
            assert_eq!(pool.len(), expected);
        }
    }
}
