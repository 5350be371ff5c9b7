//! Sparse autoencoders (SAEs): readers for the published formats, a normalised in-memory form, and one forward pass.
//!
//! ```text
//! files ── detect the format ──► SaeFile ──► SaeTensors ──► Sae ──► latents, reconstructions
//! ```

#![warn(missing_debug_implementations, unreachable_pub)]

mod config;
mod convert;
mod error;
mod file;
mod formats;
mod forward;
mod inspection;
#[cfg(test)]
mod misreadings;
mod normalisation;
pub mod registry;
mod tensor_files;
mod tensors;

pub use config::{Conventions, InputBias, PositionSlice, Ranking, WithoutTokens};
pub use convert::{LAYOUT_VERSION, convert, convert_to_normalised};
pub use error::SaeError;
pub use file::SaeFile;
pub use formats::{PublishedFiles, SaeFormat, SaeOptions, Transcoded, find_saes, is_pattern, published_files};
pub use forward::closeness::{Closeness, TargetMean};
pub use forward::nearest::{NearestLatents, TILE_LATENTS};
pub use forward::sparse::SparseLatents;
pub use forward::{Encoded, Firings, Reconstruction, Sae};
pub use inspection::{SaeInspection, Spread};
pub use normalisation::{Normalisation, Undo};
pub use tensors::{ArchitectureTensors, SaeTensors};
