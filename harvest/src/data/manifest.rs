//! The data manifest: a TOML file that selects documents and sets how they become sequences.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

use hayloft_hub::Sha256;
use hayloft_runtime::words::with_suggestion;
use hayloft_store::Packing;
use serde::Deserialize;

use super::files::data_files;
use super::selection::WrittenSelection;
use super::{ChatSettings, DataError, FieldPath, FileKind, RowOrder, Selection};

/// A data manifest, parsed and resolved. `data-manifests/README.md` describes the keys.
#[derive(Debug, Clone)]
pub struct DataManifest {
    /// The manifest's path, for messages.
    pub path: PathBuf,
    /// Name of the data.
    pub name: String,
    /// How documents become sequences.
    pub packing: Packing,
    /// The maximum sequence length in tokens; with [`Packing::Concat`], the length of every sequence.
    pub context_length: u32,
    /// The field that holds the text; not used with [`DataManifest::chat`].
    pub text_field: FieldPath,
    /// The field that holds the document's token ids, in place of a text.
    pub tokens_field: Option<FieldPath>,
    /// The BLAKE3 hash of the `tokenizer.json` that made the token ids.
    pub tokenizer_blake3: Option<String>,
    /// The field that holds the document's subset.
    pub subset_field: Option<FieldPath>,
    /// Limit on the total number of tokens. Only whole sequences within the limit are kept.
    pub max_tokens: Option<NonZeroU64>,
    /// How documents are shuffled; `None` keeps file order.
    pub shuffle: Option<Shuffle>,
    /// The token that begins a sequence.
    pub bos: BosChoice,
    /// How rows that cannot be read are treated.
    pub bad_rows: BadRows,
    /// How rows become conversations; `None` if rows are documents.
    pub chat: Option<ChatSettings>,
    /// Which rows are used, and their order.
    pub selection: Selection,
    /// The files, in reading order.
    pub files: Vec<DataFile>,
}

/// A seeded shuffle through a bounded buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shuffle {
    /// The seed of the order.
    pub seed: u64,
    /// Number of documents in the buffer.
    pub buffer: NonZeroUsize,
}

/// The choice of the token that begins a sequence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum BosChoice {
    /// The one that the checkpoint's files name.
    #[default]
    Checkpoint,
    /// The token with this text.
    Text(String),
    /// None: `bos = "none"`.
    Nothing,
}

/// Treatment of a row that cannot be read: not UTF-8, not JSON, or without a field that it must have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BadRows {
    /// Return an error that names it.
    #[default]
    Refuse,
    /// Skip and count the row.
    Skip,
}

/// A file of the data manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// The path as written in the data manifest.
    pub named: String,
    /// The path resolved against the data root.
    pub path: PathBuf,
    /// The kind of file.
    pub kind: FileKind,
    /// The required hash.
    pub sha256: Option<Sha256>,
}

/// The TOML as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    packing: Packing,
    context_length: u32,
    text_field: Option<FieldPath>,
    tokens_field: Option<FieldPath>,
    tokenizer_blake3: Option<String>,
    subset_field: Option<FieldPath>,
    max_tokens: Option<NonZeroU64>,
    seed: Option<u64>,
    shuffle_buffer: Option<NonZeroUsize>,
    bos: Option<String>,
    #[serde(default)]
    bad_rows: BadRows,
    chat: Option<ChatSettings>,
    #[serde(default)]
    selection: WrittenSelection,
    files: Vec<WrittenFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFile {
    path: String,
    sha256: Option<Sha256>,
}

/// Default number of documents in a shuffle buffer.
const DEFAULT_SHUFFLE_BUFFER: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// BOS and one token of text: the minimum with a token to predict.
const SHORTEST_CONTEXT: u32 = 2;

/// The value of `bos` for sequences that begin with no token of their own.
const NO_BOS: &str = "none";

impl DataManifest {
    /// Reads a data manifest. Relative paths are resolved against `data_root`, by default the manifest's folder. The
    /// data files are not opened; folders and patterns are listed.
    pub fn open(path: &Path, data_root: Option<&Path>) -> Result<Self, DataError> {
        if path.is_dir() || FileKind::of(path).is_some() {
            return Err(DataError::NoManifest { path: path.to_owned() });
        }
        let text = std::fs::read_to_string(path).map_err(|cause| DataError::Io {
            path: path.to_owned(),
            action: "read",
            cause,
            advice: "--data takes the path of a data manifest, such as data-manifests/pile-excerpts.toml",
        })?;
        let written: Written = toml::from_str(&text).map_err(|error| DataError::Manifest {
            path: path.to_owned(),
            problem: with_suggestion(&error.to_string()),
        })?;
        let root = data_root.unwrap_or_else(|| path.parent().unwrap_or(Path::new("")));
        written.resolve(path, root)
    }
}

impl Written {
    /// Checks which fields are named beside each other. An error holds the key, the expected value and the value found.
    fn check_fields(&self) -> Result<(), (&'static str, &'static str, String)> {
        if let Some(tokens) = &self.tokens_field {
            let got = format!("\"{tokens}\"");
            if self.chat.is_some() {
                return Err(("tokens_field", "none with [chat], which makes the tokens of its messages", got));
            }
            if self.text_field.is_some() {
                return Err(("tokens_field", "no text_field beside it, for rows are token ids or texts", got));
            }
        } else if let Some(hash) = &self.tokenizer_blake3 {
            return Err(("tokenizer_blake3", "a tokens_field beside it, whose token ids it is for", hash.clone()));
        }
        let Some(chat) = &self.chat else { return Ok(()) };
        let default = ChatSettings::default();
        let has_others =
            chat.instruction_field != default.instruction_field || chat.rollout_field != default.rollout_field;
        match &chat.messages_field {
            Some(messages) if has_others => {
                let expected = "no instruction_field or rollout_field beside it, for the messages are both";
                Err(("chat.messages_field", expected, format!("\"{messages}\"")))
            }
            _ => Ok(()),
        }
    }

    fn resolve(self, path: &Path, root: &Path) -> Result<DataManifest, DataError> {
        let wrong = |key: &str, expected: &str, got: String| DataError::Key {
            path: path.to_owned(),
            key: key.to_owned(),
            expected: expected.to_owned(),
            got,
        };
        if self.name.trim().is_empty() {
            return Err(wrong("name", "a name for the data", format!("{:?}", self.name)));
        }
        if self.context_length < SHORTEST_CONTEXT {
            let expected = format!("at least {SHORTEST_CONTEXT} tokens, BOS and one more");
            return Err(wrong("context_length", &expected, self.context_length.to_string()));
        }
        if self.bos.as_deref() == Some("") {
            return Err(wrong("bos", "the text of a token, such as \"<|endoftext|>\"", "an empty text".to_owned()));
        }
        let shuffle = match (self.seed, self.shuffle_buffer) {
            (Some(seed), buffer) => Some(Shuffle { seed, buffer: buffer.unwrap_or(DEFAULT_SHUFFLE_BUFFER) }),
            (None, None) => None,
            (None, Some(buffer)) => {
                let expected = "a seed beside it, for without one documents are not shuffled";
                return Err(wrong("shuffle_buffer", expected, format!("{buffer} and no seed")));
            }
        };
        if self.chat.is_some() && self.packing != Packing::PerDocument {
            let expected = "\"per-document\" with [chat], for each conversation is a sequence";
            return Err(wrong("packing", expected, format!("{:?}", self.packing.as_str())));
        }
        if let (Some(_), Some(field)) = (&self.chat, &self.text_field) {
            let expected = "none with [chat], which has instruction_field and rollout_field in its place";
            return Err(wrong("text_field", expected, format!("\"{field}\"")));
        }
        self.check_fields().map_err(|(key, expected, got)| wrong(key, expected, got))?;
        let selection = self.selection.resolve().map_err(|(key, expected, got)| wrong(key, expected, got))?;
        if selection.order != RowOrder::Files && shuffle.is_some() {
            let expected = "none with an order in [selection]";
            return Err(wrong("seed", expected, "both".to_owned()));
        }
        if self.chat.is_some() && shuffle.is_some() {
            let expected = "none with [chat]: shuffle_seed in [selection] shuffles conversations";
            return Err(wrong("seed", expected, "one".to_owned()));
        }
        if self.files.is_empty() {
            return Err(wrong("files", "at least one [[files]] table with a path", "none".to_owned()));
        }
        let mut files = Vec::new();
        for (index, file) in self.files.into_iter().enumerate() {
            let found = data_files(root, &file.path, file.sha256)?;
            files.extend(found.ok_or_else(|| {
                let expected = format!("a name that ends in {}", FileKind::ENDINGS);
                wrong(&format!("files[{index}].path"), &expected, format!("{:?}", file.path))
            })?);
        }
        Ok(DataManifest {
            files,
            path: path.to_owned(),
            name: self.name,
            packing: self.packing,
            context_length: self.context_length,
            text_field: self.text_field.unwrap_or_else(|| FieldPath::known("text")),
            tokens_field: self.tokens_field,
            tokenizer_blake3: self.tokenizer_blake3,
            subset_field: self.subset_field,
            max_tokens: self.max_tokens,
            shuffle,
            bos: match self.bos {
                None => BosChoice::Checkpoint,
                Some(text) if text == NO_BOS => BosChoice::Nothing,
                Some(text) => BosChoice::Text(text),
            },
            bad_rows: self.bad_rows,
            chat: self.chat,
            selection,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "name = \"hay\"\npacking = \"concat\"\ncontext_length = 8\n[[files]]\npath = \"a.jsonl\"\n";

    fn read(text: &str, root: Option<&Path>) -> Result<DataManifest, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hay.toml");
        std::fs::write(&path, text).unwrap();
        let manifest = DataManifest::open(&path, root);
        if let Err(error) = &manifest {
            assert!(error.to_string().starts_with(&format!("{}: ", path.display())), "{error}");
        }
        manifest
    }

    /// Returns the error of the minimal manifest with one extra top-level line.
    fn refusal(line: &str) -> String {
        read(&format!("{line}\n{LEAST}"), None).unwrap_err().to_string()
    }

    #[test]
    fn the_least_manifest_has_defaults() {
        let manifest = read(LEAST, None).unwrap();
        assert_eq!(manifest.text_field.to_string(), "text");
        assert_eq!((manifest.subset_field, manifest.max_tokens, manifest.shuffle), (None, None, None));
        assert_eq!(manifest.files[0].path, manifest.path.parent().unwrap().join("a.jsonl"));
        assert_eq!(manifest.files[0].named, "a.jsonl");
    }

    #[test]
    fn every_key_is_read() {
        let text = "name = \"hay\"\npacking = \"per-document\"\ncontext_length = 512\ntext_field = \"meta.text\"\n\
                    subset_field = \"meta.pile_set_name\"\nmax_tokens = 4096\nseed = 7\nshuffle_buffer = 3\n\
                    bos = \"<s>\"\n[[files]]\npath = \"/data/a.txt.zst\"\nsha256 = \"";
        let manifest = read(&format!("{text}{}\"\n", "AB".repeat(32)), Some(Path::new("elsewhere"))).unwrap();
        assert_eq!(manifest.packing, Packing::PerDocument);
        assert_eq!(manifest.text_field.to_string(), "meta.text");
        assert_eq!(manifest.subset_field.unwrap().to_string(), "meta.pile_set_name");
        assert_eq!(manifest.max_tokens, NonZeroU64::new(4096));
        assert_eq!(manifest.shuffle, Some(Shuffle { seed: 7, buffer: NonZeroUsize::new(3).unwrap() }));
        assert_eq!(manifest.bos, BosChoice::Text("<s>".to_owned()));
        assert_eq!(manifest.files[0].path, Path::new("/data/a.txt.zst"));
        assert_eq!(manifest.files[0].kind, FileKind::Text);
        assert_eq!(manifest.files[0].sha256.as_ref().unwrap().to_string(), "ab".repeat(32));
    }

    #[test]
    fn relative_paths_start_at_the_data_root() {
        let manifest = read(LEAST, Some(Path::new("/data"))).unwrap();
        assert_eq!(manifest.files[0].path, Path::new("/data/a.jsonl"));
    }

    #[test]
    fn a_missing_manifest_is_named_with_what_data_expects() {
        let message = DataManifest::open(Path::new("no/such.toml"), None).unwrap_err().to_string();
        assert!(message.contains("no/such.toml: cannot read") && message.contains("--data takes"), "{message}");
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(refusal("text_feild = \"x\"").contains("unknown field `text_feild`"));
        assert!(refusal("text_feild = \"x\"").contains("Did you mean text_field?"));
        let message = read(&format!("{LEAST}md5 = \"x\"\n"), None).unwrap_err().to_string();
        assert!(message.contains("unknown field `md5`"), "{message}");
    }

    #[test]
    fn missing_keys_are_named() {
        let message = read("name = \"hay\"\n", None).unwrap_err().to_string();
        assert!(message.contains("missing field `packing`"), "{message}");
    }

    #[test]
    fn unknown_packing_is_refused_with_the_choices() {
        let message = read(&LEAST.replace("concat", "join"), None).unwrap_err().to_string();
        assert!(message.contains("`concat`") && message.contains("`per-document`"), "{message}");
        let message = read(&LEAST.replace("concat", "concatenate"), None).unwrap_err().to_string();
        assert!(message.contains("Did you mean concat?"), "{message}");
    }

    #[test]
    fn invalid_values_are_refused_by_key() {
        for (from, to, words) in [
            ("\"hay\"", "\" \"", "name: expected a name"),
            ("= 8", "= 1", "context_length: expected at least 2 tokens"),
            ("= 8", "= -8", "context_length"),
            ("a.jsonl", "a.tsv", "files[0].path: expected a name that ends in .jsonl, .ndjson"),
        ] {
            let message = read(&LEAST.replace(from, to), None).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
        for (line, words) in [
            ("text_field = \"a..b\"", "joined by dots"),
            ("max_tokens = 0", "max_tokens"),
            ("shuffle_buffer = 5", "shuffle_buffer: expected a seed"),
            ("seed = 1\nshuffle_buffer = 0", "shuffle_buffer"),
            ("bos = \"\"", "bos: expected the text of a token"),
        ] {
            let message = refusal(line);
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn fields_that_exclude_each_other_are_refused() {
        for (lines, words) in [
            ("tokens_field = \"input_ids\"\ntext_field = \"text\"", "tokens_field: expected no text_field"),
            ("tokenizer_blake3 = \"ab\"", "tokenizer_blake3: expected a tokens_field"),
        ] {
            let message = refusal(lines);
            assert!(message.contains(words), "{message}");
        }
        let per_document = LEAST.replace("concat", "per-document");
        for (lines, chat, words) in [
            ("tokens_field = \"ids\"\n", "[chat]\n", "tokens_field: expected none with [chat]"),
            ("", "[chat]\nmessages_field = \"m\"\nrollout_field = \"r\"\n", "chat.messages_field: expected no instr"),
        ] {
            let message = read(&format!("{lines}{per_document}{chat}"), None).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn bos_and_bad_rows_have_words() {
        let manifest = read(&format!("bos = \"none\"\nbad_rows = \"skip\"\n{LEAST}"), None).unwrap();
        assert_eq!((manifest.bos, manifest.bad_rows), (BosChoice::Nothing, BadRows::Skip));
        let manifest = read(LEAST, None).unwrap();
        assert_eq!((manifest.bos, manifest.bad_rows), (BosChoice::Checkpoint, BadRows::Refuse));
    }

    #[test]
    fn an_invalid_hash_is_refused() {
        let message = read(&format!("{LEAST}sha256 = \"abc\"\n"), None).unwrap_err().to_string();
        assert!(message.contains("64 hexadecimal digits"), "{message}");
    }

    #[test]
    fn no_files_are_refused() {
        let text = "name = \"hay\"\npacking = \"concat\"\ncontext_length = 8\nfiles = []\n";
        let message = read(text, None).unwrap_err().to_string();
        assert!(message.contains("files: expected at least one [[files]] table"), "{message}");
    }
}
