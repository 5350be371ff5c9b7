//! Groups prompts into batches.

use std::ops::Range;

use super::prompts::Asked;

/// Cuts prompts, in order, into batches of up to `batch_tokens` tokens: rows × (longest prompt + `max_new_tokens`).
/// A prompt above the limit has its own batch.
pub(super) fn batches(prompts: &[Asked], max_new_tokens: usize, batch_tokens: usize) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let (mut start, mut longest) = (0, 0);
    for (index, prompt) in prompts.iter().enumerate() {
        let width = longest.max(prompt.tokens.len().saturating_add(max_new_tokens));
        if index > start && width.saturating_mul(index + 1 - start) > batch_tokens {
            batches.push(start..index);
            start = index;
            longest = prompt.tokens.len().saturating_add(max_new_tokens);
        } else {
            longest = width;
        }
    }
    if start < prompts.len() {
        batches.push(start..prompts.len());
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(lengths: &[usize], max_new_tokens: usize, batch_tokens: usize) -> Vec<Range<usize>> {
        let prompt = |length: &usize| Asked {
            row: 0,
            instruction: String::new(),
            prompt: String::new(),
            tokens: vec![0; *length],
        };
        batches(&lengths.iter().map(prompt).collect::<Vec<_>>(), max_new_tokens, batch_tokens)
    }

    #[test]
    fn padding_and_room_count() {
        assert_eq!(cut(&[2, 2, 2, 2, 2], 2, 8), [0..2, 2..4, 4..5]);
        assert_eq!(cut(&[1, 6, 1, 1, 1], 2, 16), [0..2, 2..5]);
        assert_eq!(cut(&[1, 1, 1, 6], 2, 9), [0..3, 3..4]);
        assert_eq!(cut(&[20, 1, 20], 2, 8), [0..1, 1..2, 2..3]);
        assert_eq!(cut(&[1], usize::MAX, 8), std::slice::from_ref(&(0..1)));
        assert!(cut(&[], 2, 8).is_empty());
    }
}
