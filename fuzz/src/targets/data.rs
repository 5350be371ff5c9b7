//! Data sets: manifests, and the files that they name.

use std::path::Path;

use hayloft_harvest::{
    BadRows, BosChoice, ChatReader, ChatSettings, DataFile, DataManifest, DocumentReader, FieldPath, FileKind, Replies,
    Selection, read_rollouts,
};
use hayloft_store::Packing;

use crate::guarded::scratch;
use crate::outcome::words;
use crate::{Outcome, seeds};

/// A data manifest, and what it reads of a folder with one small file of each kind.
pub(super) fn manifest(input: &[u8]) -> Outcome {
    let folder = scratch::folder("data manifest", seeds::data::write_files);
    let path = folder.join("data.toml");
    scratch::write(&path, input);
    // The author of a manifest may name any file; here, none but these.
    let text = str::from_utf8(input).map_err(words)?;
    let written: toml::Table = toml::from_str(text).map_err(words)?;
    let mut files = written.get("files").and_then(toml::Value::as_array).into_iter().flatten();
    let is_known = |path: &str| seeds::data::FILES.contains(&path);
    let named = |file: &toml::Value| file.get("path").and_then(toml::Value::as_str).is_some_and(is_known);
    if !files.all(named) {
        return Err("other files".to_owned());
    }
    let manifest = DataManifest::open(&path, None).map_err(words)?;
    if manifest.files.len() > seeds::data::FILES.len() {
        return Err("too many files".to_owned());
    }
    match &manifest.chat {
        Some(chat) => conversations(&manifest, chat, Replies::Ignored),
        None => documents(&manifest),
    }
}

/// JSON Lines.
pub(super) fn json_lines(input: &[u8]) -> Outcome {
    let manifest = manifest_of("json lines", "data.jsonl", input);
    documents(&manifest).and(conversations(&manifest, &ChatSettings::default(), Replies::Ignored))
}

/// A JSON file of objects.
pub(super) fn json(input: &[u8]) -> Outcome {
    let manifest = manifest_of("json", "data.json", input);
    documents(&manifest).and(conversations(&manifest, &ChatSettings::default(), Replies::Ignored))
}

/// CSV.
pub(super) fn csv(input: &[u8]) -> Outcome {
    documents(&DataManifest { subset_field: None, ..manifest_of("csv", "data.csv", input) })
}

/// Compressed JSON Lines: by the first bytes in zstd, gzip or xz.
pub(super) fn zstd(input: &[u8]) -> Outcome {
    documents(&manifest_of("zstd", "data.jsonl.zst", input))
}

/// A Parquet file of documents.
pub(super) fn parquet(input: &[u8]) -> Outcome {
    documents(&manifest_of("parquet", "data.parquet", input))
}

/// An Arrow stream of documents.
pub(super) fn arrow(input: &[u8]) -> Outcome {
    documents(&manifest_of("arrow", "data.arrow", input))
}

/// A rollouts file, read as such and as data.
pub(super) fn rollouts(input: &[u8]) -> Outcome {
    let mut manifest = manifest_of("rollouts", "data.parquet", input);
    manifest.subset_field = None;
    let path: &Path = manifest.files.first().map_or(Path::new(""), |file| &file.path);
    let replies = Replies::Read {
        tokenizer_blake3: seeds::data::TOKENIZER_BLAKE3,
        template_blake3: seeds::data::TEMPLATE_BLAKE3,
    };
    let read = conversations(&manifest, &ChatSettings::default(), replies);
    read_rollouts(path).map_err(words)?;
    read
}

fn documents(manifest: &DataManifest) -> Outcome {
    let mut reader = DocumentReader::open(manifest).map_err(words)?;
    for document in &mut reader {
        document.map_err(words)?;
    }
    reader.finish().map_err(words).map(drop)
}

fn conversations(manifest: &DataManifest, chat: &ChatSettings, replies: Replies<'_>) -> Outcome {
    let mut reader = ChatReader::open(manifest, chat, replies).map_err(words)?;
    for row in &mut reader {
        row.map_err(words)?;
    }
    reader.finish().map_err(words).map(drop)
}

/// A data manifest that names this one file.
#[expect(clippy::expect_used, reason = "the names are good ones")]
fn manifest_of(purpose: &'static str, name: &str, input: &[u8]) -> DataManifest {
    let folder = scratch::folder(purpose, |_| {});
    let path = folder.join(name);
    scratch::write(&path, input);
    let field = |name: &str| FieldPath::try_from(name.to_owned()).expect("a field's name");
    DataManifest {
        path: folder.join("data.toml"),
        name: "fuzz".to_owned(),
        packing: Packing::PerDocument,
        context_length: 16,
        text_field: field("text"),
        tokens_field: None,
        tokenizer_blake3: None,
        subset_field: Some(field("meta.subset")),
        max_tokens: None,
        shuffle: None,
        bos: BosChoice::Checkpoint,
        bad_rows: BadRows::Refuse,
        chat: None,
        selection: Selection::default(),
        files: vec![DataFile {
            named: name.to_owned(),
            kind: FileKind::of(&path).expect("a known kind"),
            path,
            sha256: None,
        }],
    }
}
