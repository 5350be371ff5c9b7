//! The tokens around examples.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hayloft_latents::{Context, Example, Latent};
use hayloft_store::{Cache, Section, Sequence, Tokens};
use serde::{Deserialize, Serialize};

use crate::error::EvaluateError;

/// Contexts in memory at once, of about 200 bytes each.
const AT_ONCE: usize = 1 << 20;

/// The contexts of some examples, by sequence and position.
pub(crate) type Contexts = BTreeMap<(u64, u32), Context>;

/// Where the tokens of sequences come from.
pub(crate) trait Sequences {
    /// Passes on the sequences of these ids, as many of them as there are.
    fn for_each(&self, wanted: &BTreeSet<u64>, look: &mut dyn FnMut(&LabelledSequence)) -> Result<(), EvaluateError>;
}

/// The token tables of the shards at these indices.
pub(crate) struct CacheSequences<'run> {
    pub(crate) cache: &'run Cache,
    pub(crate) places: &'run [usize],
}

/// The tokens of a sequence, with their labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LabelledSequence {
    pub(crate) id: u64,
    pub(crate) tokens: Vec<u32>,
    /// The labels of consecutive runs of tokens.
    labels: Vec<LabelRun>,
}

/// Tokens with the same labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LabelRun {
    /// The position after the last of them.
    end: u32,
    document: u64,
    section: Section,
    subset: Option<Arc<str>>,
    turn: Option<u32>,
}

/// Splits latents into runs that have about [`AT_ONCE`] examples. The sequences are read once for each run.
pub(crate) fn runs(latents: &[Latent]) -> Vec<&[Latent]> {
    let mut runs = Vec::new();
    let (mut first, mut examples) = (0, 0);
    for (latent, own) in latents.iter().enumerate() {
        examples += own.top.len() + own.sampled.len();
        if examples >= AT_ONCE || latent + 1 == latents.len() {
            runs.push(&latents[first..=latent]);
            (first, examples) = (latent + 1, 0);
        }
    }
    runs
}

/// The contexts of all examples of some latents, `window` tokens on either side. Examples whose sequences are not there have
/// none.
pub(crate) fn read(sequences: &dyn Sequences, latents: &[Latent], window: u32) -> Result<Contexts, EvaluateError> {
    let all = latents.iter().flat_map(|own| own.top.iter().chain(&own.sampled));
    let wanted: BTreeSet<(u64, u32)> = all.map(place_of).collect();
    let mut contexts = Contexts::new();
    sequences.for_each(&wanted.iter().map(|(id, _)| *id).collect(), &mut |sequence| {
        for &(id, position) in wanted.range((sequence.id, 0)..=(sequence.id, u32::MAX)) {
            contexts.extend(sequence.context(position, window).map(|context| ((id, position), context)));
        }
    })?;
    Ok(contexts)
}

/// The place of an example in the cache.
pub(crate) fn place_of(example: &Example) -> (u64, u32) {
    (example.sequence, example.at.position)
}

impl Sequences for CacheSequences<'_> {
    fn for_each(&self, wanted: &BTreeSet<u64>, look: &mut dyn FnMut(&LabelledSequence)) -> Result<(), EvaluateError> {
        let mut found = 0;
        for &place in self.places {
            let shard = self.cache.shard(place)?;
            let sequences: Vec<&Sequence> = shard.sequences().iter().filter(|own| wanted.contains(&own.id)).collect();
            if sequences.is_empty() {
                continue;
            }
            let tokens = shard.tokens()?;
            for sequence in &sequences {
                look(&LabelledSequence::of(sequence, &tokens));
            }
            found += sequences.len();
        }
        if found < wanted.len() {
            return Err(EvaluateError::CacheChanged { cache: self.cache.folder().to_path_buf() });
        }
        Ok(())
    }
}

impl LabelledSequence {
    fn of(sequence: &Sequence, tokens: &Tokens) -> Self {
        let mut labels: Vec<LabelRun> = Vec::new();
        for position in 0..sequence.length {
            let row = sequence.first_row as usize + position as usize;
            let (document, section, subset) = (tokens.document[row], tokens.section[row], &tokens.subset[row]);
            let turn = tokens.turn.get(row).copied();
            let is_of = |run: &&mut LabelRun| {
                (run.document, run.section, &run.subset, run.turn) == (document, section, subset, turn)
            };
            match labels.last_mut().filter(is_of) {
                Some(run) => run.end = position + 1,
                None => labels.push(LabelRun { end: position + 1, document, section, subset: subset.clone(), turn }),
            }
        }
        let rows = sequence.first_row as usize..sequence.first_row as usize + sequence.length as usize;
        Self { id: sequence.id, tokens: tokens.token[rows].to_vec(), labels }
    }

    /// Whether each token has labels.
    pub(crate) fn is_whole(&self) -> bool {
        let ends = self.labels.iter().map(|run| run.end);
        ends.is_sorted_by(|end, next| end < next)
            && self.labels.last().map_or(0, |run| run.end as usize) == self.tokens.len()
    }

    /// What is around a position; `None` if the sequence does not reach so far.
    fn context(&self, position: u32, window: u32) -> Option<Context> {
        let run = &self.labels[self.labels.partition_point(|run| run.end <= position)..].first()?;
        let first = position.saturating_sub(window);
        let end = position.saturating_add(window).saturating_add(1).min(self.tokens.len() as u32);
        Some(Context {
            document: run.document,
            section: run.section.as_str(),
            subset: run.subset.clone(),
            turn: run.turn,
            first,
            tokens: self.tokens.get(first as usize..end as usize)?.to_vec(),
        })
    }
}
