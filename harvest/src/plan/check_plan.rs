//! Compares an existing plan with the requested settings.

use std::fmt::Display;
use std::path::Path;

use hayloft_model::Tokenizer;
use hayloft_store::{ChatRecord, Corpus, SelectionRecord};

use super::conversations::end_of_turn;
use super::records::{NO_BOS, begin_token, chat_record, selection_record};
use crate::chat::ChatTemplate;
use crate::data::{BadRows, DataManifest};
use crate::error::HarvestError;

/// The settings requested of an existing plan. `None` accepts any value.
pub(crate) struct PlanRequest<'settings> {
    /// The checkpoint's folder, which may hold the chat template.
    pub(crate) model: &'settings Path,
    pub(crate) data: Option<&'settings DataManifest>,
    pub(crate) shard_tokens: Option<u64>,
    pub(crate) row_group_rows: Option<u32>,
}

/// Returns an error if a plan differs from the request in a setting that decides its tokens.
///
/// The data files are not read again. Their names are compared, and the sizes of those that exist, so a plan can be
/// filled on a machine without the data.
pub(crate) fn check_plan(
    path: &Path,
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    request: &PlanRequest<'_>,
) -> Result<(), HarvestError> {
    let plan = Recorded { path };
    plan.same("tokenizer.json (BLAKE3)", tokenizer.blake3(), &corpus.tokenizer.blake3)?;
    if let Some(tokens) = request.shard_tokens {
        plan.same("--shard-tokens", tokens, corpus.shard_tokens)?;
    }
    if let Some(rows) = request.row_group_rows {
        plan.same("--row-group-rows", rows, corpus.row_group_rows)?;
    }
    let Some(manifest) = request.data else { return Ok(()) };
    let data = &corpus.data;
    plan.same("name", &manifest.name, &corpus.name)?;
    plan.same("packing", manifest.packing.as_str(), corpus.packing.as_str())?;
    plan.same("context_length", manifest.context_length, corpus.context_length)?;
    plan.same("text_field", &manifest.text_field, &data.text_field)?;
    plan.same("subset_field", optional(manifest.subset_field.as_ref()), optional(data.subset_field.as_ref()))?;
    plan.same("max_tokens", optional(manifest.max_tokens), optional(data.max_tokens))?;
    plan.same("seed", optional(manifest.shuffle.map(|shuffle| shuffle.seed)), optional(data.seed))?;
    plan.same(
        "shuffle_buffer",
        optional(manifest.shuffle.map(|shuffle| shuffle.buffer)),
        optional(data.shuffle_buffer),
    )?;
    plan.same("tokens_field", optional(manifest.tokens_field.as_ref()), optional(data.tokens_field.as_ref()))?;
    plan.same("bad_rows = \"skip\"", manifest.bad_rows == BadRows::Skip, data.skipped_rows.is_some())?;
    let bos = begin_token(manifest, tokenizer)?;
    plan.same("BOS", bos.as_ref().map_or(NO_BOS.1, |bos| &bos.text), &corpus.tokenizer.bos_text)?;
    let selection = selection_record(&manifest.selection);
    plan.same("[selection]", selection_in_words(selection.as_ref()), selection_in_words(data.selection.as_ref()))?;
    let chat = match &manifest.chat {
        None => None,
        Some(settings) => {
            let template = ChatTemplate::open(settings.template, request.model)?;
            let end_of_turn = end_of_turn(manifest, settings, &template, tokenizer)?;
            Some(chat_record(settings, &template, &end_of_turn))
        }
    };
    plan.same("[chat]", chat_in_words(chat.as_ref()), chat_in_words(corpus.chat.as_ref()))?;
    plan.same_files(manifest, corpus)
}

/// Describes the row selection.
fn selection_in_words(selection: Option<&SelectionRecord>) -> String {
    let Some(SelectionRecord { shuffle_seed, rows, first, empty_field }) = selection else { return "none".to_owned() };
    let rows = rows.as_ref().map(|rows| rows.iter().map(u64::to_string).collect::<Vec<_>>().join(" "));
    format!(
        "shuffle_seed {}, rows {}, first {}, empty_field {}",
        optional(*shuffle_seed),
        optional(rows),
        optional(*first),
        optional(empty_field.as_ref())
    )
}

/// Describes how rows become conversations.
fn chat_in_words(chat: Option<&ChatRecord>) -> String {
    let Some(chat) = chat else { return "none".to_owned() };
    format!(
        "template {} (BLAKE3 {}), end_of_turn {}, instruction_field {}, rollout_field {}, messages_field {}, unusable_rows {}, study_quirk_drop_last_character {}",
        chat.template,
        chat.template_blake3,
        chat.end_of_turn.join(" "),
        chat.instruction_field,
        chat.rollout_field,
        optional(chat.messages_field.as_ref()),
        chat.unusable_rows,
        chat.drop_last_character
    )
}

/// Describes an optional setting.
fn optional(value: Option<impl Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

struct Recorded<'plan> {
    path: &'plan Path,
}

impl Recorded<'_> {
    fn same(&self, setting: &str, request: impl Display, planned: impl Display) -> Result<(), HarvestError> {
        let (expected, got) = (request.to_string(), planned.to_string());
        if expected == got {
            return Ok(());
        }
        Err(HarvestError::PlanDiffers { path: self.path.to_owned(), setting: setting.to_owned(), expected, got })
    }

    fn same_files(&self, manifest: &DataManifest, corpus: &Corpus) -> Result<(), HarvestError> {
        let planned = &corpus.data.files;
        // With a token limit, the last files may not have been needed.
        let needed = if corpus.data.max_tokens.is_some() { planned.len() } else { manifest.files.len() };
        let request = manifest.files.get(..needed).unwrap_or(&manifest.files);
        let names = |names: Vec<&str>| names.join(", ");
        self.same(
            "files",
            names(request.iter().map(|file| file.named.as_str()).collect()),
            names(planned.iter().map(|file| file.path.as_str()).collect()),
        )?;
        for (file, record) in request.iter().zip(planned) {
            if let Ok(found) = file.path.metadata() {
                let setting = format!("bytes of {}", file.path.display());
                self.same(&setting, found.len(), record.bytes)?;
            }
        }
        Ok(())
    }
}
