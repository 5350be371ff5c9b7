//! Errors of combining partial results.

use std::io;
use std::path::PathBuf;

/// An error of reading, writing or combining partial results.
#[derive(Debug, thiserror::Error)]
pub enum PartialError {
    /// No partial results were found.
    #[error(
        "{path}: expected partial results, part-I-of-N.safetensors or latents-part-I-of-N.safetensors, got none. Name the folders that `evaluate run` or `evaluate latents` with --part I/N --out DIR wrote into"
    )]
    None {
        /// The folder.
        path: PathBuf,
    },
    /// A file could not be read.
    #[error("{path}: cannot read: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        cause: io::Error,
    },
    /// A file is damaged or is not a partial result.
    #[error("{path}: expected a whole partial result, got {got}. Copy it again, or evaluate that part again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        got: String,
    },
    /// A file has another version of the format.
    #[error(
        "{path}: expected a partial result of format {expected}, got {got}. Merge it with the version of hayloft that wrote it, or evaluate that part again"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The format that this program reads.
        expected: String,
        /// The file's format.
        got: String,
    },
    /// A file was written by another version of hayloft, which may compute metrics differently.
    #[error(
        "{path}: expected a partial result of hayloft {expected}, as this program is, got one of hayloft {got}. Evaluate all parts and merge them with one version"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// This program's version.
        expected: String,
        /// The version that wrote the file.
        got: String,
    },
    /// Two parts belong to different caches.
    #[error("{path}: expected a part of the cache of {first}, whose {what} is {expected}, got {got}. Merge parts of one cache, all of it as it was in one state",
        path = .0.path.display(), first = .0.first.display(), what = .0.what, expected = .0.expected, got = .0.got)]
    OtherCache(Box<Mismatch>),
    /// Two parts were measured with different settings.
    #[error("{path}: expected {what} {expected}, as in {first}, got {got}. Evaluate all parts with the same settings",
        path = .0.path.display(), first = .0.first.display(), what = .0.what, expected = .0.expected, got = .0.got)]
    OtherSetting(Box<Mismatch>),
    /// Two different SAEs have the same name.
    #[error("{path}: expected its SAE {sae} to be that of {first}, of which {what} is {expected}, got {got}. If they are different SAEs, merge them apart, or name both with --sae in every run, so that they get different names",
        path = .0.path.display(), sae = .1, first = .0.first.display(), what = .0.what, expected = .0.expected, got = .0.got)]
    OtherSae(Box<Mismatch>, String),
    /// Shards are in none of the parts.
    #[error(
        "{sae}: expected parts that have all {count} shards of the cache between them, got none with shards {shards}. Evaluate the parts that are missing: shard {place} of the list is in --part {part}"
    )]
    Missing {
        /// The SAE's name.
        sae: String,
        /// Number of shards in the cache.
        count: usize,
        /// Numbers of the missing shards.
        shards: String,
        /// Index of the first missing shard in the cache's list.
        place: usize,
        /// A part that has this shard, in the split of the given parts.
        part: String,
    },
    /// Two parts have measured the same shard.
    #[error(
        "{second}: expected shards that no other part has, got shards {shards}, which are in {first} too, for the SAE {sae}. Leave one of the two files out"
    )]
    Doubled {
        /// The first file.
        first: PathBuf,
        /// The second file.
        second: PathBuf,
        /// The SAE's name.
        sae: String,
        /// Numbers of the common shards.
        shards: String,
    },
    /// A part is of another command.
    #[error("{path}: expected a part of {expected}, got one of {got}. Merge the parts of each command apart")]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// The command that the other parts are of.
        expected: &'static str,
        /// The command that wrote this file.
        got: &'static str,
    },
    /// What is computed of all latents is in none of the parts for some of them.
    #[error(
        "{sae}: expected parts that have its {width} latents between them, got none with the similar latents of latent {latent}. Merge all parts of one split I/N, those without shards too"
    )]
    MissingLatents {
        /// The SAE's name.
        sae: String,
        /// Number of its latents.
        width: usize,
        /// The first latent that is missing.
        latent: usize,
    },
    /// Metrics per subset were requested, but the parts have none.
    #[error("--by subset: expected parts with sums of subsets, got parts without. Evaluate them with --by subset too")]
    NoSubsets,
    /// A file could not be written.
    #[error("{path}: cannot write: {cause}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        cause: io::Error,
    },
}

/// A difference between two parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The file.
    pub path: PathBuf,
    /// The file that it is compared with.
    pub first: PathBuf,
    /// The first field that differs.
    pub what: String,
    /// The value in the first file.
    pub expected: String,
    /// The value in this file.
    pub got: String,
}
