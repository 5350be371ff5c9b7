//! Formatting of numbers in messages.

/// Most runs that a list names.
const NAMED: usize = 8;

/// Formats ascending numbers, with runs as ranges: `0 to 3, 7, 9`. A long list is cut, with a count of the rest.
pub fn list(numbers: &[usize]) -> String {
    let mut runs = numbers.chunk_by(|one, next| one.checked_add(1) == Some(*next));
    let in_words = |run: &[usize]| match run {
        [first, _, .., last] => format!("{first} to {last}"),
        _ => run.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
    };
    let named: Vec<String> = runs.by_ref().take(NAMED).map(in_words).collect();
    let more: usize = runs.map(<[usize]>::len).sum();
    if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
}

/// Formats a positive number with six significant digits and no trailing zeros.
pub fn brief(number: f64) -> String {
    const DIGITS: i32 = 6;
    let decimals = (DIGITS - 1 - number.abs().log10().floor() as i32).clamp(0, 12) as usize;
    let text = format!("{number:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_become_ranges_and_long_lists_end_with_a_count() {
        assert_eq!(list(&[]), "");
        assert_eq!(list(&[3]), "3");
        assert_eq!(list(&[0, 1, 2, 3, 7, 8, 12]), "0 to 3, 7, 8, 12");
        let odd: Vec<usize> = (0..12).map(|number| 2 * number + 1).collect();
        assert_eq!(list(&odd), "1, 3, 5, 7, 9, 11, 13, 15 and 4 more");
    }

    #[test]
    fn numbers_have_six_significant_digits() {
        let cases = [(20.0, "20"), (151.662_104_3, "151.662"), (0.043_012_345_6, "0.0430123"), (11_092.4, "11092.4")];
        for (number, text) in cases {
            assert_eq!(brief(number), text);
        }
        assert_eq!(brief(1_234_567.8), "1234568");
    }
}
