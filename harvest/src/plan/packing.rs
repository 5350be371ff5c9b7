//! Packs document tokens into sequences.

use std::num::NonZeroU64;

use hayloft_store::{PackedSequence, Packing, Section, Source, Span};

/// The tokens of one document, without BOS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenisedDocument {
    /// The document.
    pub source: Source,
    /// The tokens; never empty.
    pub tokens: Vec<u32>,
}

/// Packing settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackingSettings {
    /// How documents become sequences.
    pub packing: Packing,
    /// The maximum sequence length; with [`Packing::Concat`], the length of every sequence. At least 2.
    pub context_length: u32,
    /// The token that begins each sequence and stands between documents, if any.
    pub bos: Option<u32>,
    /// Limit on the total number of tokens. Only whole sequences within the limit are kept.
    pub max_tokens: Option<NonZeroU64>,
}

/// Packs documents into sequences.
///
/// ```text
/// concat, context_length 4          per-document, context_length 4
/// documents  abc  defgh             documents  ab  cdefg
/// sequences  ^abc ^def ^gh^…        sequences  ^ab  ^cde
/// ```
///
/// `concat` is the Pile protocol. Its tokens are identical to those of `SAELens`'s `concat_and_batch_sequences` with
/// BOS as `begin_batch_token_id` and as `sequence_separator_token_id`. Each context is full and starts with BOS.
/// Documents are joined with BOS between them. A document that does not fit continues in the next context after a BOS.
/// No BOS is added before a token that is already BOS. If the separator is the last token of a context, the next
/// document starts in the next context, with its BOS. An unfilled last context is dropped.
///
/// `per-document` makes one sequence of each document: BOS and its tokens, truncated to the context length.
#[derive(Debug)]
pub struct Packer {
    settings: PackingSettings,
    /// The context being filled; empty when a new one is due.
    filling: PackedSequence,
    taken_tokens: u64,
    dropped_tokens: u64,
    full: bool,
}

impl Packer {
    /// Creates a packer without documents.
    pub fn new(settings: PackingSettings) -> Self {
        Self { settings, filling: PackedSequence::default(), taken_tokens: 0, dropped_tokens: 0, full: false }
    }

    /// Adds a document and passes every completed sequence to `take`.
    pub fn push(&mut self, document: &TokenisedDocument, take: &mut impl FnMut(PackedSequence)) {
        if self.full {
            return;
        }
        match self.settings.packing {
            Packing::Concat => self.push_joined(document, take),
            Packing::PerDocument => self.push_alone(document, take),
        }
    }

    /// Returns whether `max_tokens` is reached, so no more sequences follow.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Ends the packing. Returns the number of tokens read that are in no sequence: those of the unfilled last context,
    /// or those beyond the context length.
    pub fn finish(self) -> u64 {
        self.dropped_tokens + self.filling.tokens.len() as u64
    }

    fn push_joined(&mut self, document: &TokenisedDocument, take: &mut impl FnMut(PackedSequence)) {
        let TokenisedDocument { source, tokens } = document;
        let context_length = self.settings.context_length as usize;
        let mut rest = tokens.as_slice();
        while let Some(&first) = rest.first() {
            if self.full {
                return;
            }
            // Runs at the start of a context and between two documents. A continued document always starts a new
            // context, because it fills the previous one.
            let before = self.filling.tokens.len();
            self.filling.tokens.extend(self.settings.bos.filter(|bos| first != *bos));
            let room = context_length - self.filling.tokens.len();
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.filling.tokens.extend_from_slice(now);
            let length = (self.filling.tokens.len() - before) as u32;
            self.filling.spans.push(Span { source: source.clone(), length });
            rest = later;
            if self.filling.tokens.len() == context_length {
                let context = std::mem::take(&mut self.filling);
                self.take(context, take);
            }
        }
    }

    fn push_alone(&mut self, document: &TokenisedDocument, take: &mut impl FnMut(PackedSequence)) {
        let TokenisedDocument { source, tokens } = document;
        let own = self.settings.bos.filter(|bos| tokens.first() != Some(bos));
        let room = self.settings.context_length as usize - usize::from(own.is_some());
        let kept = &tokens[..room.min(tokens.len())];
        let mut sequence = Vec::with_capacity(kept.len() + 1);
        sequence.extend(own);
        sequence.extend_from_slice(kept);
        let spans = vec![Span { source: source.clone(), length: sequence.len() as u32 }];
        self.take(PackedSequence { tokens: sequence, spans, ..PackedSequence::default() }, take);
        if !self.full {
            self.dropped_tokens += (tokens.len() - kept.len()) as u64;
        }
    }

    fn take(&mut self, mut sequence: PackedSequence, take: &mut impl FnMut(PackedSequence)) {
        let tokens = self.taken_tokens + sequence.tokens.len() as u64;
        if self.settings.max_tokens.is_some_and(|most| tokens > most.get()) {
            self.full = true;
            return;
        }
        self.taken_tokens = tokens;
        let section = |token: &u32| if self.settings.bos == Some(*token) { Section::Bos } else { Section::Text };
        sequence.sections = sequence.tokens.iter().map(section).collect();
        take(sequence);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    const BOS: u32 = 1;

    fn pack(settings: PackingSettings, documents: &[Vec<u32>]) -> (Vec<PackedSequence>, u64) {
        let mut packer = Packer::new(settings);
        let mut sequences = Vec::new();
        for (index, tokens) in documents.iter().enumerate() {
            let source = Source { document: index as u64, subset: None };
            packer
                .push(&TokenisedDocument { source, tokens: tokens.clone() }, &mut |sequence| sequences.push(sequence));
        }
        (sequences, packer.finish())
    }

    fn settings(packing: Packing, context_length: u32) -> PackingSettings {
        PackingSettings { packing, context_length, bos: Some(BOS), max_tokens: None }
    }

    fn tokens(sequences: &[PackedSequence]) -> Vec<Vec<u32>> {
        sequences.iter().map(|sequence| sequence.tokens.clone()).collect()
    }

    /// A case of `tests/fixtures/packing.json`, generated by `scripts/goldens/packing.py`.
    #[derive(Deserialize)]
    struct Golden {
        name: String,
        bos: u32,
        context_length: u32,
        documents: Vec<Vec<u32>>,
        contexts: Vec<Vec<u32>>,
    }

    #[test]
    fn concat_is_what_saelens_makes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/packing.json");
        let goldens: Vec<Golden> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert!(goldens.len() >= 12);
        for Golden { name, bos, context_length, documents, contexts } in goldens {
            assert_eq!(bos, BOS);
            let (sequences, _) = pack(settings(Packing::Concat, context_length), &documents);
            assert_eq!(tokens(&sequences), contexts, "{name}");
        }
    }

    #[test]
    fn a_separator_counts_with_the_document_after_it() {
        let (sequences, _) = pack(settings(Packing::Concat, 5), &[vec![10, 11, 12], vec![20, 21], vec![30, 31]]);
        let spans: Vec<Vec<(u64, u32)>> = sequences
            .iter()
            .map(|sequence| sequence.spans.iter().map(|span| (span.source.document, span.length)).collect())
            .collect();
        assert_eq!(spans, [[(0, 4), (1, 1)], [(1, 3), (2, 2)]]);
    }

    #[test]
    fn documents_alone_are_cut_to_the_context() {
        let (sequences, dropped) =
            pack(settings(Packing::PerDocument, 4), &[vec![10], vec![20, 21, 22, 23, 24], vec![1, 30]]);
        assert_eq!(tokens(&sequences), [vec![1, 10], vec![1, 20, 21, 22], vec![1, 30]]);
        assert_eq!(dropped, 2);
    }

    #[test]
    fn without_bos_documents_follow_each_other() {
        let documents = [vec![10, 11, 12], vec![1, 20], vec![30]];
        let (sequences, dropped) = pack(PackingSettings { bos: None, ..settings(Packing::Concat, 2) }, &documents);
        assert_eq!(tokens(&sequences), [[10, 11], [12, 1], [20, 30]]);
        assert!(sequences.iter().flat_map(|sequence| &sequence.sections).all(|section| *section == Section::Text));
        assert_eq!(dropped, 0);
        let (sequences, _) = pack(PackingSettings { bos: None, ..settings(Packing::PerDocument, 2) }, &documents);
        assert_eq!(tokens(&sequences), [vec![10, 11], vec![1, 20], vec![30]]);
    }

    #[test]
    fn tokens_in_no_context_are_counted() {
        let (sequences, dropped) = pack(settings(Packing::Concat, 8), &[vec![10, 11], vec![20]]);
        assert!(sequences.is_empty());
        assert_eq!(dropped, 5);
    }

    #[test]
    fn max_tokens_takes_whole_sequences_within_it() {
        for (packing, most, expected) in [
            (Packing::Concat, 7, vec![vec![1, 10, 11], vec![1, 12, 1]]),
            (Packing::Concat, 5, vec![vec![1, 10, 11]]),
            (Packing::Concat, 6, vec![vec![1, 10, 11], vec![1, 12, 1]]),
            (Packing::Concat, 2, vec![]),
            // The second document does not fit, and no later one replaces it.
            (Packing::PerDocument, 5, vec![vec![1, 10, 11]]),
        ] {
            let settings = PackingSettings { max_tokens: NonZeroU64::new(most), ..settings(packing, 3) };
            let (sequences, _) = pack(settings, &[vec![10, 11, 12], vec![20, 21, 22, 23], vec![30]]);
            assert_eq!(tokens(&sequences), expected, "{packing:?} {most}");
        }
    }

    fn documents() -> impl Strategy<Value = Vec<Vec<u32>>> {
        // BOS is among the tokens, because text may contain it.
        prop::collection::vec(prop::collection::vec(1..9_u32, 1..20), 0..12)
    }

    proptest! {
        #[test]
        fn concat_contexts_are_full_and_keep_every_token(documents in documents(), context_length in 2..12_u32) {
            let (sequences, dropped) = pack(settings(Packing::Concat, context_length), &documents);
            for sequence in &sequences {
                prop_assert_eq!(sequence.tokens.len(), context_length as usize);
                prop_assert_eq!(sequence.tokens[0], BOS);
                let spanned: u32 = sequence.spans.iter().map(|span| span.length).sum();
                prop_assert_eq!(spanned, context_length);
            }
            // Without BOS, the contexts and the dropped rest are the concatenated documents.
            let kept: Vec<u32> = tokens(&sequences).concat().into_iter().filter(|token| *token != BOS).collect();
            let joined: Vec<u32> = documents.concat().into_iter().filter(|token| *token != BOS).collect();
            prop_assert!(joined.starts_with(&kept));
            prop_assert!((joined.len() - kept.len()) as u64 <= dropped);
            prop_assert!(dropped < u64::from(context_length));
        }

        #[test]
        fn concat_never_puts_bos_beside_bos(
            documents in prop::collection::vec(prop::collection::vec(2..9_u32, 1..20), 0..12),
            context_length in 2..12_u32,
        ) {
            let (sequences, _) = pack(settings(Packing::Concat, context_length), &documents);
            for sequence in &sequences {
                prop_assert!(!sequence.tokens.windows(2).any(|pair| pair == [BOS, BOS]), "{:?}", sequence.tokens);
            }
        }

        #[test]
        fn documents_alone_start_with_one_bos(documents in documents(), context_length in 2..12_u32) {
            let (sequences, dropped) = pack(settings(Packing::PerDocument, context_length), &documents);
            prop_assert_eq!(sequences.len(), documents.len());
            let mut lost = 0;
            for (sequence, document) in sequences.iter().zip(&documents) {
                prop_assert!(sequence.tokens.len() <= context_length as usize);
                prop_assert_eq!(sequence.tokens[0], BOS);
                let own = usize::from(document[0] != BOS);
                let kept = &sequence.tokens[own..];
                prop_assert!(document.starts_with(kept));
                lost += document.len() - kept.len();
            }
            prop_assert_eq!(lost as u64, dropped);
        }

        #[test]
        fn tokens_stay_within_the_limit(documents in documents(), context_length in 2..12_u32, most in 1..100_u64) {
            for packing in [Packing::Concat, Packing::PerDocument] {
                let all = tokens(&pack(settings(packing, context_length), &documents).0);
                let limited = PackingSettings { max_tokens: NonZeroU64::new(most), ..settings(packing, context_length) };
                let taken = tokens(&pack(limited, &documents).0);
                prop_assert!(all.starts_with(&taken));
                prop_assert!(taken.concat().len() as u64 <= most);
                if let Some(next) = all.get(taken.len()) {
                    prop_assert!((taken.concat().len() + next.len()) as u64 > most);
                }
            }
        }
    }
}
