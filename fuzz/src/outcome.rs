//! What a reader made of an input.

use std::fmt::Display;

/// Read whole, or refused in these words. Both are as it should be.
pub type Outcome = Result<(), String>;

/// The words of an error.
pub(crate) fn words(error: impl Display) -> String {
    error.to_string()
}

/// What is the same of an outcome for inputs that come equally far: its letters outside of quotation marks and brackets,
/// where the input's own bytes are shown.
pub(crate) fn signature(outcome: &Outcome) -> String {
    /// Enough to tell messages apart.
    const LETTERS: usize = 120;
    let Err(words) = outcome else { return "read".to_owned() };
    let mut kept = String::new();
    let mut quote = None;
    for letter in words.chars() {
        match (quote, letter) {
            (None, '"' | '`' | '\'' | '[') => quote = Some(if letter == '[' { ']' } else { letter }),
            (Some(end), _) if end == letter => quote = None,
            (None, _) if letter.is_ascii_alphabetic() => kept.push(letter),
            _ => {}
        }
        if kept.len() == LETTERS {
            break;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_what_is_quoted_make_no_new_outcome() {
        let refused = |words: &str| signature(&Err(words.to_owned()));
        assert_eq!(refused("a: got 3 of \"x\" at 5"), refused("a: got 77 of \"yz\" at 1"));
        assert_ne!(refused("a: got none"), refused("a: got one"));
        assert_ne!(refused("read"), refused("not read"));
    }
}
