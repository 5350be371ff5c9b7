//! Small random changes of an input, of the kinds that readers get wrong.

use rand::Rng;

/// No input grows beyond this.
const MOST_BYTES: usize = 1 << 16;

/// The most changes at a time; fewer are likelier.
const MOST_CHANGES: u32 = 6;

/// The most times that a piece is put in again.
const MOST_COPIES: usize = 3000;

/// Numbers at the edges of their types.
const EDGES: [u64; 24] = [
    0,
    1,
    2,
    7,
    8,
    64,
    127,
    128,
    255,
    256,
    1 << 15,
    (1 << 16) - 1,
    1 << 16,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    1 << 40,
    1 << 53,
    (1 << 62) - 1,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// Texts that mean something to one of the readers.
const WORDS: [&str; 40] = [
    "PAR1",
    "null",
    "true",
    "-1",
    "1e999",
    "-0.0",
    "NaN",
    "0.1",
    "18446744073709551616",
    "9223372036854775807",
    "{",
    "}",
    "[",
    "]",
    "[[",
    "{\"a\":",
    "\"\"",
    "\"",
    ",",
    ":",
    "\\ud800",
    "\\u0000",
    "\n",
    "\\",
    "../",
    "/",
    "\u{0}",
    "\u{f8f0}",
    "{%",
    "%}",
    "{{",
    "}}",
    "{% for a in range(99999) %}",
    "{% endfor %}",
    "|tojson",
    " * 999999",
    "F64",
    "BF16",
    "data_offsets",
    "shape",
];

/// A number less than `count`, which is not 0.
pub(crate) fn below(random: &mut impl Rng, count: usize) -> usize {
    ((u128::from(random.next_u64()) * count as u128) >> 64) as usize
}

/// Changes `input` in one to six ways; `other` is what pieces are taken from.
pub(crate) fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut impl Rng) {
    let changes = 1 + (random.next_u64().trailing_zeros().min(MOST_CHANGES - 1));
    for _ in 0..changes {
        change(input, other, random);
        input.truncate(MOST_BYTES);
    }
}

fn change(input: &mut Vec<u8>, other: &[u8], random: &mut impl Rng) {
    let place = below(random, input.len() + 1);
    match below(random, 14) {
        0 => flip_bit(input, place, random),
        1 => set_byte(input, place, random.next_u64() as u8),
        2 => input.truncate(place),
        3 => drop(input.drain(place..(place + length(random)).min(input.len()))),
        4 => insert(input, place, WORDS[below(random, WORDS.len())].as_bytes()),
        5 => overwrite(input, place, WORDS[below(random, WORDS.len())].as_bytes()),
        6 => edge(input, place, random),
        7 => step(input, place, random),
        8 => varint(input, place, random),
        9 | 10 => digits(input, place, random),
        11 => length_field(input, random),
        12 => {
            let copies = if below(random, 8) == 0 { MOST_COPIES } else { 4 };
            let piece = input[place..(place + length(random)).min(input.len())].repeat(1 + below(random, copies));
            insert(input, place, &piece);
        }
        _ => splice(input, place, other, random),
    }
}

/// The length of a piece: mostly short.
fn length(random: &mut impl Rng) -> usize {
    let longest = 2 << below(random, 8);
    1 + below(random, longest)
}

fn set_byte(input: &mut [u8], place: usize, value: u8) {
    if let Some(byte) = input.get_mut(place) {
        *byte = value;
    }
}

fn flip_bit(input: &mut [u8], place: usize, random: &mut impl Rng) {
    if let Some(byte) = input.get_mut(place) {
        *byte ^= 1 << below(random, 8);
    }
}

fn insert(input: &mut Vec<u8>, place: usize, piece: &[u8]) {
    let room = MOST_BYTES.saturating_sub(input.len()).min(piece.len());
    drop(input.splice(place..place, piece[..room].iter().copied()));
}

fn overwrite(input: &mut [u8], place: usize, piece: &[u8]) {
    for (byte, new) in input[place..].iter_mut().zip(piece) {
        *byte = *new;
    }
}

/// A little-endian number of 1, 2, 4 or 8 bytes at the edge of its type, or a small step from it.
fn edge(input: &mut [u8], place: usize, random: &mut impl Rng) {
    let width = 1 << below(random, 4);
    let number = EDGES[below(random, EDGES.len())];
    overwrite(input, place, &number.to_le_bytes()[..width]);
}

/// A little-endian number that is a few more or less than it was.
fn step(input: &mut [u8], place: usize, random: &mut impl Rng) {
    let width = 1 << below(random, 4);
    let mut number = [0; 8];
    let there = &input[place..(place + width).min(input.len())];
    number[..there.len()].copy_from_slice(there);
    let stepped = u64::from_le_bytes(number).wrapping_add(below(random, 33) as u64).wrapping_sub(16);
    overwrite(input, place, &stepped.to_le_bytes()[..width]);
}

/// A number of seven bits a byte, as Thrift and Parquet write them, in the place of one.
fn varint(input: &mut Vec<u8>, place: usize, random: &mut impl Rng) {
    let mut number = EDGES[below(random, EDGES.len())];
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    let old = input[place..].iter().position(|byte| byte & 0x80 == 0).map_or(0, |last| last + 1);
    // Longer ones are no varint.
    let old = if old > 10 { 1 } else { old };
    drop(input.splice(place..place + old, bytes));
}

/// Another number in the place of the next one that is written in digits.
fn digits(input: &mut Vec<u8>, place: usize, random: &mut impl Rng) {
    let Some(start) = input[place..].iter().position(u8::is_ascii_digit).map(|first| place + first) else { return };
    let end = input[start..].iter().position(|byte| !byte.is_ascii_digit()).map_or(input.len(), |after| start + after);
    let number = match below(random, 4) {
        0 => "-1".to_owned(),
        1 => below(random, 100).to_string(),
        _ => EDGES[below(random, EDGES.len())].to_string(),
    };
    drop(input.splice(start..end, number.into_bytes()));
}

/// The number that says how long a header or footer is: first in a safetensors file, before the last magic in Parquet.
fn length_field(input: &mut [u8], random: &mut impl Rng) {
    let place = if below(random, 2) == 0 { 0 } else { input.len().saturating_sub(8) };
    if below(random, 2) == 0 {
        edge(input, place, random);
    } else {
        step(input, place, random);
    }
}

/// A piece of another input in the place of a piece of this one.
fn splice(input: &mut Vec<u8>, place: usize, other: &[u8], random: &mut impl Rng) {
    let from = below(random, other.len() + 1);
    let piece = &other[from..(from + 4 * length(random)).min(other.len())];
    if below(random, 2) == 0 {
        overwrite(input, place, piece);
    } else {
        insert(input, place, piece);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    use super::*;

    #[test]
    fn inputs_differ_stay_bounded_and_depend_on_the_seed_alone() {
        let run = |seed| {
            let mut random = Pcg64::seed_from_u64(seed);
            let mut input = Vec::new();
            let mut all = Vec::new();
            for _ in 0..5000 {
                mutate(&mut input, br#"{"a": [1, 22], "b": "PAR1"}"#, &mut random);
                assert!(input.len() <= MOST_BYTES);
                all.push(input.clone());
            }
            all
        };
        let first = run(1);
        assert!(first == run(1));
        assert!(first != run(2));
        assert!(first.iter().collect::<HashSet<_>>().len() > 4000);
    }

    #[test]
    fn a_number_in_digits_is_replaced_whole() {
        let mut random = Pcg64::seed_from_u64(3);
        for _ in 0..50 {
            let mut input = b"{\"bytes\": 1234}".to_vec();
            digits(&mut input, 2, &mut random);
            assert!(input.starts_with(b"{\"bytes\": ") && input.ends_with(b"}"), "{}", input.escape_ascii());
        }
    }
}
