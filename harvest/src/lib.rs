//! Fills a cache with a language model's activations.
//!
//! ```text
//! data manifest ─► documents ─► tokens ─► sequences ─► shards ─► plan.json, plan/00000/…      plan, no weights needed
//!                                                                        │
//!                       embed ─► block ─► … ─► block ─► predictions ◄────┘
//!                                  │ site        │ site      │
//!                                  └─────────────┴───────────┴─► encode ─► shards/00000/…      run
//! ```
//!
//! Where the data manifest has `[chat]`, rows are instructions with what a model answered, and each becomes a sequence
//! through a [`ChatTemplate`], with a section for every token: see [`conversation()`].
//!
//! [`plan`] is a function of the data, the tokenizer and its settings, and of nothing else: no clock, no thread count.
//! [`run`] fills any of the planned shards; each is written once and whole, so a run that was stopped goes on after the
//! last whole shard, and several machines can share the shards of one plan.
//!
//! [`fetch`] brings models, datasets and SAEs from the Hugging Face Hub beforehand.
//!
//! [`rollouts`] lets a chat model answer instructions first, so that there are conversations to plan.
//!
//! The two halves of [`run`] overlap. The forward pass stays on the thread that called it; bytes go over a bounded
//! channel to a thread that encodes and writes, and memory holds no more than a few row groups.

mod chat;
mod data;
mod devices;
mod error;
mod fetch;
#[doc(hidden)]
pub mod fuzzing;
mod plan;
mod rollouts;
mod run;
mod summary;

pub use chat::{
    ChatError, ChatTemplate, Conversation, EndOfTurn, Prompt, Reply, Speech, TemplateChoice, conversation,
    prompt_tokens,
};
pub use data::{
    ChatReader, ChatRow, ChatSettings, DataError, DataFile, DataManifest, Document, DocumentReader, FieldPath,
    FileKind, FilesRead, LineProblem, ROLLOUTS_KEY, Replies, RowOrder, Selection, Sha256, Shuffle, UnusableRows,
};
pub use devices::{Processors, Program, run_on_devices};
pub use error::HarvestError;
pub use fetch::{
    Asked, Commit, Endpoint, EntryKind, EntryName, EntrySummary, FetchEntry, FetchError, FetchManifest, FetchMode,
    FetchOutcome, FetchSettings, FetchSummary, Fetched, FetchedFile, FileName, FilePattern, FileSummary, HubSettings,
    Patience, Reach, RepoId, Revision, Token, fetch,
};
pub use plan::{
    Grouping, PackedSequence, Packer, PackingSettings, PlanSettings, PlannedShard, ShardBuilder, Source, Span,
    TokenisedDocument, plan, show_sequences,
};
pub use rollouts::{
    Glimpse, RolloutError, RolloutRow, RolloutSettings, RolloutSummary, RolloutsRecord, read_rollouts, rollouts,
};
pub use run::{Logits, RunSettings, ShardRange, Share, SitePattern, run, run_profiled};
pub use summary::{ChatSummary, PlanSummary, RunSummary, SiteSummary};
