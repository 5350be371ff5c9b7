//! Everything that can go wrong between an instruction and its tokens.

use std::io;
use std::path::PathBuf;

use hayloft_model::ModelError;

/// An error of chat templates and conversations. Every message names the file, what was expected, what was found and
/// what to do.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// A template's name is none that is known.
    #[error("template {text:?}: expected checkpoint, mistral, qwen or gemma")]
    ChoiceText {
        /// What was given.
        text: String,
    },
    /// A file of the checkpoint cannot be read.
    #[error("{path}: cannot be read: {cause}. The checkpoint's chat template is looked for there")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// A file of the checkpoint is larger than any that is meant.
    #[error("{path}: expected at most {limit} bytes, got {bytes}. Is this another file, or a damaged one?")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes.
        limit: u64,
        /// Its bytes.
        bytes: u64,
    },
    /// A JSON file of the checkpoint does not hold what it should.
    #[error("{path}: {problem}. Copy or download it again")]
    Json {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        problem: String,
    },
    /// The checkpoint has no template.
    #[error(
        "{folder}: expected a chat template in chat_template.jinja, or as chat_template in tokenizer_config.json, got none. Is this a base model? Name one of the study's in the data manifest ([chat] template = \"mistral\", \"qwen\" or \"gemma\"), or put a chat_template.jinja there"
    )]
    NoTemplate {
        /// The checkpoint's folder.
        folder: PathBuf,
    },
    /// The template could not be read, or stopped, or would not stop.
    #[error(
        "{path}: the chat template fails: {problem}. It is rendered for one user turn, as transformers does but without strftime_now, for a prompt must be the same every day. Correct it, or name one of the study's in the data manifest"
    )]
    Failed {
        /// The file that holds the template.
        path: PathBuf,
        /// What went wrong, with the line of the template where it is known.
        problem: String,
    },
    /// The template does not hold the instruction exactly once and unchanged.
    #[error(
        "{path}: the chat template {problem}, expected the instruction in it once and unchanged but for white space around it. Where the user's words begin and end could not be told. Correct it, or name one of the study's in the data manifest"
    )]
    Instruction {
        /// The file that holds the template.
        path: PathBuf,
        /// What it does with the instruction.
        problem: String,
    },
    /// The template begins with another token than the sequences do.
    #[error(
        "{path}: the chat template begins with {written:?}, expected nothing or the token {bos:?} that begins each sequence, named by {source_of_bos}. Leave bos out of the data manifest, or name the template's token there"
    )]
    Bos {
        /// The file that holds the template.
        path: PathBuf,
        /// What it begins with.
        written: String,
        /// The token that begins each sequence.
        bos: String,
        /// What names that token.
        source_of_bos: String,
    },
    /// There is nothing to ask.
    #[error(
        "the instruction is empty, expected text other than white space. Leave such rows out with [chat] unusable_rows = \"skip\" in the data manifest"
    )]
    EmptyInstruction,
    /// The instruction is longer than is rendered.
    #[error("the instruction has {bytes} bytes, expected at most {limit}")]
    LongInstruction {
        /// Its bytes.
        bytes: usize,
        /// The most bytes.
        limit: usize,
    },
    /// The prompt leaves no room for a reply.
    #[error(
        "the prompt has {tokens} tokens, expected fewer than the {longest} of context_length. Raise context_length in the data manifest, or leave such rows out with [chat] unusable_rows = \"skip\""
    )]
    LongPrompt {
        /// Its tokens, BOS included.
        tokens: usize,
        /// The length of the context.
        longest: usize,
    },
    /// The model or its tokenizer cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
}
