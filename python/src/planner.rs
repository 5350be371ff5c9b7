//! A plan of sequences that Python gives.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use hayloft_store::{
    Corpus, DataRecord, Grouping, PackedSequence, Packing, Planning, Section, ShardBuilder, Source, Span,
    TokenizerRecord,
};
use pyo3::prelude::*;

use crate::error::Failure;
use crate::process::run;
use crate::writer::WriterSettings;

/// What a run of tokens is of: its document, its subset and the number of tokens.
type SpanOf = (u64, Option<String>, u32);

/// A plan in the making. Sequences are added one by one.
#[pyclass(frozen, module = "hayloft._hayloft")]
#[derive(Debug)]
pub(crate) struct Planner {
    grouping: Grouping,
    tokenizer: TokenizerRecord,
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    planning: Planning,
    builder: ShardBuilder,
    longest: u32,
    sequences: u64,
}

#[pymethods]
impl Planner {
    /// Starts the plan of a cache in a folder, or the comparison with the plan that it has.
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "Python gives paths by value")]
    #[pyo3(signature = (folder, settings, *, bos=None, shard_tokens, row_group_rows))]
    fn new(
        folder: PathBuf,
        settings: &WriterSettings,
        bos: Option<u32>,
        shard_tokens: u64,
        row_group_rows: u32,
    ) -> Result<Self, Failure> {
        let mut tokenizer = settings.tokenizer.clone();
        if let Some(bos) = bos {
            tokenizer.set_bos(bos);
        }
        let planning = Planning::begin(&folder, settings.existing)?;
        let grouping = Grouping { shard_tokens, row_group_rows };
        let builder = ShardBuilder::new(grouping);
        let state = State { planning, builder, longest: 0, sequences: 0 };
        Ok(Self { grouping, tokenizer, state: Mutex::new(Some(state)) })
    }

    /// The token that begins sequences, if it is known.
    #[getter]
    fn bos(&self) -> Option<u32> {
        Some(self.tokenizer.bos_id).filter(|bos| *bos != u32::MAX)
    }

    /// Adds a sequence: little-endian 32-bit token ids, a byte for the section of each, in the order of `sections()`, turns
    /// as token ids or none, and the runs of tokens by document.
    fn add(&self, tokens: &[u8], sections: &[u8], turns: Option<&[u8]>, spans: Vec<SpanOf>) -> Result<(), Failure> {
        let mut state = self.state.try_lock().map_err(|_| busy())?;
        let state = state.as_mut().ok_or_else(finished)?;
        let words = |bytes: &[u8]| bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        let section = |place: &u8| Section::ALL.get(usize::from(*place)).copied().ok_or_else(Failure::internal);
        let span = |(document, subset, length): SpanOf| Span {
            source: Source { document, subset: subset.map(Arc::from) },
            length,
        };
        let sequence = PackedSequence {
            tokens: words(tokens),
            sections: sections.iter().map(section).collect::<Result<_, _>>()?,
            turns: turns.map(words).unwrap_or_default(),
            spans: spans.into_iter().map(span).collect(),
        };
        state.longest = state.longest.max(sequence.tokens.len() as u32);
        state.sequences += 1;
        if let Some(shard) = state.builder.push(sequence) {
            state.planning.add_shard(&shard.sequences, &shard.tokens)?;
        }
        Ok(())
    }

    /// Writes the plan, or compares all of it. `documents` is the number of distinct documents.
    fn finish(&self, py: Python<'_>, name: String, documents: u64) -> PyResult<()> {
        let mut state = self.state.try_lock().map_err(|_| busy())?.take().ok_or_else(finished)?;
        let corpus = Corpus {
            name,
            tokenizer: self.tokenizer.clone(),
            data: DataRecord::of_token_ids(Vec::new(), documents),
            chat: None,
            selected_from: Vec::new(),
            packing: Packing::PerDocument,
            context_length: state.longest,
            row_group_rows: self.grouping.row_group_rows,
            shard_tokens: self.grouping.shard_tokens,
        };
        run(py, move |_| {
            if let Some(shard) = state.builder.finish() {
                state.planning.add_shard(&shard.sequences, &shard.tokens)?;
            }
            Ok(state.planning.finish(corpus)?)
        })
    }
}

fn busy() -> Failure {
    Failure::new("conflict", "plan: expected one thread at a time, got another that adds a sequence")
}

fn finished() -> Failure {
    Failure::new("conflict", "plan: expected one that is being made, got one that is finished")
}
