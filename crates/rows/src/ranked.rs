//! Order statistics of float32 streams too long to hold.
//!
//! The bit patterns of non-negative floats have the order of the floats. A first pass counts the upper halves of the
//! bits; a second pass counts the lower halves of those numbers that share the upper half of the result.

use std::cmp::Ordering;

/// Number of values of one half of a float32's bits.
const HALVES: usize = 1 << 16;

/// Returns the number with the given rank (zero is the smallest) and the number with the next rank, if there is one.
///
/// `rank` receives the count of numbers and returns the rank; if it returns `None`, so does this function. `pass`
/// visits all numbers in chunks, in any order, and is called twice. No number may be negative or NaN.
pub fn at_rank<Failure>(
    rank: impl FnOnce(u64) -> Option<u64>,
    mut pass: impl FnMut(&mut dyn FnMut(&[f32])) -> Result<(), Failure>,
) -> Result<Option<(f32, Option<f32>)>, Failure> {
    let mut counts = vec![0u64; HALVES];
    pass(&mut |numbers| numbers.iter().for_each(|number| counts[upper(*number)] += 1))?;
    let Some((sought, rank)) = rank(counts.iter().sum()).and_then(|rank| find(&counts, rank)) else { return Ok(None) };
    counts.fill(0);
    let mut above: Option<f32> = None;
    pass(&mut |numbers| {
        for &number in numbers {
            match upper(number).cmp(&sought) {
                Ordering::Less => {}
                Ordering::Equal => counts[(number.to_bits() & 0xffff) as usize] += 1,
                Ordering::Greater => above = Some(above.map_or(number, |above| above.min(number))),
            }
        }
    })?;
    let number = |rank| find(&counts, rank).map(|(lower, _)| f32::from_bits((sought << 16 | lower) as u32));
    Ok(number(rank).map(|found| (found, number(rank + 1).or(above))))
}

/// The rank of the median among `total` numbers, the lower of two middle ones as in `torch.median`. `None` if there are
/// none.
pub fn lower_middle(total: u64) -> Option<u64> {
    Some(total.checked_sub(1)? / 2)
}

fn upper(number: f32) -> usize {
    (number.to_bits() >> 16) as usize
}

/// Returns the bin that holds a rank, and the rank within that bin.
fn find(counts: &[u64], mut rank: u64) -> Option<(usize, u64)> {
    for (place, &count) in counts.iter().enumerate() {
        if rank < count {
            return Some((place, rank));
        }
        rank -= count;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranks_are_those_of_sorted_numbers(
            mut numbers in vec(prop_oneof![0.001f32..0.002, 0f32..1e30, Just(0.5f32), Just(0f32)], 0..200),
            rank in 0u64..220, some in 1usize..50
        ) {
            let pass = |look: &mut dyn FnMut(&[f32])| {
                numbers.chunks(some).for_each(look);
                Ok::<_, ()>(())
            };
            let mut total = 0;
            let found = at_rank(|count| { total = count; Some(rank) }, pass).unwrap();
            prop_assert_eq!(total, numbers.len() as u64);
            numbers.sort_by(f32::total_cmp);
            let at = |rank: u64| numbers.get(rank as usize).copied();
            prop_assert_eq!(found, at(rank).map(|number| (number, at(rank + 1))));
        }
    }
}
