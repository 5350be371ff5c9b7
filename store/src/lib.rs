//! Caches of a language model's activations: read, written and verified.
//!
//! A cache is a folder of Parquet and JSON files: a plan (which tokens), and for each planned shard the tokens, the model's
//! predictions and one file per site. Every block has a checksum and every file a hash. [`specification`] defines the files.
//!
//! | words | |
//! |---|---|
//! | site | a hook point of the model, such as `blocks.16.hook_resid_pre` |
//! | row | one token's activation at one site |
//! | row group | whole sequences of similar length, about 4096 rows: the unit of reading and checking |
//! | shard | a folder of files over some sequences, written once |
//!
//! # Reading a site
//!
//! [`Cache::site`] returns a [`Site`]; [`Site::row_groups`] reads it in order. [`Rows`] joins activations, `[rows, d_model]`,
//! with columns of tokens: sequence, position, token, section, document, subset and loss (in nats).
//!
//! ```
//! # fn main() -> hayloft_store::Result<()> {
//! use hayloft_store::Cache;
//!
//! let cache = Cache::open("conformance/cases/bf16-planes/cache")?;
//! let site = cache.site("blocks.3.hook_resid_pre")?;
//! for rows in site.row_groups() {
//!     let rows = rows?;
//!     let activations = rows.f32(); // or `rows.bf16()`, the stored words
//!     for (row, x) in rows.rows().zip(activations.chunks(rows.d_model())) {
//!         println!("{} {} {:?} {:?} {}", row.sequence, row.position, row.section, row.loss, x[0]);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Cache::shard`] and [`ActivationReader`] are the layer beneath: little-endian words into a buffer that is reused, views
//! without a copy of the codec `raw`, and threads that read row groups of one file at once.
//!
//! # Reading one sequence
//!
//! ```
//! # fn main() -> hayloft_store::Result<()> {
//! # let cache = hayloft_store::Cache::open("conformance/cases/bf16-planes/cache")?;
//! let site = cache.site("blocks.3.hook_resid_pre")?;
//! if let Some(rows) = site.sequence(2)? {
//!     println!("{} tokens: {:?}", rows.len(), rows.token());
//! }
//! # assert!(site.sequence(2)?.is_some());
//! # Ok(())
//! # }
//! ```
//!
//! # Reading rows by number
//!
//! [`RowReader`] numbers the rows of a site over all shards and reads any range or list of them.
//!
//! # Arrow record batches
//!
//! [`Rows::record_batch`] returns the columns and the activations as one [`arrow_array::RecordBatch`].
//!
//! ```
//! # fn main() -> hayloft_store::Result<()> {
//! # let cache = hayloft_store::Cache::open("conformance/cases/bf16-planes/cache")?;
//! for rows in cache.site("blocks.3.hook_resid_pre")?.row_groups() {
//!     let batch = rows?.record_batch()?;
//!     println!("{} rows of {} columns", batch.num_rows(), batch.num_columns());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Shard::token_batch`] returns the columns of all tokens of a shard, with predictions and norms and without activations;
//! [`Shard::sequence_batch`] returns its sequences.
//!
//! # Writing a cache
//!
//! [`PlanWriter`] writes the plan. [`CacheWriter`] opens it, and [`ShardWriter`] fills one shard with the activations of each
//! site, row group by row group, as little-endian words. A writer that is dropped or killed leaves no unfinished shard;
//! [`Existing::Resume`] goes on after the complete ones.
//!
//! ```
//! # use std::collections::BTreeMap;
//! # use hayloft_store::*;
//! # fn main() -> Result<()> {
//! # let place = tempfile::tempdir().unwrap();
//! # let folder = place.path();
//! # let blake3 = "00".repeat(32);
//! # let corpus = Corpus {
//! #     name: "one".into(),
//! #     tokenizer: TokenizerRecord { blake3: blake3.clone(), vocab_size: 512, bos_id: 1, bos_text: "<s>".into() },
//! #     data: DataRecord {
//! #         files: vec![], text_field: "text".into(), subset_field: None, max_tokens: None, seed: None,
//! #         shuffle_buffer: None, documents: 1, tokens_field: None, skipped_rows: None, selection: None,
//! #     },
//! #     chat: None, selected_from: vec![], packing: Packing::PerDocument,
//! #     context_length: 16, row_group_rows: 16, shard_tokens: 16,
//! # };
//! # let model = ModelRecord {
//! #     model_type: "llama".into(), identity: None, precision: Dtype::F32,
//! #     vocab_size: 512, d_model: 2, n_blocks: 4, context_length: 512,
//! # };
//! # let site: SiteName = "blocks.2.hook_resid_pre".parse()?;
//! # let settings = HarvestSettings {
//! #     model, sites: vec![site.clone()], site_widths: BTreeMap::new(), dtype: Dtype::F32, codec: Codec::PLANES,
//! #     predictions: None,
//! # };
//! # let activations = [0.5_f32; 3 * 2];
//! // `folder`, `corpus: Corpus` and `settings: HarvestSettings` are given.
//! let sequence = Sequence { id: 0, document: 0, subset: None, first_row: 0, length: 3, row_group: 0 };
//! let (token, position, section) = (vec![1, 17, 4], vec![0, 1, 2], vec![Section::Text; 3]);
//! let tokens = Tokens { token, position, section, sequence: vec![0; 3], document: vec![0; 3], subset: vec![None; 3],
//!     turn: Vec::new() };
//! let mut plan = PlanWriter::create(folder)?;
//! plan.add_shard(&[sequence], &tokens)?;
//! plan.finish(corpus)?;
//! let mut writer = CacheWriter::open(folder, settings, NonFinite::Refuse, Existing::Resume)?;
//! let mut shard = writer.begin_shard(0)?;
//! let words: Vec<u8> = activations.iter().flat_map(|x| x.to_le_bytes()).collect();
//! shard.write_activations(&site, words)?; // [3, d_model]
//! writer.record(shard.finish(None)?)?;
//! writer.finish()?;
//! # let rows = Cache::open(folder)?.site("blocks.2.hook_resid_pre")?.row_groups().next().unwrap()?;
//! # assert_eq!(rows.f32().as_ref(), activations);
//! # assert!(verify(folder, &mut |_| ())?.damages.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # Verifying a cache
//!
//! [`verify()`] reads every file and checks hashes, checksums, tables and sums. It continues after damage. [`inspect()`]
//! summarises the manifest alone.
//!
//! ```
//! # fn main() -> hayloft_store::Result<()> {
//! let folder = "conformance/cases/bf16-planes/cache";
//! let report = hayloft_store::verify(folder, &mut |_| ())?;
//! for damage in &report.damages {
//!     println!("{}: {}", damage.file, damage.problem);
//! }
//! println!("{} files, {} row groups", report.files, report.row_groups);
//! # assert!(report.damages.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! Every fallible function returns [`StoreError`]. Its message states the path, what was expected, what was found and what to
//! do; [`StoreError::kind`] is what a program decides by.
//!
//! ```
//! use hayloft_store::{Cache, ErrorKind};
//!
//! let error = Cache::open("no/such/cache").unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::NotFound);
//! ```
//!
//! # Features
//!
//! Without features the crate reads, writes and verifies caches in folders.
//!
//! | feature | adds |
//! |---|---|
//! | `remote` | caches in buckets and on web servers: `push`, `pull`, `Cache::open_at` |
//! | `workers` | several processes that fill one cache: `CacheWriter::open_shared`, and with `remote` `open_bucket` |
//! | `maintain` | the module `maintain`: merge, extend, select, diff, repair |
//! | `convert` | the module `convert`: to and from SAELens's cached activations and safetensors |
//! | `cli` | all of these, the program `store`, and clap's value parsers of paths and locations |
//! | `fuzzing`, `bench`, `failpoints` | entry points of fuzz tests, of benchmarks, and of tests that stop the program |

#![warn(missing_debug_implementations, unreachable_pub)]
#![cfg_attr(
    not(all(feature = "remote", feature = "workers", feature = "maintain", feature = "convert")),
    allow(dead_code, unused_imports, reason = "some shared functions serve one feature")
)]

mod codec;
#[cfg(feature = "convert")]
pub mod convert;
mod error;
mod format;
mod fs;
#[cfg(feature = "failpoints")]
pub mod failpoints {
    //! Failpoints of crates that rename files without the store, for tests that stop the program.

    pub use crate::fs::failpoints::before_rename;
}
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(feature = "bench")]
pub mod kernels;
#[cfg(feature = "maintain")]
pub mod maintain;
mod read;
#[cfg(feature = "remote")]
mod remote;
pub mod safe_parquet;
#[cfg(feature = "workers")]
mod workers;
mod write;

#[doc = include_str!("../FORMAT.md")]
pub mod specification {}

// Lets the unit tests share support code with the integration tests.
#[cfg(test)]
extern crate self as hayloft_store;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
#[allow(unreachable_pub, reason = "the integration tests share it")]
mod support;

pub use arrow_array;
pub use codec::Codec;
pub use codec::rounding::RoundingError;
#[cfg(feature = "convert")]
pub use convert::{ExchangeProgress, ExportSettings, ExportSummary, ImportSettings, ImportSummary};
pub use error::{ErrorKind, Result, StoreError};
pub use format::activations::reader::ActivationReader;
pub use format::group_sums::{GroupSums, NormSums, PredictionSums};
pub use format::manifest::{Manifest, SiteRecord};
#[cfg(feature = "remote")]
pub use format::plan::plan_at;
pub use format::plan::{Plan, PlanReader, PlanShard, PlanWriter};
pub use format::records::{
    ChatRecord, Corpus, Counts, DataRecord, FileRecord, KeptPredictions, ModelRecord, Packing, SelectedFrom,
    SelectionRecord, ShardRecord, TokenizerRecord,
};
pub use format::section::Section;
pub use format::settings::{Existing, HarvestSettings, NonFinite};
pub use format::shard_record::{ShardContents, ShardLogits, ShardSite, WrittenShard};
pub use format::site::SiteName;
pub use format::statistics::ActivationSums;
pub use format::tables::predictions::Predictions;
pub use format::tables::sequences::{Sequence, row_group_rows};
pub use format::tables::tokens::Tokens;
pub use half;
pub use hayloft_runtime::{Dtype, ModelIdentity};
pub use read::cache::{Cache, Shard, ShardTokens};
#[cfg(feature = "remote")]
pub use read::inspect::inspect_at;
pub use read::inspect::{GroupSummary, SiteSummary, StatisticsSummary, Summary, inspect};
pub use read::row_reader::RowReader;
pub use read::site::{Activations, Row, RowGroups, Rows, Site};
pub use read::verify::{Damage, Progress, Report, verify};
#[cfg(feature = "remote")]
pub use remote::{
    Environment, LocalPath, Location, Moved, Place, PullSelection, Pulled, Pushed, RemoteOptions, ShardRange, Traffic,
    parse_bytes, pull, push,
};
#[cfg(feature = "cli")]
pub use remote::{PlaceParser, check_arguments};
#[cfg(feature = "workers")]
pub use workers::Sharing;
pub use write::cache_writer::CacheWriter;
pub use write::grouping::{Grouping, PackedSequence, PlannedShard, ShardBuilder, Source, Span};
pub use write::planning::Planning;
pub use write::shard_queue::ShardQueue;
pub use write::shard_writer::ShardWriter;

/// The format version that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;
