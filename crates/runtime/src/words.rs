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

/// Similarity from which a word is taken for a misspelling of another, from 0 to 1; that of clap.
const SIMILAR: f64 = 0.7;

/// Returns `. Did you mean X?` with the known word nearest to `word`, or nothing if none is near.
pub fn did_you_mean<Word: AsRef<str>>(word: &str, known: impl IntoIterator<Item = Word>) -> String {
    let near = known.into_iter().map(|known| (strsim::jaro(word, known.as_ref()), known));
    match near.filter(|(near, _)| *near > SIMILAR).max_by(|(one, _), (other, _)| one.total_cmp(other)) {
        Some((_, known)) => format!(". Did you mean {}?", known.as_ref()),
        None => String::new(),
    }
}

/// Adds [`did_you_mean`] to a message of `serde` that names an unknown field or variant and then the known ones, each
/// between backticks. Other messages stay as they are.
pub fn with_suggestion(message: &str) -> String {
    let names = ["unknown field `", "unknown variant `"].into_iter().find_map(|start| message.split_once(start));
    let Some((word, known)) = names.and_then(|(_, rest)| rest.split_once('`')) else { return message.to_owned() };
    let known = known.split('`').skip(1).step_by(2);
    format!("{}{}", message.trim_end(), did_you_mean(word, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_is_told_from_another_word() {
        let known = ["text", "bos", "control", "user_prompt", "rollout", "final"];
        assert_eq!(did_you_mean("rolout", known), ". Did you mean rollout?");
        assert_eq!(did_you_mean("user-prompt", known), ". Did you mean user_prompt?");
        assert_eq!((did_you_mean("everything", known), did_you_mean("", known)), (String::new(), String::new()));
    }

    #[test]
    fn a_message_of_an_unknown_key_names_the_nearest() {
        let message = "line 1\nunknown field `text_feild`, expected one of `name`, `text_field`, `subset_field`\n";
        assert!(with_suggestion(message).ends_with("`subset_field`. Did you mean text_field?"));
        let message = "unknown variant `concatt`, expected `concat` or `per-document`";
        assert!(with_suggestion(message).ends_with("`per-document`. Did you mean concat?"));
        for message in ["missing field `packing`", "unknown field `md5`, expected `path` or `sha256`"] {
            assert_eq!(with_suggestion(message), message);
        }
    }

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
