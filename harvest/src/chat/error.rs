//! Errors of chat templates and conversations.

use std::io;
use std::path::PathBuf;

use hayloft_model::ModelError;
use hayloft_runtime::words::did_you_mean;

/// An error of chat templates and conversations. Every message names the file, what was expected, what was found and
/// what to do.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The template's name is unknown.
    #[error(
        "template {text:?}: expected checkpoint, mistral, qwen or gemma{}",
        did_you_mean(.text, ["checkpoint", "mistral", "qwen", "gemma"])
    )]
    ChoiceText {
        /// The name given.
        text: String,
    },
    /// A file of the checkpoint cannot be read.
    #[error("{path}: cannot be read: {cause}. The checkpoint's chat template is looked for there")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        cause: io::Error,
    },
    /// A file of the checkpoint is too large.
    #[error("{path}: expected at most {limit} bytes, got {bytes}. Is this another file, or a damaged one?")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The size limit in bytes.
        limit: u64,
        /// The file's size in bytes.
        bytes: u64,
    },
    /// A JSON file of the checkpoint has unexpected content.
    #[error("{path}: {problem}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What was expected, what was found, and what to do.
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
    /// The template cannot be parsed, raises an error or exceeds its limits.
    #[error(
        "{path}: the chat template fails: {problem}. It is rendered for one user turn, as transformers does but without strftime_now, for a prompt must be the same every day. Correct it, or name one of the study's in the data manifest"
    )]
    Failed {
        /// The file that holds the template.
        path: PathBuf,
        /// The error, with the template's line if known.
        problem: String,
    },
    /// The template does not contain the instruction exactly once and unchanged.
    #[error(
        "{path}: the chat template {problem}, expected the instruction in it once and unchanged but for white space around it. Where the user's words begin and end could not be told. Correct it, or name one of the study's in the data manifest"
    )]
    Instruction {
        /// The file that holds the template.
        path: PathBuf,
        /// How the template treats the instruction.
        problem: String,
    },
    /// The template begins with a token other than the sequence's BOS.
    #[error(
        "{path}: the chat template begins with {written:?}, expected nothing or the token {bos:?} that begins each sequence, named by {source_of_bos}. Leave bos out of the data manifest, or name the template's token there"
    )]
    Bos {
        /// The file that holds the template.
        path: PathBuf,
        /// The text that the template begins with.
        written: String,
        /// The token that begins each sequence.
        bos: String,
        /// The source of that token.
        source_of_bos: String,
    },
    /// The instruction is empty.
    #[error(
        "the instruction is empty, expected text other than white space. Leave such rows out with [chat] unusable_rows = \"skip\" in the data manifest"
    )]
    EmptyInstruction,
    /// The instruction is too long to render.
    #[error("the instruction has {bytes} bytes, expected at most {limit}")]
    LongInstruction {
        /// The instruction's size in bytes.
        bytes: usize,
        /// The size limit in bytes.
        limit: usize,
    },
    /// The conversation has too many messages.
    #[error("the conversation has {messages} messages, expected at most {limit}")]
    ManyMessages {
        /// The number of messages.
        messages: usize,
        /// The limit.
        limit: usize,
    },
    /// One of the study's templates is given more than one user turn.
    #[error(
        "{path}: expected one user message before the reply, got {messages} messages. Take the checkpoint's template, template = \"checkpoint\" in the data manifest"
    )]
    OneTurn {
        /// The name of the template.
        path: PathBuf,
        /// The number of messages.
        messages: usize,
    },
    /// The prompt leaves no room for a reply.
    #[error(
        "the prompt has {tokens} tokens, expected fewer than the {longest} of context_length. Raise context_length in the data manifest, or leave such rows out with [chat] unusable_rows = \"skip\""
    )]
    LongPrompt {
        /// The prompt's tokens, including BOS.
        tokens: usize,
        /// The length of the context.
        longest: usize,
    },
    /// The model or its tokenizer cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
}
