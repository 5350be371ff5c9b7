//! The readers that inputs are fed to.

mod activations;
mod chat;
mod data;
mod import;
mod latents;
mod partial;
mod records;
mod remote;
mod saes;
mod tables;

use crate::Outcome;
pub(crate) use import::{FILES as IMPORTED, settings as import_settings};
pub(crate) use remote::OBJECTS as REMOTE;

/// A reader of untrusted bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is that of its folder in the corpus.
    pub name: &'static str,
    /// Reads an input as far as it can be read.
    pub read: fn(&[u8]) -> Outcome,
    /// Mebibytes that any input may have live.
    pub allowed_mib: usize,
}

/// What a reader needs for its buffers, whatever it reads.
const SMALL: usize = 64;
/// For readers that bound a document by 64 MiB: its buffer as it grows, and a copy of it.
const DOCUMENTS: usize = 384;

/// Every target, in the order they are run.
pub const TARGETS: &[Target] = &[
    Target { name: "manifest", read: records::manifest, allowed_mib: SMALL },
    Target { name: "plan", read: records::plan, allowed_mib: SMALL },
    Target { name: "shard", read: records::shard, allowed_mib: SMALL },
    Target { name: "sequences", read: tables::sequences, allowed_mib: SMALL },
    Target { name: "tokens", read: tables::tokens, allowed_mib: SMALL },
    Target { name: "predictions", read: tables::predictions, allowed_mib: SMALL },
    Target { name: "activations", read: activations::activations, allowed_mib: SMALL },
    Target { name: "sae_config", read: saes::config, allowed_mib: SMALL },
    Target { name: "sae_weights", read: saes::weights, allowed_mib: SMALL },
    Target { name: "sae_yaml", read: saes::yaml, allowed_mib: SMALL },
    Target { name: "numpy_archive", read: saes::numpy_archive, allowed_mib: DOCUMENTS },
    Target { name: "torch_file", read: saes::torch_file, allowed_mib: SMALL },
    Target { name: "partial_result", read: partial::result, allowed_mib: SMALL },
    Target { name: "partial_latents", read: partial::latents, allowed_mib: DOCUMENTS },
    Target { name: "chat_template", read: chat::template, allowed_mib: DOCUMENTS },
    Target { name: "tokenizer_config", read: chat::tokenizer_config, allowed_mib: DOCUMENTS },
    Target { name: "data_manifest", read: data::manifest, allowed_mib: SMALL },
    Target { name: "json_lines", read: data::json_lines, allowed_mib: SMALL },
    Target { name: "json", read: data::json, allowed_mib: SMALL },
    Target { name: "csv", read: data::csv, allowed_mib: DOCUMENTS },
    Target { name: "zstd", read: data::zstd, allowed_mib: DOCUMENTS },
    Target { name: "parquet", read: data::parquet, allowed_mib: DOCUMENTS },
    Target { name: "arrow", read: data::arrow, allowed_mib: DOCUMENTS },
    Target { name: "rollouts", read: data::rollouts, allowed_mib: DOCUMENTS },
    Target { name: "latents", read: latents::latents, allowed_mib: DOCUMENTS },
    Target { name: "examples", read: latents::examples, allowed_mib: DOCUMENTS },
    Target { name: "explanations", read: latents::explanations, allowed_mib: DOCUMENTS },
    Target { name: "import", read: import::folder, allowed_mib: SMALL },
    Target { name: "remote", read: remote::reading, allowed_mib: SMALL },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_each_is_one_targets() {
        for (place, expected) in TARGETS.iter().enumerate() {
            assert_eq!(TARGETS.iter().position(|target| target.name == expected.name), Some(place));
            assert_eq!(target(expected.name).map(|target| target.name), Some(expected.name));
        }
        assert!(target("none").is_none());
    }
}
