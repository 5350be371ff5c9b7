//! SAEs that do not belong to the cache, and caches that do not belong to the model.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::end_to_end::small_model::SmallModel;
use crate::support::program::{program, refuse, succeed};
use crate::support::{copy_folder, fixture};

/// A cache of the small model, and an SAE for it whose configuration a test may corrupt.
struct Case {
    small: SmallModel,
    cache: PathBuf,
    sae: PathBuf,
}

impl Case {
    fn new() -> Self {
        let small = SmallModel::new();
        let (cache, sae) = (small.folder("cache"), small.folder("sae"));
        succeed(&mut small.harvest("", &cache));
        copy_folder(&fixture("tiny-llama/sae"), &sae);
        Self { small, cache, sae }
    }

    /// `evaluate run` of an SAE, which must be refused and write nothing.
    fn refuse(&self, sae: &Path, options: &str) -> String {
        let out = self.small.folder("results");
        let paths =
            [("--model", self.small.model.as_path()), ("--cache", &self.cache), ("--sae", sae), ("--out", &out)];
        let message = refuse(&mut program("evaluate", &format!("run {options}"), &paths));
        assert!(!out.exists(), "results were written: {message}");
        message
    }

    fn set_hook_name(&self, name: &str) {
        let path = self.sae.join("cfg.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config["metadata"]["hook_name"] = name.into();
        std::fs::write(path, config.to_string()).unwrap();
    }
}

#[test]
fn an_sae_of_another_width() {
    let message = Case::new().refuse(&fixture("saes/standard-none"), "");
    assert!(
        message.contains("standard-none") && message.contains("32 wide") && message.contains("for 16"),
        "{message}"
    );
}

#[test]
fn a_folder_of_several_saes_in_place_of_one() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["first", "second"] {
        copy_folder(&fixture("tiny-llama/sae"), &folder.path().join(name));
    }
    let message = refuse(&mut program("evaluate", "inspect", &[("", folder.path())]));
    assert!(message.contains("expected one SAE, found 2: first, second") && message.contains("/*'"), "{message}");
    let pattern = folder.path().join("*");
    succeed(&mut program("evaluate", "inspect", &[("", &pattern)]));
}

#[test]
fn an_sae_of_another_site() {
    let case = Case::new();
    case.set_hook_name("blocks.0.hook_resid_pre");
    let message = case.refuse(&case.sae, "");
    assert!(message.contains("blocks.0.hook_resid_pre") && message.contains("blocks.1.hook_resid_pre"), "{message}");
    let message = case.refuse(&case.sae, "--site blocks.1.hook_resid_pre");
    assert!(message.contains("blocks.0.hook_resid_pre"), "{message}");
}

#[test]
fn an_sae_of_a_site_that_the_model_does_not_have() {
    let case = Case::new();
    case.set_hook_name("blocks.7.hook_resid_pre");
    assert!(case.refuse(&case.sae, "").contains("3 blocks"));
    let message = refuse(&mut program(
        "harvest",
        "run --site blocks.7.hook_resid_pre",
        &[("--model", &case.small.model), ("--data", &case.small.data), ("--out", &case.small.folder("other"))],
    ));
    assert!(message.contains("blocks.7.hook_resid_pre") && message.contains("3 blocks"), "{message}");
    assert!(!case.small.folder("other").exists());
}

#[test]
fn a_section_that_the_cache_does_not_hold() {
    let case = Case::new();
    let message = case.refuse(&case.sae, "--section rollout");
    assert!(message.contains("rollout") && message.contains("text"), "{message}");
}

#[test]
fn a_folder_that_is_not_a_cache() {
    let case = Case::new();
    std::fs::remove_file(case.cache.join("manifest.json")).unwrap();
    assert!(case.refuse(&case.sae, "").contains("manifest.json"));
}
