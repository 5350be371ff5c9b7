//! The seeds of the corpus, made by the writers that real files come from.
//!
//! Names of a cache's seeds begin with the format that they are of.
#![expect(clippy::expect_used, reason = "a seed that cannot be made is a bug here, and no input's fault")]

pub mod cache;
pub mod chat;
pub mod data;
mod folders;
pub mod latents;
pub mod partial;
pub mod saes;

use std::fs;

use anyhow::{Context, Result};

use crate::{corpus_folder, target};

/// An input that reads whole: its target, its name, its bytes.
pub(crate) type Seed = (&'static str, String, Vec<u8>);

/// Writes every seed into the corpus, over those of the same names. Gives how many.
///
/// # Errors
/// Where a file cannot be written.
pub fn write() -> Result<usize> {
    let seeds = [
        cache::seeds(),
        saes::seeds(),
        partial::seeds(),
        chat::seeds(),
        data::seeds(),
        folders::seeds(),
        latents::seeds(),
    ]
    .concat();
    for (name, file, bytes) in &seeds {
        let target = target(name).context("a seed of no target")?;
        let folder = corpus_folder().join(target.name);
        fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        fs::write(folder.join(file), bytes).with_context(|| format!("{}", folder.join(file).display()))?;
    }
    Ok(seeds.len())
}
