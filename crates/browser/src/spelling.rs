//! Tokens in the spelling of a vocabulary, made readable.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::LazyLock;

/// How a vocabulary spells bytes and spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// Each byte is a printable character, as in GPT-2: a space is `Ġ`, a line feed `Ċ`.
    ByteLevel,
    /// Text with `▁` for a space and `<0x0A>` for a byte, as in `SentencePiece`.
    SentencePiece,
    /// Text as it is.
    Plain,
}

/// The bytes that characters of a byte-level vocabulary stand for.
static BYTES: LazyLock<HashMap<char, u8>> = LazyLock::new(|| {
    let is_itself = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=u8::MAX).filter(|byte| !is_itself(*byte));
    let shifted = others.zip(0x100u32..).filter_map(|(byte, code)| Some((char::from_u32(code)?, byte)));
    (0..=u8::MAX).filter(|byte| is_itself(*byte)).map(|byte| (char::from(byte), byte)).chain(shifted).collect()
});

impl Spelling {
    /// The spelling that most of these texts have.
    pub(crate) fn of<'text>(texts: impl IntoIterator<Item = &'text str>) -> Self {
        let (mut bytes, mut pieces) = (0, 0);
        for text in texts {
            bytes += usize::from(text.contains(['Ġ', 'Ċ']));
            pieces += usize::from(text.contains('▁') || byte_of(text).is_some());
        }
        match bytes.max(pieces) {
            0 => Self::Plain,
            most if most == bytes => Self::ByteLevel,
            _ => Self::SentencePiece,
        }
    }

    /// The token as its text: a line feed is `↵`, a tab `⇥`; characters that are not seen, or that turn text around, and bytes
    /// that are no text are escaped.
    pub(crate) fn readable(self, text: &str) -> String {
        let bytes: Option<Vec<u8>> = match self {
            Self::ByteLevel => text.chars().map(|character| BYTES.get(&character).copied()).collect(),
            Self::SentencePiece => byte_of(text).map(|byte| vec![byte]),
            Self::Plain => None,
        };
        let mut readable = String::new();
        if let Some(bytes) = bytes {
            for chunk in bytes.utf8_chunks() {
                chunk.valid().chars().for_each(|character| show(character, &mut readable));
                for byte in chunk.invalid() {
                    let _ = write!(readable, "\\x{byte:02x}");
                }
            }
        } else {
            let space = |character| if self == Self::SentencePiece && character == '▁' { ' ' } else { character };
            text.chars().map(space).for_each(|character| show(character, &mut readable));
        }
        readable
    }
}

/// The byte of a token such as `<0x0A>`.
fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)
}

fn show(character: char, readable: &mut String) {
    match character {
        '\n' => readable.push('↵'),
        '\t' => readable.push('⇥'),
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
            let _ = write!(readable, "\\u{:04x}", u32::from(character));
        }
        _ if character.is_control() => {
            let _ = write!(readable, "\\x{:02x}", u32::from(character));
        }
        _ => readable.push(character),
    }
}

/// What a token is found by: its text in lower case, without spaces around it.
pub(crate) fn term(readable: &str) -> String {
    match readable.trim() {
        "" => readable.replace(' ', "·"),
        trimmed => trimmed.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_told_apart_by_what_most_tokens_have() {
        assert_eq!(Spelling::of(["Ġthe", "a", "▁"]), Spelling::ByteLevel);
        assert_eq!(Spelling::of(["▁the", "a", "▁b", "Ġ"]), Spelling::SentencePiece);
        assert_eq!(Spelling::of(["<0x0A>"]), Spelling::SentencePiece);
        assert_eq!(Spelling::of(["the", "a"]), Spelling::Plain);
    }

    #[test]
    fn tokens_are_readable() {
        for (spelling, text, expected) in [
            (Spelling::ByteLevel, "Ġthe", " the"),
            (Spelling::ByteLevel, "ĊĊĉ", "↵↵⇥"),
            (Spelling::ByteLevel, "Ã©", "é"),
            (Spelling::ByteLevel, "âĢ", "\\xe2\\x80"),
            (Spelling::ByteLevel, "<|im_end|>", "<|im_end|>"),
            (Spelling::ByteLevel, "<｜begin▁of▁text｜>", "<｜begin▁of▁text｜>"),
            (Spelling::SentencePiece, "▁the", " the"),
            (Spelling::SentencePiece, "<0x0A>", "↵"),
            (Spelling::SentencePiece, "<0xE2>", "\\xe2"),
            (Spelling::SentencePiece, "<0x0a", "<0x0a"),
            (Spelling::SentencePiece, "Ã©", "Ã©"),
            (Spelling::Plain, "▁a\u{202e}\u{2028}\u{7}", "▁a\\u202e\\u2028\\x07"),
        ] {
            assert_eq!(spelling.readable(text), expected, "{spelling:?}: {text}");
        }
    }

    #[test]
    fn a_token_of_spaces_is_found_by_dots() {
        assert_eq!((term(" The"), term("  "), term("")), ("the".to_owned(), "··".to_owned(), String::new()));
    }
}
