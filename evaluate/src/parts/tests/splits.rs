//! Any split of the shards, in any order.

use hayloft_results::SequenceSums;
use proptest::prelude::*;

use super::made_up::{Draws, whole};
use super::{assert_same, parts};

/// Returns the items in random order.
fn shuffled<T: Clone>(things: &[T], draws: &mut Draws) -> Vec<T> {
    let mut rest = things.to_vec();
    let mut order = Vec::new();
    while !rest.is_empty() {
        order.push(rest.remove(draws.below(rest.len() as u64) as usize));
    }
    order
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The sums depend on the order of addition; every split and order must give the same bytes.
    #[test]
    fn any_split_in_any_order_gives_the_same_bytes(
        seed in any::<u64>(), shards in 1usize..9, saes in 1usize..4, of in 1usize..12, rich in any::<bool>(),
    ) {
        let whole = whole(seed, shards, saes, rich);
        let mut draws = Draws(!seed);
        assert_same(&whole, &shuffled(&parts(&whole, of, 0..saes), &mut draws));
    }

    /// Each group of SAEs is split separately; SAEs are ordered by the first appearance of their group.
    #[test]
    fn groups_of_saes_come_in_the_order_of_their_naming(
        seed in any::<u64>(), shards in 1usize..6, split in 1usize..3, counts in (1usize..5, 1usize..5), rich in any::<bool>(),
    ) {
        let whole = whole(seed, shards, 3, rich);
        let mut draws = Draws(!seed);
        let mut given = shuffled(&parts(&whole, counts.0, 0..split), &mut draws);
        let mut more = parts(&whole, counts.1, split..3);
        more = shuffled(&more, &mut draws);
        given.insert(1, more.remove(0));
        given.extend(more);
        assert_same(&whole, &given);
    }
}

#[test]
fn what_is_undefined_or_negative_zero_stays_so() {
    let mut whole = whole(3, 2, 1, true);
    let sums = &mut whole.sections[0].shards[0];
    (sums.clean_loss, sums.squared_error, sums.product) = (f64::NAN, f64::INFINITY, -0.0);
    sums.positions.sae_loss.add(3, f64::NEG_INFINITY);
    let tallies = whole.sections[0].sequences.as_mut().unwrap();
    tallies[0].push(SequenceSums::from([f32::NAN; 16]));
    tallies[1].push(SequenceSums::from([f32::INFINITY; 16]));
    let more = |shards: &mut Vec<Vec<SequenceSums>>| {
        for shard in shards {
            shard.push(SequenceSums::default());
        }
    };
    more(whole.sections[1].sequences.as_mut().unwrap());
    let subset = whole.sections[0].subsets.as_mut().unwrap()[1].entry(Some("web"));
    (subset.sums.sae_loss, subset.sums.explained_variance) = (f64::NAN, f64::NEG_INFINITY);
    whole.settle();
    let parts = parts(&whole, 2, 0..1);
    assert!(parts[0].measurement.sections[0].shards[0].product.is_sign_negative());
    assert_same(&whole, &parts);
}
