//! Statistics of latents on some shards, in a file, and how files are put together.

mod file;
mod merge;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use hayloft_model::Tokenizer;
use hayloft_runtime::{Part, write_whole};
use serde_json::json;

use crate::error::EvaluateError;
use crate::latents::collect::collected::Collected;
use crate::latents::output::contexts::{LabelledSequence, Sequences};
use crate::parts::{PartKind, PartialError, file_name, part_in_words};

pub use self::merge::merge_latents;
pub(crate) use self::merge::merge_sealed_again;

/// Statistics of latents on one part of a cache's shards. The files need all parts: see [`merge_latents`].
#[derive(Debug, Clone)]
pub struct PartialLatents {
    part: Part,
    /// The numbers of the shards of all parts.
    all_shards: Vec<usize>,
    collected: Collected,
    /// The sequences that hold examples, or firings that may become examples.
    sequences: Vec<LabelledSequence>,
    /// The texts of all tokens in these, and of tokens of logits; `None` without a tokenizer.
    texts: Option<BTreeMap<u32, String>>,
}

impl PartialLatents {
    pub(super) fn new(
        part: Part,
        all_shards: Vec<usize>,
        collected: Collected,
        source: &dyn Sequences,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Self, EvaluateError> {
        let mut sequences = Vec::new();
        let places = collected.saes.iter().flat_map(|own| own.statistics.places());
        let wanted = places.map(|(sequence, _)| sequence).collect();
        source.for_each(&wanted, &mut |sequence| sequences.push(sequence.clone()))?;
        let mut partial = Self { part, all_shards, collected, sequences, texts: None };
        partial.texts = tokenizer.map(|tokenizer| {
            let text = |token| (token, tokenizer.vocabulary_text(token));
            partial.tokens().into_iter().map(text).collect()
        });
        Ok(partial)
    }

    /// Writes `latents-part-I-of-N.safetensors` into a folder, which is created if missing. The write is atomic. Returns the
    /// file's path.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, PartialError> {
        let path = folder.join(file_name(PartKind::Latents, self.part));
        let written = self.bytes().and_then(|bytes| write_whole(&path, &bytes));
        written.map_err(|cause| PartialError::Write { path: path.clone(), cause })?;
        Ok(path)
    }

    pub(crate) fn bytes(&self) -> io::Result<Vec<u8>> {
        file::to_bytes(self)
    }

    /// Replaces the folder recorded for every SAE.
    pub(crate) fn with_folder(mut self, folder: &str) -> Self {
        self.collected.report.set_folders(|_| folder.to_owned());
        self
    }

    /// A summary as JSON: `part`, the numbers of its `shards`, the number of shards of all parts (`of_shards`) and `saes`.
    pub fn json(&self) -> serde_json::Value {
        json!({
            "part": self.part.to_string(),
            "shards": self.collected.report.shards,
            "of_shards": self.all_shards.len(),
            "saes": self.names(),
        })
    }

    fn names(&self) -> Vec<&str> {
        self.collected.report.saes.iter().map(|sae| sae.name.as_str()).collect()
    }

    /// The tokens whose texts the files may have.
    fn tokens(&self) -> BTreeSet<u32> {
        let logits = self.collected.saes.iter().flat_map(|own| own.beside.logits.values().flatten());
        let of_logits = logits.flat_map(|own| own.raised.iter().chain(&own.lowered).map(|(token, _)| *token));
        self.sequences.iter().flat_map(|sequence| sequence.tokens.iter().copied()).chain(of_logits).collect()
    }
}

impl fmt::Display for PartialLatents {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shards = &self.collected.report.shards;
        formatter.write_str(&part_in_words(self.part, shards, self.all_shards.len(), &self.names()))
    }
}
