//! The font of PDF files: the Latin letters of Arimo (SIL Open Font License, `font/OFL.txt`), which is as wide as
//! Helvetica and Arial, letter for letter.

/// The font's file, embedded in each PDF.
pub(super) const FILE: &[u8] = include_bytes!("font/Arimo-Latin.ttf");

/// The character code of the first width.
pub(super) const FIRST: u8 = 0x20;

/// Widths of the characters of Windows-1252 from [`FIRST`] on, in thousandths of the size; 0 where there is none.
#[rustfmt::skip]
pub(super) const WIDTHS: [u16; 224] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278,
    584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944,
    667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500,
    278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584, 0, 556, 0, 222, 556, 333, 1000, 556, 556, 333, 1000, 667, 333, 1000, 0, 611, 0,
    0, 222, 222, 333, 333, 350, 556, 1000, 333, 1000, 500, 333, 944, 0, 500, 667, 0, 333, 556, 556, 556, 556, 260, 556, 333, 737, 370, 556,
    584, 0, 737, 552, 400, 549, 333, 333, 333, 576, 537, 333, 333, 333, 365, 556, 834, 834, 834, 611, 667, 667, 667, 667, 667, 667, 1000, 722,
    667, 667, 667, 667, 278, 278, 278, 278, 722, 722, 778, 778, 778, 778, 778, 584, 778, 722, 722, 722, 722, 667, 667, 611, 556, 556, 556, 556,
    556, 556, 889, 500, 556, 556, 556, 556, 278, 278, 278, 278, 556, 556, 556, 556, 556, 556, 556, 549, 611, 556, 556, 556, 556, 500, 556, 500,
];

/// The characters of Windows-1252 from 0x80 to 0x9f; a blank where there is none.
const SPECIAL: [char; 32] = [
    '€', ' ', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', ' ', 'Ž', ' ', ' ', '‘', '’', '“', '”', '•', '–',
    '—', '˜', '™', 'š', '›', 'œ', ' ', 'ž', 'Ÿ',
];

/// The width of a text. Characters outside Windows-1252 count as wide ones.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let of = |character| code(character).map_or(1000, |code| WIDTHS[usize::from(code - FIRST)]);
    text.chars().map(|character| f64::from(of(character))).sum::<f64>() * size / 1000.0
}

/// The code of a character in Windows-1252, or of one that looks the same; that of a blank for a control character.
pub(super) fn code(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ (0x20..=0x7e | 0xa1..=0xac | 0xae..=0xff) => u8::try_from(code).ok(),
        0xa0 => Some(FIRST),
        // Windows-1252 has no minus sign; an en dash looks the same.
        0x2212 => Some(0x96),
        _ if character.is_control() => Some(FIRST),
        _ => {
            let place = SPECIAL.iter().position(|special| *special == character)?;
            u8::try_from(0x80 + place).ok()
        }
    }
}

/// Shortens a text in its middle until it fits a width.
pub(super) fn shorten(text: &str, size: f64, most: f64) -> String {
    if width(text, size) <= most {
        return text.to_owned();
    }
    let characters: Vec<char> = text.chars().collect();
    let kept = |count: usize| {
        let (head, tail) = (count.div_ceil(2), count / 2);
        let end = &characters[characters.len() - tail..];
        characters[..head].iter().chain(&['…']).chain(end).collect::<String>()
    };
    (0..characters.len()).rev().map(kept).find(|short| width(short, size) <= most).unwrap_or_else(|| "…".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_the_font() {
        let u16_at = |at: usize| u16::from_be_bytes([FILE[at], FILE[at + 1]]);
        let u32_at = |at: usize| u32::from_be_bytes([FILE[at], FILE[at + 1], FILE[at + 2], FILE[at + 3]]) as usize;
        let table = |tag: &[u8]| {
            let mut places = (0..usize::from(u16_at(4))).map(|place| 12 + 16 * place);
            u32_at(places.find(|&at| &FILE[at..at + 4] == tag).unwrap() + 8)
        };
        let (cmap, head, hhea, hmtx) = (table(b"cmap"), table(b"head"), table(b"hhea"), table(b"hmtx"));
        let map = cmap + u32_at(cmap + 8);
        assert_eq!(u16_at(map), 4, "segments of characters");
        let (segments, advances) = (usize::from(u16_at(map + 6)), usize::from(u16_at(hhea + 34)));
        let glyph = |character: u16| {
            let mut ends = (0..segments).step_by(2).map(|at| map + 14 + at);
            let end = ends.find(|&at| u16_at(at) >= character).unwrap();
            let (start, offset) = (end + 2 + segments, end + 2 + 3 * segments);
            let shift = u16_at(start + segments);
            match u16_at(offset) {
                _ if u16_at(start) > character => 0,
                0 => character.wrapping_add(shift),
                from => u16_at(offset + usize::from(from) + 2 * usize::from(character - u16_at(start))),
            }
        };
        for code in FIRST..=255 {
            let characters = (0..=0x2fff_u32).filter_map(char::from_u32);
            let Some(character) = characters
                .filter(|one| *one != '\u{a0}' && !one.is_control())
                .find(|one| super::code(*one) == Some(code))
            else {
                continue;
            };
            let advance = usize::from(glyph(u16::try_from(u32::from(character)).unwrap())).min(advances - 1);
            let units = f64::from(u16_at(hmtx + 4 * advance)) * 1000.0 / f64::from(u16_at(head + 18));
            let own = f64::from(WIDTHS[usize::from(code - FIRST)]);
            assert!((own - units).abs() <= 0.5, "{character}: {own}, expected {units}");
        }
    }

    #[test]
    fn long_names_are_shortened_in_the_middle() {
        let name = "gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82";
        let short = shorten(name, 13.0, 150.0);
        assert!(width(&short, 13.0) <= 150.0 && short.starts_with("gemma") && short.ends_with("l0_82"), "{short}");
        assert_eq!(shorten("base SAE", 13.0, 150.0), "base SAE");
    }
}
