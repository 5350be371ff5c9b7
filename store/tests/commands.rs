//! The `store` command from outside.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{harvest, lengths, open, settings, write_plan};
use hayloft_store::{Codec, Dtype, Existing};

fn store(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_store")).args(arguments).arg(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn inspect_shows_a_cache_in_one_screen() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = harvest(folder.path(), &settings(Dtype::Bf16, Codec::PLANES));
    let output = store(&["inspect"], folder.path());
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let screen = text(&output.stdout);
    assert!(screen.lines().count() <= 28, "{screen}");
    for fact in [
        "llama, 5 blocks, d_model 5, vocabulary 512, run in bf16",
        "BOS 1 (<s>)",
        "stories: 3 documents in 1 file",
        "per-document, context 16",
        "3 of 3 planned",
        "54 of 54 planned",
        "text 44, bos 10",
        "tokens  losses  mean loss",
        "ArXiv",
        "top 2 logits",
        "bf16, codec planes",
        "blocks.3.hook_resid_post",
        &format!("{:.6}", manifest.sites[0].mean_norm),
    ] {
        assert!(screen.contains(fact), "{fact} is not in:\n{screen}");
    }
}

#[test]
fn inspect_prints_json() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = harvest(folder.path(), &settings(Dtype::F32, Codec::RAW));
    let output = store(&["inspect", "--json"], folder.path());
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["held"]["tokens"], 54);
    assert_eq!(value["sites"][1]["mean_norm"], manifest.sites[1].mean_norm);
    assert_eq!(value["sites"][1]["scale"], manifest.sites[1].scale());
    assert_eq!(value["being_written_by"], serde_json::Value::Null);
    // 10 sequences, of which the last token has no loss.
    for groups in ["sections", "subsets", "sections_of_subsets"] {
        let groups = value["statistics"][groups].as_array().unwrap();
        assert_eq!(groups.iter().map(|group| group["losses"].as_u64().unwrap()).sum::<u64>(), 44);
    }
    assert_eq!(value["non_finite_losses"], 0);
    let files = crate::support::files_below(&folder.path().join("shards"));
    assert_eq!(value["bytes"], files.values().map(|bytes| bytes.len() as u64).sum::<u64>());
}

/// A loss that is not finite is in no mean, and is told of; what stands in the last row of a sequence is no loss.
#[test]
fn inspect_says_how_many_losses_are_not_finite() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(Dtype::F32, Codec::RAW);
    write_plan(folder.path(), &lengths());
    let mut writer = open(folder.path(), &settings, Existing::Refuse).unwrap();
    for index in 0..writer.plan().shards.len() {
        let (sequences, _) = writer.plan_shard(index).unwrap();
        let mut shard = writer.begin_shard(index).unwrap();
        for (row_group, rows) in shard.row_group_rows().to_vec().into_iter().enumerate() {
            for site in &settings.sites {
                shard.write_activations(site, crate::support::bits(&settings, index, site, row_group, rows)).unwrap();
            }
        }
        let mut predictions = crate::support::predictions(&settings, &sequences).unwrap();
        if index == 0 {
            predictions.loss[0] = f32::INFINITY;
            let last = sequences[0].first_row + u64::from(sequences[0].length) - 1;
            predictions.loss[last as usize] = 7.0;
        }
        let written = shard.finish(Some(predictions)).unwrap();
        writer.record(written).unwrap();
    }
    writer.finish().unwrap();
    let output = store(&["inspect", "--json"], folder.path());
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let groups = value["statistics"]["sections"].as_array().unwrap();
    assert_eq!(groups.iter().map(|group| group["losses"].as_u64().unwrap()).sum::<u64>(), 43);
    assert_eq!(value["non_finite_losses"], 1);
    let screen = text(&store(&["inspect"], folder.path()).stdout);
    assert!(screen.contains("1 of the losses, which are in no mean"), "{screen}");
    assert!(store(&["verify"], folder.path()).status.success());
}

#[test]
fn verify_passes_a_whole_cache_and_names_the_damage_in_another() {
    let folder = tempfile::tempdir().unwrap();
    harvest(folder.path(), &settings(Dtype::Bf16, Codec::PLANES));
    let output = store(&["verify"], folder.path());
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).starts_with("whole: 23 files, "), "{output:?}");

    let path = folder.path().join("shards/00001/blocks.3.hook_resid_pre.parquet");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let output = store(&["verify"], folder.path());
    assert_eq!(output.status.code(), Some(1));
    let screen = text(&output.stdout);
    let named = "shards/00001/blocks.3.hook_resid_pre.parquet: damaged in row group 0, column exponent";
    assert!(screen.starts_with("DAMAGED ") && screen.contains(named), "{screen}");
    assert!(text(&output.stderr).contains("error: "), "{output:?}");
    assert!(screen.contains("\n1 damage: 23 files"), "{screen}");
    let output = store(&["verify", "--json"], folder.path());
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["damages"][0]["row_group"], 0);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_folder_that_is_no_cache_yet_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["inspect", "verify"] {
        let output = store(&[command], folder.path());
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        assert!(text(&output.stderr).starts_with("error: "), "{output:?}");
        assert!(text(&output.stderr).contains("Is it a cache?"), "{output:?}");
    }
    write_plan(folder.path(), &lengths());
    let _writer = open(folder.path(), &settings(Dtype::F32, Codec::RAW), Existing::Refuse).unwrap();
    let output = store(&["inspect"], folder.path());
    assert!(text(&output.stderr).contains("being written by process"), "{output:?}");
}

#[test]
fn means_over_no_rows_are_dashes_and_null() {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path(), &lengths());
    open(folder.path(), &settings(Dtype::F32, Codec::RAW), Existing::Refuse).unwrap().finish().unwrap();
    let screen = text(&store(&["inspect"], folder.path()).stdout);
    assert!(
        screen.contains("– bytes a token, activations compressed – times") && !screen.contains("0.000000"),
        "{screen}"
    );
    let value: serde_json::Value =
        serde_json::from_slice(&store(&["inspect", "--json"], folder.path()).stdout).unwrap();
    for figure in [&value["bytes_per_token"], &value["ratio_to_raw"], &value["sites"][0]["mean_norm"]] {
        assert!(figure.is_null(), "{value}");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    harvest(folder.path(), &settings(Dtype::F32, Codec::RAW));
    for arguments in [vec!["inspect"], vec!["inspect", "--json"], vec!["verify"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_store"))
            .args(&arguments)
            .arg(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn help_teaches_with_examples() {
    let commands = ["inspect", "verify", "diff", "merge", "extend", "select", "repair", "completions"];
    for arguments in std::iter::once(vec!["--help"]).chain(commands.map(|command| vec![command, "--help"])) {
        let output = Command::new(env!("CARGO_BIN_EXE_store")).args(&arguments).output().unwrap();
        assert!(text(&output.stdout).contains("Examples:"), "{arguments:?}");
    }
}

#[test]
fn an_import_an_inspection_and_exports_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/saelens/float32");
    let cache = folder.path().join("cache");
    let golden = golden.to_str().unwrap();
    let output = store(&["import", golden, "--from", "saelens", "--bos", "1", "--out"], &cache);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let said = text(&output.stdout);
    assert!(said.contains("24 tokens of 6 sequences in f32, 1 site, 1 shard; of an unknown model"), "{said}");
    let screen = text(&store(&["inspect"], &cache).stdout);
    assert!(screen.contains("unknown, d_model 3; imported without its checkpoint"), "{screen}");
    assert!(screen.contains("unknown, BOS 1 (unknown)"), "{screen}");

    let out = folder.path().join("out");
    let output = store(&["export", cache.to_str().unwrap(), "--to", "saelens", "--json", "--out"], &out);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["tokens"], &summary["dtype"], &summary["files"]), (&24.into(), &"f32".into(), &1.into()));
    let again = store(&["export", cache.to_str().unwrap(), "--to", "saelens", "--out"], &out);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("another folder"), "{again:?}");

    // A list of features alone is no folder of activations.
    let output = store(&["import", folder.path().to_str().unwrap(), "--from", "saelens", "--out"], &out);
    assert!(!output.status.success() && text(&output.stderr).contains("dataset_info.json"), "{output:?}");
}
