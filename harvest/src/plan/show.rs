//! Shows planned sequences as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use hayloft_model::Tokenizer;
use hayloft_store::{PlanReader, Sequence, Tokens};

use crate::error::HarvestError;

/// Returns the first `count` sequences of the plan in `folder` as text. Each line is a run of tokens in one section:
/// the turn if there are several, the section, the number of tokens, and their text with `·` between tokens.
pub fn show_sequences(folder: &Path, model: &Path, count: u64) -> Result<String, HarvestError> {
    let tokenizer = Tokenizer::open(model)?;
    let plan = PlanReader::open(folder)?;
    // Sequences within a shard are ordered by length, not by id.
    let mut shown = BTreeMap::new();
    for shard in 0..plan.plan().shards.len() {
        let (sequences, tokens) = plan.sequences_and_tokens(shard)?;
        for sequence in sequences.iter().filter(|sequence| sequence.id < count) {
            shown.insert(sequence.id, describe(sequence, &tokens, &tokenizer));
        }
        if shown.len() as u64 == count {
            break;
        }
    }
    Ok(shown.into_values().collect())
}

fn describe(sequence: &Sequence, tokens: &Tokens, tokenizer: &Tokenizer) -> String {
    let rows = sequence.first_row as usize..(sequence.first_row + u64::from(sequence.length)) as usize;
    let (ids, sections) = (&tokens.token[rows.clone()], &tokens.section[rows.clone()]);
    let turns = tokens.turn.get(rows).unwrap_or_default();
    let mut text = format!("sequence {} from row {}, {} tokens\n", sequence.id, sequence.document, sequence.length);
    let mut start = 0;
    while start < sections.len() {
        let of = |index: usize| (sections[index], turns.get(index));
        let end = (start..sections.len()).find(|index| of(*index) != of(start)).unwrap_or(sections.len());
        let words: Vec<String> =
            ids[start..end].iter().map(|id| tokenizer.vocabulary_text(*id)).map(|word| visible(&word)).collect();
        let (section, turn) = of(start);
        let turn = turn.map(|turn| format!("{turn:>3} ")).unwrap_or_default();
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{turn}  {:<12}{:>5}  {}", section.as_str(), end - start, words.join("·"));
        start = end;
    }
    text
}

/// Escapes control characters, so that a token stays on one line.
fn visible(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { letter.escape_default().to_string() } else { letter.into() })
        .collect()
}
