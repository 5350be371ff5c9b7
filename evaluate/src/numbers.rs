//! Lists of numbers in words.

/// How many runs of numbers are named one by one.
const NAMED: usize = 8;

/// Numbers in order, those that follow one another as a range: `0 to 3, 7, 9`. Of many, the first and how many more.
pub(crate) fn in_words(numbers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let run = |&(first, last): &(usize, usize)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first} to {last}"),
    };
    let named: Vec<String> = runs.iter().take(NAMED).map(run).collect();
    let more: usize = runs.iter().skip(NAMED).map(|(first, last)| last - first + 1).sum();
    if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_is_a_range_and_what_is_too_much_is_counted() {
        assert_eq!(in_words(&[]), "");
        assert_eq!(in_words(&[3]), "3");
        assert_eq!(in_words(&[0, 1, 2, 3, 7, 8, 12]), "0 to 3, 7, 8, 12");
        let odd: Vec<usize> = (0..12).map(|number| 2 * number + 1).collect();
        assert_eq!(in_words(&odd), "1, 3, 5, 7, 9, 11, 13, 15 and 4 more");
    }
}
