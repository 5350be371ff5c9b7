//! Coverage of the intervals: 95% of them must contain the true value, over many synthetic caches.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::{Bootstrap, Interval, Uncertain, uncertainty};
use crate::sums::sequence::SequenceSums;
use crate::sums::sequence::tests::sequence;

const SEQUENCES: usize = 300;
const RESAMPLES: usize = 500;

/// Correlation between the logarithms of a sequence's length and loss.
const CORRELATION: f64 = 0.4;

/// How much larger the second SAE's loss is, in the median sequence.
const MORE: f64 = 0.05;

/// Standard deviations of the logarithms of a sequence's length, loss, error, and difference between the SAEs.
struct Spread {
    length: f64,
    loss: f64,
    error: f64,
    more: f64,
}

/// Two independent standard normal draws (Box and Muller).
fn normals(generator: &mut Pcg64Mcg) -> (f64, f64) {
    let mut uniform = || (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let (radius, angle) = ((-2.0 * (1.0 - uniform()).ln()).sqrt(), std::f64::consts::TAU * uniform());
    (radius * angle.cos(), radius * angle.sin())
}

/// A cache's sequences under two SAEs. Losses and errors have heavy tails and vary by sequence, not by token.
fn dataset(generator: &mut Pcg64Mcg, spread: &Spread) -> [Vec<SequenceSums>; 2] {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..SEQUENCES {
        let ((of_length, apart), (of_error, of_more)) = (normals(generator), normals(generator));
        let tokens = (6.0 + spread.length * of_length).exp().round();
        let of_loss = CORRELATION * of_length + (1.0 - CORRELATION * CORRELATION).sqrt() * apart;
        let loss = (spread.loss * of_loss).exp();
        let more = MORE * (spread.more * of_more).exp();
        let error = (tokens * (spread.error * of_error).exp()) as f32;
        first.push(sequence(tokens as f32, (tokens * loss) as f32, error));
        second.push(sequence(tokens as f32, (tokens * (loss + more)) as f32, error));
    }
    [first, second]
}

/// Per cent of intervals that contain the truth, for a mean loss, the share recovered, the explained variance, and the
/// difference of two mean losses.
fn coverage(spread: &Spread, datasets: u64) -> [f64; 4] {
    // Means over tokens of lognormal variables. The loss correlates with the length, which raises its mean.
    let mean = |spread: f64| (spread * spread / 2.0).exp();
    let loss = mean(spread.loss) * (CORRELATION * spread.loss * spread.length).exp();
    let (error, more) = (mean(spread.error), MORE * mean(spread.more));
    let mut covered = [0.0; 4];
    for number in 0..datasets {
        let [first, second] = dataset(&mut Pcg64Mcg::seed_from_u64(number), spread);
        let sae = |name, sequences| Uncertain { name, sequences, scale: 1.0, target_scale: 1.0, has_kl: false };
        let found = uncertainty(Bootstrap { resamples: RESAMPLES }, &[sae("first", &first), sae("second", &second)]);
        let difference = &found[1].difference.as_ref().unwrap().figures["ce_sae"].interval;
        let own = &found[0].figures;
        for (covered, (Interval { low, high }, truth)) in covered.iter_mut().zip([
            (&own["ce_sae"], loss),
            (&own["ce_recovered"], (10.0 - loss) / 8.0),
            (&own["explained_variance_pooled"], 1.0 - error / 8.0),
            (difference, more),
        ]) {
            *covered += if *low <= truth && truth <= *high { 100.0 / datasets as f64 } else { 0.0 };
        }
    }
    eprintln!("{datasets} caches of {SEQUENCES} sequences, {RESAMPLES} resamples: {covered:.1?} per cent covered");
    covered
}

#[test]
fn intervals_cover_the_truth_as_often_as_they_say() {
    let covered = coverage(&Spread { length: 0.35, loss: 0.35, error: 0.6, more: 0.7 }, 2000);
    assert!(covered.iter().all(|percent| (93.0..=97.0).contains(percent)), "{covered:?}");
}

/// Resampling cannot see a tail that the sample lacks. If few sequences dominate, intervals are slightly too narrow.
#[test]
fn intervals_of_what_a_few_sequences_decide_are_not_far_off() {
    let covered = coverage(&Spread { length: 0.5, loss: 0.5, error: 0.8, more: 1.0 }, 500);
    assert!(covered.iter().all(|percent| (89.0..=97.0).contains(percent)), "{covered:?}");
}
