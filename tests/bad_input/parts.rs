//! Partial results that do not belong together, or have changed.

use std::path::{Path, PathBuf};

use crate::end_to_end::parts::Farm;
use crate::support::copy_folder;
use crate::support::program::{program, refuse};

/// Parts of two kinds, of the first SAE.
struct Case {
    farm: Farm,
    halves: PathBuf,
}

impl Case {
    fn new() -> Self {
        let farm = Farm::new();
        let halves = farm.small.folder("halves");
        farm.parts("", &[&farm.saes[0]], 2, &halves);
        Self { farm, halves }
    }

    fn half(&self, index: usize) -> PathBuf {
        self.halves.join(format!("part-{index}-of-2.safetensors"))
    }

    /// A part of another kind.
    fn other(&self, options: &str, of: usize) -> PathBuf {
        let folder = self.farm.small.folder("other");
        self.farm.parts(options, &[&self.farm.saes[0]], of, &folder);
        folder.join(format!("part-1-of-{of}.safetensors"))
    }

    /// `evaluate merge`, which must be refused and write nothing.
    fn refuse(&self, parts: &[&Path]) -> String {
        let out = self.farm.small.folder("results");
        let paths: Vec<(&str, &Path)> =
            parts.iter().map(|part| ("", *part)).chain([("--out", out.as_path())]).collect();
        let message = refuse(&mut program("evaluate", "merge", &paths));
        assert!(!out.exists(), "results were written: {message}");
        message
    }
}

#[test]
fn a_part_that_is_missing() {
    let case = Case::new();
    let message = case.refuse(&[&case.half(1)]);
    assert!(message.contains("shards 0") && message.contains("--part 0/2"), "{message}");
}

#[test]
fn a_shard_that_two_parts_have() {
    let case = Case::new();
    let third = case.other("", 3);
    let message = case.refuse(&[&case.half(0), &case.half(1), &third]);
    assert!(message.contains("part-1-of-3") && message.contains("of-2") && message.contains("shards"), "{message}");
}

#[test]
fn a_part_of_other_settings() {
    let case = Case::new();
    let other = case.other("--outlier-norm 5", 2);
    let message = case.refuse(&[&case.half(0), &other]);
    assert!(message.contains("outlier_norm none") && message.contains("got 5"), "{message}");
    assert!(message.contains("halves") && message.contains("other"), "{message}");
}

#[test]
fn a_part_of_another_sae_of_the_same_name() {
    let case = Case::new();
    let folder = case.farm.small.folder("elsewhere/first");
    copy_folder(&case.farm.saes[0], &folder);
    let weights = folder.join("sae_weights.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let out = case.farm.small.folder("other");
    case.farm.parts("", &[&folder], 2, &out);
    let message = case.refuse(&[&case.half(0), &out.join("part-1-of-2.safetensors")]);
    assert!(message.contains("its SAE first") && message.contains("provenance.files"), "{message}");
}

#[test]
fn a_damaged_part() {
    let case = Case::new();
    let path = case.half(1);
    let whole = std::fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    for spoilt in [bytes.as_slice(), &whole[..whole.len() - 1], &[], b"{}"] {
        std::fs::write(&path, spoilt).unwrap();
        let message = case.refuse(&[&case.halves]);
        assert!(message.contains("part-1-of-2") && message.contains("expected a whole partial result"), "{message}");
    }
}

#[test]
fn a_folder_without_parts_and_subsets_that_were_not_measured() {
    let case = Case::new();
    let message = case.refuse(&[&case.farm.cache]);
    assert!(message.contains("cache") && message.contains("got none"), "{message}");
    let out = case.farm.small.folder("results");
    let message = refuse(&mut program("evaluate", "merge --by subset", &[("", &case.halves), ("--out", &out)]));
    assert!(message.contains("--by subset") && !out.exists(), "{message}");
}

#[test]
fn a_part_without_the_baselines_of_the_others() {
    let case = Case::new();
    let (out, shelf) = (case.farm.small.folder("parts"), case.farm.small.folder("shelf"));
    let options = format!("--part 0/2 --baselines {}", shelf.display());
    let message = refuse(&mut case.farm.run(&options, &[&case.farm.saes[0]], Some(&out)));
    assert!(message.contains("--only-baselines") && message.contains("shelf"), "{message}");
    assert!(!out.exists());
}

#[test]
fn a_part_out_of_range_and_a_part_without_a_folder() {
    let case = Case::new();
    let sae = [case.farm.saes[0].as_path()];
    let out = case.farm.small.folder("parts");
    let message = refuse(&mut case.farm.run("--part 2/2", &sae, Some(&out)));
    assert!(message.contains("0/2 to 1/2") && message.contains("counted from zero"), "{message}");
    let message = refuse(&mut case.farm.run("--part 1/2", &sae, None));
    assert!(message.contains("--out"), "{message}");
}
