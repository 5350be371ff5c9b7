//! Firings that are kept as examples.

use serde::{Deserialize, Serialize};

/// An activation at a position of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Activation {
    /// The position, from 0.
    pub position: u32,
    /// The activation, above zero; NaN where the SAE does not read the token.
    pub value: f32,
}

/// A firing of a latent, with the latent's activations around it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Examples with the smallest keys are kept.
    key: u64,
    /// The id of the sequence.
    pub sequence: u64,
    /// Position and activation.
    pub at: Activation,
    /// In the window around it, activations above zero, and tokens that the SAE does not read, in ascending order of positions.
    /// At other positions the latent does not fire.
    pub around: Box<[Activation]>,
}

impl Example {
    fn order(&self) -> (u64, u64, u32) {
        (self.key, self.sequence, self.at.position)
    }
}

/// A bounded choice of firings: those with the smallest keys, and of equal keys the first in sequence and position.
///
/// While firings are offered it holds some more than it will keep, in no order, so that most offers only append or are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Smallest {
    kept: Vec<Example>,
    /// The largest key that may still be kept.
    bound: u64,
}

impl Default for Smallest {
    fn default() -> Self {
        Self { kept: Vec::new(), bound: u64::MAX }
    }
}

impl Smallest {
    /// Holds a firing if it may be among the `most` with the smallest keys. `around` is called only if so.
    pub(crate) fn offer(
        &mut self,
        most: usize,
        key: u64,
        (sequence, at): (u64, Activation),
        around: impl FnOnce() -> Box<[Activation]>,
    ) {
        let held = most + most / 4 + usize::from(most > 0);
        if self.kept.len() == held {
            self.cut(most);
        }
        if key > self.bound || most == 0 {
            return;
        }
        if self.kept.len() == self.kept.capacity() {
            self.kept.reserve_exact((held - self.kept.len()).min(self.kept.len().max(4)));
        }
        self.kept.push(Example { key, sequence, at, around: around() });
    }

    /// Ends the choice of `most`, in order.
    pub(crate) fn settle(&mut self, most: usize) {
        self.cut(most);
        self.kept.sort_unstable_by_key(Example::order);
    }

    /// Leaves out all but `most`.
    fn cut(&mut self, most: usize) {
        if let Some(last) = most.checked_sub(1).filter(|last| *last < self.kept.len()) {
            let (_, last, _) = self.kept.select_nth_unstable_by_key(last, Example::order);
            self.bound = last.key;
        }
        self.kept.truncate(most);
    }

    /// Adds a choice of `most` among other firings.
    pub(crate) fn add(&mut self, other: Self, most: usize) {
        self.kept.extend(other.kept);
        self.settle(most);
    }

    /// Whether this may be a choice of `most`: in order, and of activations above zero.
    pub(crate) fn is_choice_of(&self, most: usize) -> bool {
        let is_above_zero = |value: f32| value > 0.0 && value.is_finite();
        let is_whole = |own: &Example| {
            is_above_zero(own.at.value) && own.around.iter().all(|own| own.value.is_nan() || is_above_zero(own.value))
        };
        self.kept.len() <= most
            && self.kept.is_sorted_by(|left, right| left.order() < right.order())
            && self.kept.iter().all(is_whole)
    }

    /// The choice, smallest keys first.
    pub(crate) fn examples(&self) -> &[Example] {
        &self.kept
    }

    /// The choice, smallest keys first.
    pub(crate) fn into_examples(self) -> Vec<Example> {
        self.kept
    }

    /// At most `wanted` firings of a uniform sample, spread evenly over the sample's quantiles: sorted by activation and cut
    /// into `wanted` strata of equal size, give or take one, of each the one with the smallest key. In ascending order of
    /// activations.
    pub(crate) fn stratified(self, wanted: usize) -> Vec<Example> {
        let mut sample = self.kept;
        sample.sort_by(|left, right| left.at.value.total_cmp(&right.at.value).then(left.order().cmp(&right.order())));
        if sample.len() <= wanted {
            return sample;
        }
        let border = |stratum: usize| stratum * sample.len() / wanted;
        let strata = (0..wanted).map(|stratum| &sample[border(stratum)..border(stratum + 1)]);
        strata.filter_map(|stratum| stratum.iter().min_by_key(|example| example.order()).cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn kept(most: usize, firings: &[(u64, u64, u32)]) -> Smallest {
        let mut smallest = Smallest::default();
        for &(key, sequence, position) in firings {
            smallest.offer(most, key, (sequence, Activation { position, value: key as f32 }), Box::default);
        }
        smallest.settle(most);
        smallest
    }

    fn orders(examples: &[Example]) -> Vec<(u64, u64, u32)> {
        examples.iter().map(Example::order).collect()
    }

    #[test]
    fn strata_give_one_each() {
        let firings: Vec<(u64, u64, u32)> = (0..10).map(|key| (key, 0, 0)).collect();
        let values = |wanted| -> Vec<f32> {
            kept(10, &firings).stratified(wanted).iter().map(|example| example.at.value).collect()
        };
        assert_eq!(values(3), [0.0, 3.0, 6.0]);
        assert_eq!(values(10), (0..10u16).map(f32::from).collect::<Vec<_>>());
        assert_eq!(values(20).len(), 10);
        assert!(values(0).is_empty());
    }

    proptest! {
        #[test]
        fn the_smallest_are_kept_in_any_order(
            firings in vec((0u64..20, 0u64..5, 0u32..5), 0..60),
            most in 0..12usize,
            turn in 0..60usize,
        ) {
            let mut sorted = firings.clone();
            sorted.sort_unstable();
            sorted.dedup();
            let mut turned = sorted.clone();
            if !turned.is_empty() {
                let turn = turn % turned.len();
                turned.rotate_left(turn);
            }
            let (left, right) = turned.split_at(turn % (turned.len() + 1));
            let mut parts = kept(most, left);
            parts.add(kept(most, right), most);
            sorted.truncate(most);
            let whole = kept(most, &turned);
            prop_assert_eq!(&parts, &whole);
            prop_assert!(whole.is_choice_of(most) || sorted.first().is_some_and(|first| first.0 == 0));
            prop_assert_eq!(orders(&whole.into_examples()), sorted);
        }
    }
}
