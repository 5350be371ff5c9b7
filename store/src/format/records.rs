//! Records shared by `plan.json`, `manifest.json` and `shard.json`.

use std::collections::BTreeMap;
use std::fmt;

use hayloft_runtime::{Dtype, IdentityDifference, ModelIdentity};
use serde::{Deserialize, Serialize};

use crate::format::difference::{Difference, differ};
use crate::format::section::Section;

/// A file, with its size and hash. Displays as path and hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Path relative to the folder that the enclosing record names, with parts joined by `/`.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 of the contents, in lower-case hexadecimal.
    pub blake3: String,
}

impl fmt::Display for FileRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.path, self.blake3)
    }
}

/// The tokenizer that produced the tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizerRecord {
    /// BLAKE3 of its `tokenizer.json`.
    pub blake3: String,
    /// Number of tokens in the vocabulary, including added tokens.
    pub vocab_size: usize,
    /// Id of the beginning-of-sequence token.
    pub bos_id: u32,
    /// Text of that token.
    pub bos_text: String,
}

/// The text recorded where it is unknown.
pub(crate) const UNKNOWN: &str = "unknown";

impl TokenizerRecord {
    /// A tokenizer of which nothing is known.
    pub fn unknown() -> Self {
        Self { blake3: String::new(), vocab_size: 0, bos_id: u32::MAX, bos_text: UNKNOWN.to_owned() }
    }

    /// Sets the beginning-of-sequence token. Of another than the tokenizer's, only the id is known.
    pub fn set_bos(&mut self, id: u32) {
        if self.bos_id != id {
            (self.bos_id, self.bos_text) = (id, UNKNOWN.to_owned());
        }
    }
}

/// How documents are packed into sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    /// Documents are concatenated, separated by BOS, and cut into sequences of the full context length.
    Concat,
    /// Each document is one sequence, truncated to the context length.
    PerDocument,
}

impl Packing {
    /// Returns the name used in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Concat => "concat",
            Self::PerDocument => "per-document",
        }
    }
}

/// The source of the documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRecord {
    /// The input files, in the order read. Their paths are those of the data manifest and are never opened.
    pub files: Vec<FileRecord>,
    /// The JSON field of the text.
    pub text_field: String,
    /// The JSON field of the subset's name, if any.
    pub subset_field: Option<String>,
    /// The token limit, if any.
    pub max_tokens: Option<u64>,
    /// The seed of the document shuffle, if any.
    pub seed: Option<u64>,
    /// The buffer size of the shuffle, in documents, if any.
    pub shuffle_buffer: Option<u64>,
    /// Number of documents used.
    pub documents: u64,
    /// The field of the token ids, if the documents are token ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_field: Option<String>,
    /// Number of rows skipped because they could not be read, if such rows were skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_rows: Option<u64>,
    /// Which rows of the files were used, if not all of them in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection: Option<SelectionRecord>,
}

impl DataRecord {
    /// Sequences of token ids whose source is not known beyond these files.
    pub fn of_token_ids(files: Vec<FileRecord>, documents: u64) -> Self {
        Self {
            files,
            text_field: "token_ids".to_owned(),
            subset_field: None,
            max_tokens: None,
            seed: None,
            shuffle_buffer: None,
            documents,
            tokens_field: None,
            skipped_rows: None,
            selection: None,
        }
    }
}

/// Which rows of the files were used, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectionRecord {
    /// Seed of the initial shuffle of all rows: `numpy.random.default_rng(seed).permutation(rows)`.
    pub shuffle_seed: Option<u64>,
    /// Explicit list of rows, in order, if given.
    pub rows: Option<Vec<u64>>,
    /// Maximum number of rows used.
    pub first: Option<u64>,
    /// The field that had to be empty.
    pub empty_field: Option<String>,
}

/// How rows were converted to conversations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatRecord {
    /// Name of the chat template; `checkpoint` for that of the model.
    pub template: String,
    /// Source of the template: Jinja, or a text that contains `{instruction}`.
    pub template_source: String,
    /// BLAKE3 of `template_source`.
    pub template_blake3: String,
    /// Texts of the tokens at which a rollout was truncated.
    pub end_of_turn: Vec<String>,
    /// The field of the instruction.
    pub instruction_field: String,
    /// The field of the rollout.
    pub rollout_field: String,
    /// The field of the messages, if they are in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages_field: Option<String>,
    /// Whether the last character of a rollout without an end-of-turn token was dropped.
    pub drop_last_character: bool,
    /// How unusable rows were handled: `refuse` or `skip`.
    pub unusable_rows: String,
}

/// A plan from which sequences were selected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectedFrom {
    /// BLAKE3 of its `plan.json`.
    pub plan_blake3: String,
    /// The selection, in the syntax of `store select`.
    pub what: String,
}

/// The corpus: everything that determines the tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Corpus {
    /// Name in the data manifest.
    pub name: String,
    /// The tokenizer.
    pub tokenizer: TokenizerRecord,
    /// The documents.
    pub data: DataRecord,
    /// Conversion to conversations; none for plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatRecord>,
    /// The plans that this one was selected from, the original first; empty if it is not a selection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selected_from: Vec<SelectedFrom>,
    /// How documents are packed into sequences.
    pub packing: Packing,
    /// Maximum length of a sequence, in tokens.
    pub context_length: u32,
    /// Target number of rows of a row group. A longer sequence is a row group on its own.
    pub row_group_rows: u32,
    /// Target number of tokens of a shard.
    pub shard_tokens: u64,
}

/// Numbers of sequences and tokens, in total and by group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Number of sequences.
    pub sequences: u64,
    /// Number of tokens.
    pub tokens: u64,
    /// Tokens by section; sections without tokens are omitted.
    pub sections: BTreeMap<Section, u64>,
    /// Tokens by subset; tokens without a subset are omitted.
    pub subsets: BTreeMap<String, u64>,
}

impl Counts {
    /// Adds other counts to these. Saturating, because records are untrusted.
    pub fn add(&mut self, other: &Self) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.sequences, other.sequences);
        add(&mut self.tokens, other.tokens);
        for (section, tokens) in &other.sections {
            add(self.sections.entry(*section).or_default(), *tokens);
        }
        for (subset, tokens) in &other.subsets {
            add(self.subsets.entry(subset.clone()).or_default(), *tokens);
        }
    }
}

/// A complete shard as listed in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// Number of the shard in the plan.
    pub index: usize,
    /// The shard's folder, relative to the cache folder.
    pub path: String,
    /// Counts of sequences and tokens.
    pub counts: Counts,
    /// Files of the shard, `shard.json` first. Paths are relative to the shard's folder.
    pub files: Vec<FileRecord>,
}

/// The model that produced the activations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// `model_type` in `config.json`.
    pub model_type: String,
    /// What the model computes: the facts of its configuration and the digest of its tensors. `None` if activations were
    /// imported without their checkpoint; then all sizes but `d_model` are 0.
    #[serde(deserialize_with = "Option::deserialize")]
    pub identity: Option<ModelIdentity>,
    /// The dtype of the forward pass.
    pub precision: Dtype,
    /// Number of rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of blocks.
    pub n_blocks: usize,
    /// Maximum sequence length, in tokens.
    pub context_length: usize,
}

impl ModelRecord {
    /// Returns whether the model is identified.
    pub fn is_known(&self) -> bool {
        self.identity.is_some()
    }

    /// Returns the differences from another record in what is computed, and in which dtype. The name of the family and the
    /// longest sequence of two identified models may differ.
    pub(crate) fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut differences: Vec<Difference> = match (&self.identity, &other.identity) {
            (Some(ours), Some(theirs)) => {
                let named =
                    |differs: IdentityDifference| (format!("model.{}", differs.what), differs.expected, differs.got);
                ours.differences(theirs).into_iter().map(named).collect()
            }
            (None, None) => differ("model.model_type", &self.model_type, &other.model_type).into_iter().collect(),
            (ours, theirs) => {
                let digest = |identity: &Option<ModelIdentity>| {
                    identity.as_ref().map_or("unknown".to_owned(), |identity| format!("SHA-256 {}", identity.sha256()))
                };
                differ("model.identity", &digest(ours), &digest(theirs)).into_iter().collect()
            }
        };
        differences.extend(differ("model.precision", &self.precision, &other.precision));
        differences
    }
}

/// The predictions stored for each token: loss, log-sum-exp, entropy and top logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPredictions {
    /// Number of top logits stored; 0 for none.
    pub top_k: u32,
    /// Whether the full logits are stored too, in a separate file.
    pub full_logits: bool,
}

impl KeptPredictions {
    /// Returns the setting with `top_k` top logits and without full logits.
    pub const fn top(top_k: u32) -> Self {
        Self { top_k, full_logits: false }
    }
}

#[cfg(test)]
mod tests {
    use crate::support::corpus;

    use super::*;

    #[test]
    fn records_of_running_text_mention_no_conversation() {
        let text = serde_json::to_string(&corpus()).unwrap();
        assert!(!text.contains("chat") && !text.contains("selection"), "{text}");
        assert_eq!(serde_json::from_str::<Corpus>(&text).unwrap(), corpus());
    }

    #[test]
    fn counts_of_hostile_records_are_added_up_without_overflow() {
        let sections = [(Section::Text, u64::MAX)].into();
        let mut counts = Counts { sequences: 1, tokens: u64::MAX, sections, subsets: [("a".to_owned(), 3)].into() };
        counts.add(&counts.clone());
        assert_eq!((counts.sequences, counts.tokens, counts.sections[&Section::Text]), (2, u64::MAX, u64::MAX));
        assert_eq!(counts.subsets["a"], 6);
    }

    #[test]
    fn conversations_are_recorded() {
        let mut written = corpus();
        written.data.selection =
            Some(SelectionRecord { shuffle_seed: Some(42), first: Some(100), ..Default::default() });
        written.chat = Some(ChatRecord {
            template: "qwen".to_owned(),
            template_source: "{instruction}".to_owned(),
            template_blake3: "0".repeat(64),
            end_of_turn: vec!["<|im_end|>".to_owned()],
            instruction_field: "instruction".to_owned(),
            rollout_field: "rollout".to_owned(),
            messages_field: None,
            drop_last_character: false,
            unusable_rows: "skip".to_owned(),
        });
        let text = serde_json::to_string(&written).unwrap();
        assert_eq!(serde_json::from_str::<Corpus>(&text).unwrap(), written);
    }
}
