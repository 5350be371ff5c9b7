//! Evaluations in parts through the program, as jobs of a cluster run them: `evaluate merge` writes and prints the same
//! as one run, byte for byte.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::small_model::SmallModel;
use crate::support::program::{program, succeed};
use crate::support::{copy_folder, fixture};

/// A cache in several shards, and two SAEs.
pub struct Farm {
    pub small: SmallModel,
    pub cache: PathBuf,
    pub saes: [PathBuf; 2],
}

impl Farm {
    pub fn new() -> Self {
        let small = SmallModel::new();
        let cache = small.folder("cache");
        succeed(&mut small.harvest("--logits top=4", &cache));
        let saes = [small.folder("first"), small.folder("second")];
        for (sae, site) in saes.iter().zip(["blocks.1.hook_resid_pre", "blocks.1.hook_resid_post"]) {
            copy_folder(&fixture("tiny-llama/sae"), sae);
            let path = sae.join("cfg.json");
            let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            config["metadata"]["hook_name"] = site.into();
            std::fs::write(path, config.to_string()).unwrap();
        }
        Self { small, cache, saes }
    }

    /// `evaluate run` of SAEs.
    pub fn run(&self, options: &str, saes: &[&Path], out: Option<&Path>) -> std::process::Command {
        let mut paths = vec![("--model", self.small.model.as_path()), ("--cache", &self.cache)];
        paths.extend(saes.iter().map(|sae| ("--sae", *sae)));
        paths.extend(out.map(|out| ("--out", out)));
        program("evaluate", &format!("run {options}"), &paths)
    }

    /// Runs all parts, baselines first, into one folder.
    pub fn parts(&self, options: &str, saes: &[&Path], of: usize, out: &Path) {
        for only in [true, false] {
            for index in 0..of {
                let options = format!("{options} --part {index}/{of}");
                if only {
                    let said = succeed(&mut self.run(&format!("{options} --only-baselines"), saes, None));
                    assert!(said.contains(&format!("part {index}/{of}: baselines of")), "{said}");
                } else {
                    let said = succeed(&mut self.run(&options, saes, Some(out)));
                    assert!(said.contains(&format!("part-{index}-of-{of}.safetensors")), "{said}");
                }
            }
        }
    }

    fn shards(&self) -> usize {
        std::fs::read_dir(self.cache.join("shards")).unwrap().count()
    }
}

/// Asserts that two folders hold the same files with the same bytes.
fn assert_same_folders(expected: &Path, got: &Path) {
    let names = |folder: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(expected), names(got));
    for name in names(expected) {
        let read = |folder: &Path| std::fs::read(folder.join(&name)).unwrap();
        assert!(read(expected) == read(got), "{} differs from {}", got.join(&name).display(), expected.display());
    }
}

#[test]
fn merged_parts_equal_the_output_of_one_run() {
    let farm = Farm::new();
    let shards = farm.shards();
    assert!(shards >= 3, "{shards}");
    let options = "--section all --section text --kl --bootstrap=100 --outlier-norm 6 --scale auto";
    let printing = "--by subset --by position --metrics all";
    let saes = [farm.saes[0].as_path(), &fixture("saelens-metrics/jumprelu-scaled")];
    let options = format!("{options} --by subset");
    let mut seen = Vec::new();
    for of in [2, 3, shards + 2] {
        let (parts, merged) = (farm.small.folder(&format!("parts-{of}")), farm.small.folder(&format!("merged-{of}")));
        farm.parts(&options, &saes, of, &parts);
        // Named one by one, from the last to the first.
        let files: Vec<PathBuf> =
            (0..of).rev().map(|index| parts.join(format!("part-{index}-of-{of}.safetensors"))).collect();
        let mut paths: Vec<(&str, &Path)> = files.iter().map(|file| ("", file.as_path())).collect();
        paths.push(("--out", &merged));
        let printed = succeed(&mut program("evaluate", &format!("merge {printing}"), &paths));
        seen.push((merged, printed));
        // The next number of parts makes its own baselines.
        std::fs::remove_dir_all(farm.cache.join("baselines")).unwrap();
    }
    let whole = farm.small.folder("whole");
    let one_run = options.replace(" --by subset", "");
    let expected = succeed(&mut farm.run(&format!("{one_run} {printing}"), &saes, Some(&whole)));
    assert!(expected.contains("by subset") && expected.contains("Differences from"), "{expected}");
    for (merged, printed) in &seen {
        assert_same_folders(&whole, merged);
        assert_eq!(*printed, expected);
    }
    let folder = farm.small.folder("parts-3");
    let again = farm.small.folder("again");
    let json = succeed(&mut program("evaluate", "merge --json", &[("", &folder), ("--out", &again)]));
    assert_eq!(json.trim_end(), std::fs::read_to_string(whole.join("results.json")).unwrap().trim_end());
}

#[test]
fn saes_in_place_at_once_merge_too() {
    let farm = Farm::new();
    let saes = [farm.saes[1].as_path(), &farm.saes[0]];
    let options = "--splice-together --section all --section text --outlier-norm 6 --scale auto";
    let (parts, merged, whole) = (farm.small.folder("parts"), farm.small.folder("merged"), farm.small.folder("whole"));
    farm.parts(options, &saes, 3, &parts);
    let printed = succeed(&mut program("evaluate", "merge", &[("", &parts), ("--out", &merged)]));
    let expected = succeed(&mut farm.run(options, &saes, Some(&whole)));
    assert_same_folders(&whole, &merged);
    assert_eq!(printed, expected);
}

#[test]
fn a_part_says_what_it_wrote() {
    let farm = Farm::new();
    let (parts, baselines) = (farm.small.folder("parts"), farm.small.folder("shelf"));
    let options = format!("--part 0/1 --json --baselines {}", baselines.display());
    let said: Value = serde_json::from_str(&succeed(&mut farm.run(&options, &[&farm.saes[0]], Some(&parts)))).unwrap();
    assert_eq!((said["part"].as_str(), said["of_shards"].as_u64()), (Some("0/1"), Some(farm.shards() as u64)));
    assert_eq!(said["file"].as_str().unwrap(), parts.join("part-0-of-1.safetensors").to_str().unwrap());
    assert_eq!(said["saes"][0], "first");
    // The cache is left unchanged.
    assert!(!farm.cache.join("baselines").exists() && baselines.exists());
    let only = format!("--only-baselines --json --baselines {}", baselines.display());
    let said: Value = serde_json::from_str(&succeed(&mut farm.run(&only, &[&farm.saes[0]], None))).unwrap();
    assert_eq!((said["part"].is_null(), said["of_shards"].as_u64()), (true, Some(farm.shards() as u64)));
}
