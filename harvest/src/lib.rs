//! Harvests language-model activations into a cache.
//!
//! ```text
//! data manifest ─► documents ─► tokens ─► sequences ─► shards ─► plan.json, plan/00000/…      plan, no weights needed
//!                                                                        │
//!                       embed ─► block ─► … ─► block ─► predictions ◄────┘
//!                                  │ site        │ site      │
//!                                  └─────────────┴───────────┴─► encode ─► shards/00000/…      run
//! ```
//!
//! With `[chat]` in the data manifest, rows are messages with a model's replies. Each row becomes a sequence
//! through a [`ChatTemplate`], and every token has a section: see [`conversation()`].
//!
//! [`plan`] is a function of the data, the tokenizer and its settings only. It reads no clock, and the thread count
//! does not matter. [`run`] fills any of the planned shards. Each shard is written once and atomically, so an
//! interrupted run resumes after the last complete shard, and several machines can share one plan.
//!
//! [`fetch`] downloads models, datasets and SAEs from the Hugging Face Hub.
//!
//! [`rollouts`] generates a chat model's replies to instructions, as conversations to plan.
//!
//! The two halves of [`run`] overlap. The forward pass stays on the calling thread. A bounded channel carries bytes to
//! a thread that encodes and writes. Memory holds at most a few row groups.

mod chat;
mod data;
mod error;
mod fetch;
#[doc(hidden)]
pub mod fuzzing;
mod identify;
mod inspection;
mod plan;
mod rollouts;
mod run;
mod summary;

pub use chat::{
    ChatError, ChatTemplate, Conversation, CutReply, EndOfTurn, Message, Prompt, Reply, Role, TemplateChoice,
    conversation, prompt_tokens,
};
pub use data::{
    BadRows, BosChoice, ChatReader, ChatRow, ChatSettings, DataError, DataFile, DataManifest, Document, DocumentReader,
    FieldPath, FileKind, FilesRead, LineProblem, ROLLOUTS_KEY, Replies, RowOrder, Selection, Shuffle, StarterManifest,
    UnusableRows,
};
pub use error::HarvestError;
pub use fetch::{
    EntryKind, EntryName, EntrySummary, FetchEntry, FetchError, FetchManifest, FetchMode, FetchOutcome, FetchRequest,
    FetchSettings, FetchSummary, Fetched, FetchedFile, FilePattern, FileSummary, fetch,
};
pub use inspection::ModelInspection;
pub use plan::{Packer, PackingSettings, PlanSettings, TokenisedDocument, plan, show_sequences};
pub use rollouts::{
    RolloutError, RolloutExample, RolloutRow, RolloutSettings, RolloutSummary, RolloutsRecord, read_rollouts, rollouts,
};
pub use run::{Logits, RunSettings, ShardRange, ShareSettings, SitePattern, run, run_profiled};
pub use summary::{ChatSummary, PlanSummary, RunSummary, SiteSummary};
