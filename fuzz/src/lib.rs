//! Feeds made-up files to every reader of files that may come from strangers.
//!
//! ```text
//! corpus/TARGET/… ─► pool ─► mutate ─► target ─► read, or refused with words ─► words never seen before? ─► pool
//!                                         └────► panic, abort, too much memory, too long ─► failures/TARGET/…
//! ```
//!
//! A [`Target`] is one reader: a function over bytes. It gives an input every chance to get far: checksums and hashes
//! that an author of a made-up file could make up too are put right before the reader sees them.
//!
//! There is no coverage to steer by on a stable toolchain. What stands in for it is what a reader says: an input that is
//! refused in words not heard before has come somewhere new, and is mutated further.
//!
//! Inputs run in worker processes, so that one that ends its process (an abort, a stack overflow, an allocation beyond the
//! limit) is a failure like any other: the worker has written it down before it ran it.

mod bundle;
mod campaign;
mod corpus;
mod guarded;
mod mutate;
mod outcome;
mod pool;
mod replay;
mod report;
pub mod seeds;
mod targets;
mod worker;

pub use campaign::{Campaign, campaign};
pub use corpus::{CorpusFile, corpus, corpus_folder};
pub use guarded::guard::{Failure, guarded};
pub use outcome::Outcome;
pub use replay::replay;
pub use report::{FailureReport, TargetReport};
pub use targets::{TARGETS, Target, target};
pub use worker::{Work, work};
