//! Feeds made-up files to every reader of files that may come from strangers.
//!
//! ```text
//! corpus/TARGET/… ─► libFuzzer ─► target ─► read, or refused with words ─► new code? ─► target/fuzz/corpus/TARGET/…
//!                                    └────► panic, abort, too much memory, too long ─► target/fuzz/failures/TARGET/…
//! ```
//!
//! A [`Target`] is one reader: a function over bytes. It gives an input every chance to get far: checksums and hashes
//! that an author of a made-up file could make up too are put right before the reader sees them.
//!
//! The program `libfuzzer` (feature `libfuzzer`) runs one target; `scripts/fuzz` builds it with coverage and runs all.
//! The program `fuzz` replays one input and writes the seeds. Tests replay the corpus.

mod bundle;
mod corpus;
mod guarded;
mod outcome;
pub mod seeds;
mod targets;

pub use corpus::{CorpusFile, corpus, corpus_folder};
pub use guarded::guard::{Failure, guarded};
pub use outcome::Outcome;
pub use targets::{TARGETS, Target, target};
