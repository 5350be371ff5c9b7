//! Errors of row selection.

use std::path::PathBuf;

use hayloft_store::StoreError;

/// An error of row selection. Messages say what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The cache could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cache does not say which token is BOS.
    #[error(
        "{cache}: expected a cache that says which token is BOS, to leave it out, got one that does not: it was imported without its tokenizer. Leave rows out by their norm (--outlier-norm), or by section (--section)"
    )]
    UnknownBos {
        /// The cache's folder.
        cache: PathBuf,
    },
    /// Excluding special tokens needs the model's tokenizer.
    #[error(
        "special tokens: expected the folder of the model's tokenizer, which says which they are, got none. Name it with --model (in `train` and `latents` --tokenizer), or leave out BOS alone (--exclude bos), which needs none"
    )]
    ExcludeWithoutModel,
    /// The tokenizer is not the one that the cache was made with.
    #[error(
        "{cache}: it was harvested from another model than {model}: tokenizer.json: expected BLAKE3 {expected} as the cache's manifest says, got BLAKE3 {got}. Give the checkpoint that the cache was made with, or harvest this one"
    )]
    OtherTokenizer {
        /// The cache's folder.
        cache: PathBuf,
        /// The tokenizer's folder.
        model: PathBuf,
        /// The hash in the manifest.
        expected: String,
        /// The hash of the tokenizer.
        got: String,
    },
    /// No token of the cache is in the section.
    #[error("{cache}: expected tokens in section {section}, got none: the cache holds {available}")]
    EmptySection {
        /// The cache's folder.
        cache: PathBuf,
        /// The requested section.
        section: String,
        /// The sections of the cache, with their token counts.
        available: String,
    },
    /// A saved state of batches names a row that the cache does not have.
    #[error(
        "row group {row_group} of the cache: expected row {row}, which the saved state of the batches names, got fewer rows. The state is damaged or of another cache: begin again without it"
    )]
    OtherRows {
        /// Cache-wide index of the row group.
        row_group: u32,
        /// The row in the row group.
        row: usize,
    },
    /// There is not as much memory.
    #[error("rows: expected {bytes} bytes of memory, got none. Read fewer at a time")]
    Memory {
        /// The bytes.
        bytes: usize,
    },
    /// There is no finite activation to take the median of.
    #[error("outlier norm: expected activations to take a median of, got no finite activation")]
    NoMedian,
    /// There is no row to compute the scale from.
    #[error(
        "{cache}: expected {rows} of a norm above zero to take the scale from, got none: the cache holds {available}. Give the scale with --scale"
    )]
    NoRowsForScale {
        /// The cache's folder.
        cache: PathBuf,
        /// The selected rows.
        rows: String,
        /// The sections of the cache, with their token counts.
        available: String,
    },
    /// The mean norm in the manifest gives no scale.
    #[error(
        "{site}: expected a mean norm above zero to take the scale from, got {mean_norm}. Give the scale with --scale"
    )]
    NoScale {
        /// The site.
        site: String,
        /// The mean norm in the manifest.
        mean_norm: f64,
    },
}
