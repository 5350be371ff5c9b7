//! A cache of the real model's stories.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::fixture;
use super::program::{program, succeed};

/// The real model with a cache harvested from it.
pub struct Stories {
    pub cache: PathBuf,
    scratch: TempDir,
}

impl Stories {
    /// Harvests the evaluation stories at `blocks.3.hook_resid_pre`.
    pub fn harvest(options: &str) -> Self {
        Self::harvest_at("blocks.3.hook_resid_pre", options)
    }

    /// The same at another site.
    pub fn harvest_at(site: &str, options: &str) -> Self {
        let scratch = TempDir::new().unwrap();
        let cache = scratch.path().join("cache");
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data-manifests/stories260K-eval.toml");
        let line = format!("run --site {site} {options}");
        let paths = [("--model", fixture("stories260K")), ("--data", manifest), ("--out", cache.clone())];
        let paths = paths.each_ref().map(|(flag, path)| (*flag, path.as_path()));
        succeed(&mut program("harvest", &line, &paths));
        Self { cache, scratch }
    }

    /// An `evaluate run` of SAEs by their folders' names, and the folder for its results.
    pub fn evaluation(&self, saes: &[&str], options: &str) -> (std::process::Command, PathBuf) {
        let out = self.scratch.path().join(format!("results {options}"));
        let folders: Vec<PathBuf> = saes.iter().map(|sae| fixture("stories260K/saes").join(sae)).collect();
        let model = fixture("stories260K");
        let mut paths: Vec<(&str, &Path)> = vec![("--model", &model), ("--cache", &self.cache), ("--out", &out)];
        paths.extend(folders.iter().map(|folder| ("--sae", folder.as_path())));
        (program("evaluate", &format!("run {options}"), &paths), out)
    }

    /// Evaluates SAEs; returns one object of results for each.
    pub fn evaluate(&self, saes: &[&str], options: &str) -> Vec<Value> {
        let (mut command, out) = self.evaluation(saes, options);
        succeed(&mut command);
        serde_json::from_slice(&std::fs::read(out.join("results.json")).unwrap()).unwrap()
    }
}
