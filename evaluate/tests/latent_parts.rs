//! Statistics of latents in parts, each read from its file, compared byte for byte with one run over the whole cache.

use std::path::{Path, PathBuf};

use hayloft_evaluate::{
    EvaluateError, LatentsSettings, PartKind, PartialError, RunSettings, find_parts, latents, latents_part, merge,
    merge_latents, run_part,
};
use hayloft_rows::{ExcludeChoice, OutlierNorm};
use hayloft_runtime::{Part, Progress};
use hayloft_store::Codec;
use tch::Tensor;
use tempfile::TempDir;

use crate::support::Copy;
use crate::support::tiny::{Tiny, model, sae};

/// The fixtures' SAE with each latent many times over, a little different each time.
fn wide() -> Copy {
    const TIMES: i64 = 40;
    let copy = Copy::of_folder(&sae());
    let mut width = 0;
    copy.edit_weights(|tensors| {
        for (name, tensor) in tensors.iter_mut() {
            let latents = match name.as_str() {
                "W_enc" => 1,
                "W_dec" | "b_enc" => 0,
                _ => continue,
            };
            let spread =
                Tensor::arange(TIMES * tensor.size()[latents as usize], (tensor.kind(), tensor.device())) * 1e-3;
            let mut shape = vec![1; tensor.dim()];
            shape[latents as usize] = -1;
            let times: Vec<i64> = shape.iter().map(|&size| if size == 1 { 1 } else { TIMES }).collect();
            *tensor = tensor.repeat(&times) * (spread.view(shape.as_slice()).sin() + 1.0);
            width = tensor.size()[latents as usize];
        }
    });
    copy.set("d_sae", width.into());
    assert!(width > 1024, "{width}");
    copy
}

/// Every option that parts may have.
fn settings(tiny: &Tiny, saes: Vec<PathBuf>) -> LatentsSettings {
    let plain = LatentsSettings::new(tiny.cache(), saes, "");
    LatentsSettings {
        top: 4,
        sampled: 3,
        window: 2,
        logits_of: Some(model()),
        ablate: Some("0..3".parse().unwrap()),
        run: RunSettings {
            model: Some(model()),
            outlier_norm: Some(OutlierNorm::MedianMultiple(1.05)),
            exclude: ExcludeChoice::Bos,
            ..plain.run
        },
        ..plain
    }
}

fn part(index: usize, of: usize) -> Part {
    Part::new(index, of).unwrap()
}

/// Writes parts into a folder.
fn write_parts(settings: &LatentsSettings, parts: &[Part], folder: &Path) -> Vec<PathBuf> {
    let write = |&part: &Part| {
        let partial = latents_part(settings, part, Progress::Silent).unwrap_or_else(|error| panic!("{part}: {error}"));
        partial.write(folder).unwrap()
    };
    parts.iter().map(write).collect()
}

fn all(of: usize) -> Vec<Part> {
    (0..of).map(|index| part(index, of)).collect()
}

/// The bytes of both files, and what is printed.
fn written(out: &Path, printed: String) -> [Vec<u8>; 3] {
    let file = |name| std::fs::read(out.join(name)).unwrap();
    [file("latents.parquet"), file("examples.parquet"), printed.into_bytes()]
}

fn whole(settings: &LatentsSettings, scratch: &TempDir) -> [Vec<u8>; 3] {
    let out = scratch.path().join("whole");
    let report = latents(&LatentsSettings { out: out.clone(), ..settings.clone() }, Progress::Silent).unwrap();
    written(&out, report.table(80))
}

fn merged(files: &[PathBuf], scratch: &TempDir) -> [Vec<u8>; 3] {
    let out = scratch.path().join("merged");
    let report = merge_latents(files, &out, Progress::Silent).unwrap_or_else(|error| panic!("{error}"));
    written(&out, report.table(80))
}

fn refusal(files: &[PathBuf]) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out");
    let message = merge_latents(files, &out, Progress::Silent).unwrap_err().to_string();
    assert!(!out.exists(), "files were written: {message}");
    message
}

#[test]
fn parts_of_everything_merge_to_one_run() {
    let (tiny, wide, scratch) = (Tiny::sharded(5, Codec::PLANES), wide(), tempfile::tempdir().unwrap());
    let settings = settings(&tiny, vec![sae(), wide.path().to_path_buf()]);
    let expected = whole(&settings, &scratch);
    for of in [1, 2, 3, 7] {
        let mut files = write_parts(&settings, &all(of), &scratch.path().join(format!("parts-{of}")));
        files.rotate_left(of / 2);
        assert!(merged(&files, &scratch) == expected, "{of} parts");
    }
    let report = String::from_utf8(expected[2].clone()).unwrap();
    assert!(report.contains("excluded") && report.contains("too large a norm"), "{report}");
    // Halves and quarters cover it too, and a folder stands for its files.
    let folder = scratch.path().join("mixed");
    write_parts(&settings, &[part(0, 2), part(2, 4), part(3, 4)], &folder);
    assert!(merged(&[folder], &scratch) == expected);
}

#[test]
fn chosen_shards_and_counts_alone_merge_too() {
    let (tiny, scratch) = (Tiny::sharded(5, Codec::PLANES), tempfile::tempdir().unwrap());
    let plain = LatentsSettings::new(tiny.cache(), vec![sae()], "");
    let settings =
        LatentsSettings { shards: "1..4".parse().unwrap(), top: 0, sampled: 0, nearest: 0, cofiring: 0, ..plain };
    let files = write_parts(&settings, &all(2), &scratch.path().join("parts"));
    assert!(merged(&files, &scratch) == whole(&settings, &scratch));
}

#[test]
fn parts_that_do_not_belong_together_are_named() {
    let (tiny, scratch) = (Tiny::sharded(4, Codec::PLANES), tempfile::tempdir().unwrap());
    let settings = LatentsSettings::new(tiny.cache(), vec![sae()], "");
    let first = write_parts(&settings, &[part(0, 2)], &scratch.path().join("parts")).remove(0);
    let with = |name: &str, settings: LatentsSettings| {
        let second = write_parts(&settings, &[part(1, 2)], &scratch.path().join(name)).remove(0);
        refusal(&[first.clone(), second])
    };
    let message = refusal(std::slice::from_ref(&first));
    assert!(message.contains("all 4 shards") && message.contains("--part 1/2"), "{message}");
    let message = with("seed", LatentsSettings { seed: 4, ..settings.clone() });
    assert!(message.contains("latents-part-1-of-2") && message.contains("expected seed 0"), "{message}");
    let message = with("window", LatentsSettings { window: 4, ..settings.clone() });
    assert!(message.contains("expected window 16") && message.contains("got 4"), "{message}");
    let message = with("shards", LatentsSettings { shards: "..3".parse().unwrap(), ..settings.clone() });
    assert!(message.contains("expected shards [0,1,2,3]") && message.contains("got [0,1,2]"), "{message}");
    let other = Copy::of_folder(&sae());
    other.edit_weights(|tensors| tensors.iter_mut().for_each(|(_, tensor)| *tensor = &*tensor * 1.5));
    let saes = |path: &Path| RunSettings { saes: vec![path.to_path_buf()], ..settings.run.clone() };
    let named = scratch.path().join("sae");
    std::fs::create_dir(&named).unwrap();
    for name in ["cfg.json", "sae_weights.safetensors"] {
        std::fs::copy(other.path().join(name), named.join(name)).unwrap();
    }
    let message = with("sae-of-others", LatentsSettings { run: saes(&named), ..settings.clone() });
    assert!(message.contains("SAE sae") && message.contains("provenance"), "{message}");
    let message = with("other-name", LatentsSettings { run: saes(other.path()), ..settings.clone() });
    assert!(message.contains("expected the SAEs sae"), "{message}");
    let second = write_parts(&settings, &[part(1, 2), part(3, 4)], &scratch.path().join("parts"));
    let message = refusal(&[vec![first.clone()], second].concat());
    assert!(message.contains("part-3-of-4") && message.contains("no other part has"), "{message}");
}

#[test]
fn parts_of_an_evaluation_and_of_latents_are_told_apart() {
    let (tiny, scratch) = (Tiny::sharded(2, Codec::PLANES), tempfile::tempdir().unwrap());
    let settings = LatentsSettings::new(tiny.cache(), vec![sae()], "");
    let folder = scratch.path().join("parts");
    let latents = write_parts(&settings, &[Part::WHOLE], &folder);
    assert_eq!(find_parts(std::slice::from_ref(&folder)).unwrap(), (PartKind::Latents, latents.clone()));
    let evaluation = RunSettings { model: None, ..RunSettings::new("", tiny.cache(), vec![sae()]) };
    let results = run_part(&evaluation, Part::WHOLE, Progress::Silent).unwrap().write(&folder).unwrap();
    let both = find_parts(&[folder]).unwrap_err().to_string();
    assert!(both.contains("part-0-of-1") && both.contains("Merge the parts of each command apart"), "{both}");
    let message = merge(&latents).unwrap_err().to_string();
    assert!(message.contains("expected a part of `evaluate run --part`"), "{message}");
    let message = refusal(&[results]);
    assert!(message.contains("expected a part of `evaluate latents --part`"), "{message}");
}

#[test]
fn damaged_parts_are_refused_wherever_a_byte_differs() {
    let (tiny, scratch) = (Tiny::sharded(2, Codec::PLANES), tempfile::tempdir().unwrap());
    let settings = LatentsSettings::new(tiny.cache(), vec![sae()], "");
    let file = write_parts(&settings, &[Part::WHOLE], scratch.path()).remove(0);
    let bytes = std::fs::read(&file).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        let error = merge_latents(std::slice::from_ref(&file), &scratch.path().join("out"), Progress::Silent);
        match error.unwrap_err() {
            EvaluateError::Partial(error @ (PartialError::Damaged { .. } | PartialError::Format { .. })) => error,
            other => panic!("{other}"),
        }
    };
    for place in (0..bytes.len()).step_by(bytes.len() / 37) {
        let mut other = bytes.clone();
        other[place] ^= 1;
        refused(&other);
    }
    for length in [0, 7, 8, 40, bytes.len() - 1] {
        refused(&bytes[..length]);
    }
}

#[test]
fn an_export_for_delphi_is_of_all_shards() {
    let tiny = Tiny::sharded(2, Codec::PLANES);
    let plain = LatentsSettings::new(tiny.cache(), vec![sae()], "");
    let settings = LatentsSettings { delphi: Some("delphi".into()), ..plain };
    let message = latents_part(&settings, part(0, 2), Progress::Silent).unwrap_err().to_string();
    assert!(message.contains("delphi") && message.contains("all shards"), "{message}");
}
