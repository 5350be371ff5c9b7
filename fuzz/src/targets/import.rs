//! Folders of others that become caches: activations that SAELens cached, and safetensors with their provenance, each with or
//! without a checkpoint beside them.

use std::path::Path;

use hayloft_store::convert::{saelens, safetensors};
use hayloft_store::{Codec, Existing, ImportSettings, NonFinite, fuzzing, verify};

use crate::Outcome;
use crate::bundle::{self, Bundled};
use crate::guarded::scratch;
use crate::outcome::words;

/// The names that a folder's files may have here. Where the names in a file lead is for its reader to check.
pub(crate) const FILES: [&str; 16] = [
    "dataset_info.json",
    "state.json",
    "cache_activations_runner_cfg.json",
    "data-00000-of-00001.arrow",
    "data-00000-of-00002.arrow",
    "data-00001-of-00002.arrow",
    "shard-00000.safetensors",
    "shard-00001.safetensors",
    "model/config.json",
    "model/tokenizer.json",
    "model/tokenizer_config.json",
    "model/special_tokens_map.json",
    "model/generation_config.json",
    "model/model.safetensors",
    "model/model.safetensors.index.json",
    PROVENANCE,
];
const PROVENANCE: &str = "hayloft.json";

/// A folder, imported as what it looks like.
pub(super) fn folder(input: &[u8]) -> Outcome {
    let root = scratch::folder("import", |_| {});
    let (from, out) = (root.join("from"), root.join("cache"));
    scratch::clear(&from);
    scratch::clear(&out);
    let files = bundle::parse(input);
    let mut has_model = false;
    for file in files.iter().filter(|file| FILES.contains(&file.name)) {
        has_model |= file.name.starts_with("model/");
        scratch::write_below(&from, file.name, &agreeing(file, &files));
    }
    let model = from.join("model");
    let settings = settings(&from, &out, has_model.then_some(model.as_path()));
    let is_saelens = settings.from.join("state.json").exists();
    let import = if is_saelens { saelens::import } else { safetensors::import };
    import(&settings, &mut |_| ()).map_err(words)?;
    whole(&settings.out)
}

/// Shards and row groups of a few sequences.
pub(crate) fn settings(from: &Path, out: &Path, checkpoint: Option<&Path>) -> ImportSettings {
    ImportSettings {
        from: from.to_owned(),
        out: out.to_owned(),
        checkpoint: checkpoint.map(Path::to_owned),
        sites: Vec::new(),
        codec: Codec::RAW,
        name: None,
        bos: checkpoint.is_none().then_some(1),
        precision: None,
        shard_tokens: 32,
        row_group_rows: 16,
        non_finite: NonFinite::Allow,
        existing: Existing::Refuse,
    }
}

/// What an import made must be a cache without a flaw.
fn whole(cache: &Path) -> Outcome {
    let report = verify(cache, &mut |_| {}).map_err(words)?;
    assert_eq!(report.damages, [], "an import made a cache that is not whole");
    Ok(())
}

/// A file's bytes; the provenance agrees with the other files.
fn agreeing(file: &Bundled<'_>, files: &[Bundled<'_>]) -> Vec<u8> {
    if file.name != PROVENANCE {
        return file.bytes.to_vec();
    }
    let mut text = String::from_utf8_lossy(file.bytes).into_owned();
    for other in files {
        bundle::put_right(&mut text, other.name, other);
    }
    fuzzing::sealed(text.as_bytes())
}
