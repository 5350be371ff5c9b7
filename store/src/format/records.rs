//! The records that `plan.json`, `manifest.json` and `shard.json` share.

use std::collections::BTreeMap;

use hayloft_runtime::Dtype;
use serde::{Deserialize, Serialize};

use crate::format::section::Section;

/// A file with what is needed to know it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Where it is, relative to the folder that the record's owner names; parts joined by `/`.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The BLAKE3 hash of its bytes, in lower-case hexadecimal.
    pub blake3: String,
}

/// The tokenizer that made the tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizerRecord {
    /// BLAKE3 of its `tokenizer.json`.
    pub blake3: String,
    /// How many tokens it knows, those added to it included.
    pub vocab_size: usize,
    /// The id of the beginning-of-sequence token.
    pub bos_id: u32,
    /// That token's text.
    pub bos_text: String,
}

/// How documents become sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    /// Documents are joined, with BOS between them, and cut into full contexts.
    Concat,
    /// Each document is a sequence of its own, cut to the context length.
    PerDocument,
}

impl Packing {
    /// The name in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Concat => "concat",
            Self::PerDocument => "per-document",
        }
    }
}

/// Where the documents came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRecord {
    /// The files read, in the order they were read. Their paths are those of the data manifest and are never opened.
    pub files: Vec<FileRecord>,
    /// The field of a JSON line that holds the text.
    pub text_field: String,
    /// The field of a JSON line that names the subset, if there is one.
    pub subset_field: Option<String>,
    /// The most tokens that were to be taken, if there was a limit.
    pub max_tokens: Option<u64>,
    /// The seed that documents were shuffled with, if they were.
    pub seed: Option<u64>,
    /// How many documents the shuffle held at a time, if there was one.
    pub shuffle_buffer: Option<u64>,
    /// The documents that were used.
    pub documents: u64,
    /// Which rows of the files were used, if not all in their order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<SelectionRecord>,
}

/// Which rows of the files were used, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectionRecord {
    /// The seed of the shuffle over all rows that came first: `numpy.random.default_rng(seed).permutation(rows)`.
    pub shuffle_seed: Option<u64>,
    /// The rows in their order, if they were listed.
    pub rows: Option<Vec<u64>>,
    /// The most rows that were used.
    pub first: Option<u64>,
    /// The field that had to be empty.
    pub empty_field: Option<String>,
}

/// How rows became conversations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatRecord {
    /// The name of the chat template; `checkpoint` for the model's own.
    pub template: String,
    /// The template itself: Jinja, or a text with `{instruction}` in it.
    pub template_source: String,
    /// BLAKE3 of that text.
    pub template_blake3: String,
    /// The texts of the tokens before which a rollout was cut.
    pub end_of_turn: Vec<String>,
    /// The field that holds the instruction.
    pub instruction_field: String,
    /// The field that holds the rollout.
    pub rollout_field: String,
    /// Whether a rollout that never ended its turn lost its last character.
    pub drop_last_character: bool,
    /// What became of rows that could not be used: `refuse` or `skip`.
    pub unusable_rows: String,
}

/// A plan that sequences were selected from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectedFrom {
    /// BLAKE3 of its `plan.json`.
    pub plan_blake3: String,
    /// What was asked for, as on the command line of `store select`.
    pub what: String,
}

/// What the tokens are: everything that decides them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Corpus {
    /// The name that the data manifest gives it.
    pub name: String,
    /// The tokenizer.
    pub tokenizer: TokenizerRecord,
    /// The documents.
    pub data: DataRecord,
    /// How they became conversations; none where they are running text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatRecord>,
    /// What it was selected from, if it is a part of another plan's sequences; the whole first, the last selection last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selected_from: Vec<SelectedFrom>,
    /// How documents become sequences.
    pub packing: Packing,
    /// The longest a sequence may be, in tokens.
    pub context_length: u32,
    /// The rows that a row group is filled up to; one sequence longer than that is a row group by itself.
    pub row_group_rows: u32,
    /// The tokens that a shard is filled up to.
    pub shard_tokens: u64,
}

/// How much there is of what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Sequences.
    pub sequences: u64,
    /// Tokens.
    pub tokens: u64,
    /// Tokens in each section; a section without any is left out.
    pub sections: BTreeMap<Section, u64>,
    /// Tokens in each subset; tokens without a subset are in none.
    pub subsets: BTreeMap<String, u64>,
}

impl Counts {
    /// Adds another's counts to these, as far as they can be counted: a record may say anything.
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

/// A whole shard as the manifest lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// The shard's number in the plan.
    pub index: usize,
    /// Its folder, relative to the cache's.
    pub path: String,
    /// How much is in it.
    pub counts: Counts,
    /// Its files, `shard.json` first; paths are relative to its folder.
    pub files: Vec<FileRecord>,
}

/// The model that the activations come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// `model_type` of its `config.json`.
    pub model_type: String,
    /// BLAKE3 of its `config.json`.
    pub config_blake3: String,
    /// Its weight files. Their names are those in the checkpoint's folder and are never opened.
    pub weights: Vec<FileRecord>,
    /// The type that it ran in.
    pub precision: Dtype,
    /// Tokens that its embedding has rows for.
    pub vocab_size: usize,
    /// The width of its residual stream.
    pub d_model: usize,
    /// Its blocks.
    pub n_blocks: usize,
    /// The longest sequence that it takes, in tokens.
    pub context_length: usize,
}

impl ModelRecord {
    /// Whether it is known which model this is. It is not where activations were imported without their checkpoint; then
    /// there are no hashes, and all sizes but `d_model` are 0.
    pub fn is_known(&self) -> bool {
        !self.config_blake3.is_empty()
    }
}

/// The predictions that a cache keeps for each token: label loss, logsumexp, entropy and the top of the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPredictions {
    /// How many of the highest logits are kept; 0 for none.
    pub top_k: u32,
    /// Whether all logits are kept as well, in a file of their own.
    #[serde(default, skip_serializing_if = "is_false")]
    pub full_logits: bool,
}

impl KeptPredictions {
    /// Label loss, logsumexp, entropy and the `top_k` highest logits.
    pub const fn top(top_k: u32) -> Self {
        Self { top_k, full_logits: false }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use crate::support::corpus;

    use super::*;

    #[test]
    fn records_of_running_text_are_what_they_were_before_conversations() {
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
            drop_last_character: false,
            unusable_rows: "skip".to_owned(),
        });
        let text = serde_json::to_string(&written).unwrap();
        assert_eq!(serde_json::from_str::<Corpus>(&text).unwrap(), written);
    }
}
