//! The folder that SAELens reads with `cached_activations_path` and writes with its `CacheActivationsRunner`: a data set of
//! Hugging Face's `datasets` library, as `Dataset.save_to_disk` leaves it.
//!
//! ```text
//! folder/
//! ├── dataset_info.json            the features: a column for each site, and token_ids
//! ├── state.json                   the names of the data files, in order
//! └── data-00000-of-00002.arrow    Arrow streams
//! ```
//!
//! A row is one sequence. A site's column is `Array2D` of `[context, d]`, which Arrow stores as lists of lists of float or
//! halffloat, and knows by an extension name in the field's metadata; `token_ids` is a list of `context` int32.

mod export;
mod features;
mod folder;
mod import;
mod stream;

pub use export::export;
pub use import::import;
