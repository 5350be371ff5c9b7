//! The plan's record of the source of its tokens.

use hayloft_model::{ModelError, SpecialToken, Tokenizer};
use hayloft_store::{ChatRecord, Corpus, DataRecord, FileRecord, SelectionRecord, TokenizerRecord};

use super::settings::PlanSettings;
use crate::chat::{ChatTemplate, EndOfTurn};
use crate::data::{BadRows, BosChoice, ChatSettings, DataManifest, RowOrder, Selection};

/// Returns the token that begins each sequence, if any: the data manifest's if set, else the tokenizer's.
pub(crate) fn begin_token(manifest: &DataManifest, tokenizer: &Tokenizer) -> Result<Option<SpecialToken>, ModelError> {
    match &manifest.bos {
        BosChoice::Text(text) => tokenizer.token(text, &format!("{}: bos", manifest.path.display())).map(Some),
        BosChoice::Checkpoint => tokenizer.bos().map(Some),
        BosChoice::Nothing => Ok(None),
    }
}

/// The id and the text in records for no BOS.
pub(super) const NO_BOS: (u32, &str) = (u32::MAX, "none");

/// Records the tokenizer and the token that begins each sequence.
pub(super) fn tokenizer_record(tokenizer: &Tokenizer, bos: Option<&SpecialToken>) -> TokenizerRecord {
    let (bos_id, bos_text) = bos.map_or(NO_BOS, |bos| (bos.id, bos.text.as_str()));
    TokenizerRecord {
        blake3: tokenizer.blake3().to_owned(),
        vocab_size: tokenizer.vocabulary_size(),
        bos_id,
        bos_text: bos_text.to_owned(),
    }
}

/// Records the row selection; `None` for all rows in file order.
pub(super) fn selection_record(selection: &Selection) -> Option<SelectionRecord> {
    if *selection == Selection::default() {
        return None;
    }
    let (shuffle_seed, rows) = match &selection.order {
        RowOrder::Files => (None, None),
        RowOrder::Shuffled { seed } => (Some(*seed), None),
        RowOrder::Rows(rows) => (None, Some(rows.clone())),
    };
    let empty_field = selection.empty_field.as_ref().map(ToString::to_string);
    Some(SelectionRecord { shuffle_seed, rows, first: selection.first, empty_field })
}

/// Records how rows become conversations.
pub(super) fn chat_record(settings: &ChatSettings, template: &ChatTemplate, end_of_turn: &EndOfTurn) -> ChatRecord {
    ChatRecord {
        template: settings.template.to_string(),
        template_source: template.source(),
        template_blake3: template.blake3(),
        end_of_turn: end_of_turn.tokens().iter().map(|token| token.text.clone()).collect(),
        instruction_field: settings.instruction_field.to_string(),
        rollout_field: settings.rollout_field.to_string(),
        messages_field: settings.messages_field.as_ref().map(ToString::to_string),
        drop_last_character: settings.study_quirk_drop_last_character,
        unusable_rows: settings.unusable_rows.as_str().to_owned(),
    }
}

/// Records everything that decides the tokens of a plan. `files` are the files read, `documents` the documents used,
/// `bad_rows` those that could not be read.
#[expect(clippy::too_many_arguments, reason = "each is a part of the record")]
pub(super) fn record(
    manifest: &DataManifest,
    tokenizer: &Tokenizer,
    bos: Option<&SpecialToken>,
    settings: &PlanSettings,
    chat: Option<ChatRecord>,
    files: Vec<FileRecord>,
    documents: u64,
    bad_rows: u64,
) -> Corpus {
    Corpus {
        name: manifest.name.clone(),
        tokenizer: tokenizer_record(tokenizer, bos),
        data: DataRecord {
            files,
            text_field: manifest.text_field.to_string(),
            subset_field: manifest.subset_field.as_ref().map(ToString::to_string),
            max_tokens: manifest.max_tokens.map(Into::into),
            seed: manifest.shuffle.map(|shuffle| shuffle.seed),
            shuffle_buffer: manifest.shuffle.map(|shuffle| shuffle.buffer.get() as u64),
            documents,
            tokens_field: manifest.tokens_field.as_ref().map(ToString::to_string),
            skipped_rows: (manifest.bad_rows == BadRows::Skip).then_some(bad_rows),
            selection: selection_record(&manifest.selection),
        },
        chat,
        selected_from: Vec::new(),
        packing: manifest.packing,
        context_length: manifest.context_length,
        row_group_rows: settings.row_group_rows,
        shard_tokens: settings.shard_tokens,
    }
}
