//! The folder that SAELens reads with `cached_activations_path` and writes with its `CacheActivationsRunner`: a data
//! set of Hugging Face's `datasets` library, as written by `Dataset.save_to_disk`.
//!
//! ```text
//! folder/
//! ├── dataset_info.json            the features: one column per site, and token_ids
//! ├── state.json                   the names of the data files, in order
//! └── data-00000-of-00002.arrow    Arrow streams
//! ```
//!
//! A row is one sequence. A site's column is an `Array2D` of `[context, d]`. Arrow stores it as lists of lists of float
//! or halffloat, marked by an extension name in the field's metadata. `token_ids` is a list of `context` int32.

mod export;
mod features;
mod folder;
mod import;
mod stream;

pub use export::export;
pub use import::import;
