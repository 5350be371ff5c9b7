//! One test for each way in which a cache can be wrong.

use std::fs;
use std::path::Path;

use crate::support::{
    bits, files_below, fill, harvest, identity, lengths, open, predictions, read_everything, settings, shard_data,
    site, write_plan,
};
use hayloft_store::{
    Cache, Codec, Dtype, Existing, HarvestSettings, KeptPredictions, PlanReader, PlanWriter, StoreError, Tokens,
    inspect, verify,
};

const SITE_FILE: &str = "shards/00000/blocks.3.hook_resid_pre.parquet";

fn cache(codec: Codec) -> (tempfile::TempDir, HarvestSettings) {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(Dtype::Bf16, codec);
    harvest(folder.path(), &settings);
    (folder, settings)
}

/// Puts a new checksum on a JSON file that a test has changed, as someone who means harm would.
fn reseal(path: &Path, change: impl FnOnce(&str) -> String) {
    let text = change(&fs::read_to_string(path).unwrap());
    let body = text.rsplit_once(",\n  \"checksum\"").unwrap().0;
    let checksum = blake3::hash(body.as_bytes()).to_hex();
    fs::write(path, format!("{body},\n  \"checksum\": \"{checksum}\"\n}}\n")).unwrap();
}

#[test]
fn no_flipped_bit_changes_a_number_and_verify_finds_each() {
    for codec in [Codec::PLANES, Codec::RAW] {
        // A small cache, so that there is time for every file's every few bytes.
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(Dtype::Bf16, codec);
        settings.sites.truncate(1);
        write_plan(folder.path(), &vec![vec![vec![3], vec![2, 1]]]);
        fill(open(folder.path(), &settings, Existing::Refuse).unwrap()).unwrap();
        let expected = read_everything(folder.path()).unwrap();
        for (name, bytes) in files_below(folder.path()) {
            let path = folder.path().join(&name);
            let step = if name.contains("hook_resid") { 1 } else { 5 };
            for position in (0..bytes.len()).step_by(step) {
                let mut flipped = bytes.clone();
                flipped[position] ^= 1 << (position / step % 8);
                fs::write(&path, &flipped).unwrap();
                match read_everything(folder.path()) {
                    Ok(got) => assert!(got == expected, "{name} at {position}: other numbers"),
                    Err(error) => assert!(
                        error.to_string().contains(name.rsplit('/').next().unwrap()),
                        "{name} at {position}: the file is not named in: {error}"
                    ),
                }
                match verify(folder.path(), &mut |_| ()) {
                    Ok(report) => {
                        let named = report.damages.iter().any(|damage| damage.file == name);
                        assert!(named, "{name} at {position}: {report:?}");
                    }
                    Err(error) => assert!(error.to_string().contains(&name), "{error}"),
                }
            }
            fs::write(&path, &bytes).unwrap();
        }
        assert!(read_everything(folder.path()).unwrap() == expected);
    }
}

#[test]
fn truncated_and_zero_length_files_are_named() {
    let (folder, _) = cache(Codec::PLANES);
    for (name, bytes) in files_below(folder.path()) {
        let path = folder.path().join(&name);
        for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&path, &bytes[..length]).unwrap();
            if name == "manifest.json" || name.starts_with("shards") {
                let error = read_everything(folder.path()).unwrap_err();
                assert!(matches!(error, StoreError::Damaged { .. }), "{name} cut to {length}: {error}");
                assert!(error.to_string().contains(&name), "{name} cut to {length}: {error}");
            }
            let report = verify(folder.path(), &mut |_| ()).unwrap();
            assert!(report.damages.iter().any(|damage| damage.file == name), "{name} cut to {length}: {report:?}");
        }
        fs::write(&path, &bytes).unwrap();
    }
}

#[test]
fn a_missing_file_is_named() {
    let (folder, settings) = cache(Codec::PLANES);
    fs::remove_file(folder.path().join(SITE_FILE)).unwrap();
    let shard = Cache::open(folder.path()).unwrap().shard(0).unwrap();
    let error = shard.activations(&settings.sites[0]).unwrap_err();
    assert!(error.to_string().contains("blocks.3.hook_resid_pre.parquet"), "{error}");
    let report = verify(folder.path(), &mut |_| ()).unwrap();
    assert_eq!(report.damages.len(), 1);
    assert_eq!(report.damages[0].file, SITE_FILE);
}

#[test]
fn damage_in_a_row_group_is_named_by_it() {
    let (folder, settings) = cache(Codec::PLANES);
    let path = folder.path().join(SITE_FILE);
    let mut bytes = fs::read(&path).unwrap();
    // The mantissas of the second row group lie as they are in the file.
    let wanted: Vec<u8> = bits(&settings, 0, &settings.sites[0], 1, 12)
        .chunks(2)
        .map(|word| u16::from_le_bytes([word[0], word[1]]).rotate_left(1) as u8)
        .collect();
    let at = bytes.windows(wanted.len()).position(|window| window == wanted).unwrap();
    bytes[at + 3] ^= 4;
    fs::write(&path, bytes).unwrap();
    let report = verify(folder.path(), &mut |_| ()).unwrap();
    let [damage] = report.damages.as_slice() else { panic!("{report:?}") };
    assert_eq!(
        (damage.file.as_str(), damage.row_group, damage.column.as_deref()),
        (SITE_FILE, Some(1), Some("mantissa"))
    );
    let reader = Cache::open(folder.path()).unwrap().shard(0).unwrap().activations(&settings.sites[0]).unwrap();
    let mut read = vec![1, 2, 3];
    reader.read(0, &mut read).unwrap();
    let error = reader.read(1, &mut read).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { row_group: Some(1), .. }), "{error}");
    assert!(read.is_empty(), "nothing of a damaged row group is handed out");
}

#[test]
fn a_manifest_with_a_path_that_leaves_the_folder_is_refused() {
    let (folder, _) = cache(Codec::PLANES);
    let path = folder.path().join("manifest.json");
    let original = fs::read(&path).unwrap();
    for other in ["/etc/passwd", "../../secrets", "shards/../../x"] {
        for named in ["\"path\": \"shards/00000\"", "\"path\": \"tokens.parquet\""] {
            reseal(&path, |text| text.replacen(named, &format!("\"path\": \"{other}\""), 1));
            let error = Cache::open(folder.path()).unwrap_err();
            assert!(matches!(&error, StoreError::LeavesFolder { named, .. } if named == other), "{error}");
            let report = verify(folder.path(), &mut |_| ()).unwrap();
            assert!(report.damages[0].problem.contains("leaves it"), "{report:?}");
            fs::write(&path, &original).unwrap();
        }
    }
}

#[test]
fn a_plan_with_a_path_that_leaves_the_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path(), &lengths());
    reseal(&folder.path().join("plan.json"), |text| text.replacen("plan/00000/tokens", "../tokens", 1));
    let writer = open(folder.path(), &settings(Dtype::F32, Codec::RAW), Existing::Refuse).unwrap();
    let error = writer.plan_shard(0).unwrap_err();
    assert!(matches!(error, StoreError::LeavesFolder { .. }), "{error}");
}

#[test]
fn a_link_that_leaves_the_folder_is_refused() {
    let (folder, settings) = cache(Codec::PLANES);
    let outside = tempfile::tempdir().unwrap();
    let shard = folder.path().join("shards/00001");
    fs::rename(&shard, outside.path().join("00001")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("00001"), &shard).unwrap();
    let error = Cache::open(folder.path()).unwrap().shard(1).unwrap_err();
    assert!(matches!(error, StoreError::LeavesFolder { .. }), "{error}");

    let activations = folder.path().join(SITE_FILE);
    fs::rename(&activations, outside.path().join("a")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("a"), &activations).unwrap();
    let shard = Cache::open(folder.path()).unwrap().shard(0).unwrap();
    let error = shard.activations(&settings.sites[0]).unwrap_err();
    assert!(matches!(error, StoreError::LeavesFolder { .. }), "{error}");
}

#[test]
fn a_second_writer_is_refused_while_readers_go_on() {
    let (folder, settings) = cache(Codec::PLANES);
    let first = open(folder.path(), &settings, Existing::Resume).unwrap();
    let error = open(folder.path(), &settings, Existing::Resume).unwrap_err();
    let words = format!("process {}", std::process::id());
    assert!(matches!(&error, StoreError::Locked { holder, .. } if holder.starts_with(&words)), "{error}");
    assert!(matches!(PlanWriter::create(folder.path()).unwrap_err(), StoreError::Locked { .. }));
    read_everything(folder.path()).unwrap();
    drop(first);
    open(folder.path(), &settings, Existing::Resume).unwrap();
}

#[test]
fn a_shard_writer_keeps_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(Dtype::F32, Codec::RAW);
    write_plan(folder.path(), &lengths());
    let writer = open(folder.path(), &settings, Existing::Refuse).unwrap();
    let shard = writer.begin_shard(0).unwrap();
    drop(writer);
    assert!(matches!(open(folder.path(), &settings, Existing::Refuse).unwrap_err(), StoreError::Locked { .. }));
    drop(shard);
    open(folder.path(), &settings, Existing::Refuse).unwrap();
}

#[test]
fn another_format_version_is_refused() {
    for name in ["manifest.json", "plan.json", "shards/00000/shard.json"] {
        let (folder, settings) = cache(Codec::PLANES);
        reseal(&folder.path().join(name), |text| text.replacen("\"format\": 1", "\"format\": 2", 1));
        let error = if name == "manifest.json" {
            Cache::open(folder.path()).unwrap_err()
        } else {
            open(folder.path(), &settings, Existing::Resume).unwrap_err()
        };
        assert!(matches!(error, StoreError::Version { expected: 1, got: 2, .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn other_settings_on_resume_are_refused_by_name() {
    let (folder, settings) = cache(Codec::PLANES);
    let mut others: Vec<(&str, HarvestSettings)> = Vec::new();
    others.push(("dtype", HarvestSettings { dtype: Dtype::F16, ..settings.clone() }));
    others.push(("codec", HarvestSettings { codec: Codec::RAW, ..settings.clone() }));
    others.push(("predictions", HarvestSettings { predictions: None, ..settings.clone() }));
    let kept = Some(KeptPredictions::top(3));
    others.push(("predictions", HarvestSettings { predictions: kept, ..settings.clone() }));
    others.push(("sites", HarvestSettings { sites: vec![site("blocks.3.hook_resid_pre")], ..settings.clone() }));
    let mut other = settings.clone();
    other.model.identity = Some(identity("33"));
    others.push(("model.tensors", other));
    for (fact, value) in [("rope_theta", "500000"), ("sliding_window", "4096")] {
        let mut other = settings.clone();
        let facts = &mut other.model.identity.as_mut().unwrap().facts;
        facts.insert(fact.to_owned(), value.to_owned());
        others.push((if fact == "rope_theta" { "model.rope_theta" } else { "model.sliding_window" }, other));
    }
    let mut other = settings.clone();
    other.model.identity = None;
    others.push(("model.identity", other));
    let mut other = settings.clone();
    other.model.precision = Dtype::F16;
    others.push(("model.precision", other));
    for (expected, other) in others {
        let error = open(folder.path(), &other, Existing::Resume).unwrap_err();
        assert!(matches!(&error, StoreError::Mismatch { field, .. } if field == expected), "{expected}: {error}");
    }
    open(folder.path(), &settings, Existing::Resume).unwrap();
    // The text model of a checkpoint with an image encoder, and the same alone.
    let mut same = settings;
    (same.model.model_type, same.model.context_length) = ("another name".to_owned(), 1 << 20);
    open(folder.path(), &same, Existing::Resume).unwrap();
}

#[test]
fn an_existing_cache_is_not_added_to_unasked() {
    let (folder, settings) = cache(Codec::PLANES);
    let error = open(folder.path(), &settings, Existing::Refuse).unwrap_err();
    assert!(matches!(error, StoreError::Exists { .. }), "{error}");
    assert!(error.to_string().contains("--resume"), "{error}");
    fs::remove_file(folder.path().join("manifest.json")).unwrap();
    assert!(matches!(open(folder.path(), &settings, Existing::Refuse).unwrap_err(), StoreError::Exists { .. }));
    let error = PlanWriter::create(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Exists { .. }), "{error}");
    let writer = open(folder.path(), &settings, Existing::Resume).unwrap();
    assert!(matches!(writer.begin_shard(0).unwrap_err(), StoreError::Exists { .. }));
}

#[test]
fn a_cache_of_another_plan_is_refused() {
    let (folder, settings) = cache(Codec::PLANES);
    reseal(&folder.path().join("plan.json"), |text| text.replacen("stories", "tales", 1));
    let error = open(folder.path(), &settings, Existing::Resume).unwrap_err();
    assert!(matches!(&error, StoreError::Mismatch { field, .. } if field == "plan_blake3"), "{error}");
}

#[test]
fn a_folder_without_a_plan_or_a_manifest_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(Dtype::F32, Codec::PLANES);
    let error = open(folder.path(), &settings, Existing::Refuse).unwrap_err();
    assert!(matches!(error, StoreError::MissingPlan { .. }) && error.to_string().contains("harvest plan"), "{error}");
    assert!(files_below(folder.path()).is_empty());
    let error = Cache::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("Is it a cache?"), "{error}");
    let error = Cache::open(folder.path().join("none")).unwrap_err();
    assert!(error.to_string().contains("no such folder"), "{error}");
    write_plan(folder.path(), &lengths());
    let error = Cache::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("no shard has been harvested"), "{error}");
    let _writer = open(folder.path(), &settings, Existing::Refuse).unwrap();
    let error = Cache::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains(&format!("being written by process {}", std::process::id())), "{error}");
}

#[test]
fn a_dropped_shard_writer_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(Dtype::F32, Codec::PLANES);
    write_plan(folder.path(), &lengths());
    let writer = open(folder.path(), &settings, Existing::Refuse).unwrap();
    let before = files_below(folder.path());
    let mut shard = writer.begin_shard(0).unwrap();
    shard.write_activations(&settings.sites[0], bits(&settings, 0, &settings.sites[0], 0, 17)).unwrap();
    drop(shard);
    assert_eq!(files_below(folder.path()), before);
    assert_eq!(fs::read_dir(folder.path().join("shards")).unwrap().count(), 0);
}

#[test]
fn activations_that_are_not_finite_are_refused_by_place() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(Dtype::F32, Codec::PLANES);
    write_plan(folder.path(), &lengths());
    let writer = open(folder.path(), &settings, Existing::Refuse).unwrap();
    let mut shard = writer.begin_shard(0).unwrap();
    let site = &settings.sites[0];
    shard.write_activations(site, bits(&settings, 0, site, 0, 17)).unwrap();
    let mut second = bits(&settings, 0, site, 1, 12);
    // Rows 0 to 7 of this row group are the third sequence, rows 8 to 10 the fourth.
    second[9 * 5 * 4..][..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let error = shard.write_activations(site, second).unwrap_err();
    assert!(matches!(error, StoreError::NonFinite { sequence: 3, position: 1, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("blocks.3.hook_resid_pre") && text.contains("--allow-non-finite"), "{text}");
    drop(shard);
    assert_eq!(fs::read_dir(folder.path().join("shards")).unwrap().count(), 0);
}

#[test]
fn wrong_calls_of_a_shard_writer_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(Dtype::F32, Codec::PLANES);
    write_plan(folder.path(), &lengths());
    let writer = open(folder.path(), &settings, Existing::Refuse).unwrap();
    let begin = || writer.begin_shard(2).unwrap();
    let whole = bits(&settings, 2, &settings.sites[0], 0, 16);
    let (sequences, _) = shard_data(&lengths(), 2);

    let mut shard = begin();
    assert!(
        shard
            .write_activations(&settings.sites[0], whole[1..].to_vec())
            .unwrap_err()
            .to_string()
            .contains("16 rows of 5 f32")
    );
    assert!(shard.write_activations(&site("blocks.9.hook_resid_pre"), whole.clone()).is_err());
    shard.write_activations(&settings.sites[0], whole.clone()).unwrap();
    assert!(shard.write_activations(&settings.sites[0], whole.clone()).unwrap_err().to_string().contains("one more"));
    let error = shard.finish(predictions(&settings, &sequences)).unwrap_err();
    assert!(error.to_string().contains("blocks.3.hook_resid_post"), "{error}");

    let fill = || {
        let mut shard = begin();
        for site in &settings.sites {
            shard.write_activations(site, whole.clone()).unwrap();
        }
        shard
    };
    assert!(fill().finish(None).is_err());
    let mut short = predictions(&settings, &sequences).unwrap();
    short.entropy.pop();
    assert!(fill().finish(Some(short)).unwrap_err().to_string().contains("15 values of entropy"));
    assert!(writer.begin_shard(3).is_err());
    assert_eq!(fs::read_dir(folder.path().join("shards")).unwrap().count(), 0);
}

#[test]
fn an_unknown_site_is_told_which_there_are() {
    let (folder, _) = cache(Codec::RAW);
    let shard = Cache::open(folder.path()).unwrap().shard(0).unwrap();
    let error = shard.activations(&site("blocks.4.hook_resid_pre")).unwrap_err();
    assert!(error.to_string().contains("blocks.3.hook_resid_post, blocks.3.hook_resid_pre"), "{error}");
}

#[test]
fn tokens_that_do_not_fit_their_sequences_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = PlanWriter::create(folder.path()).unwrap();
    let (sequences, tokens) = shard_data(&lengths(), 0);
    let mut short = tokens.clone();
    short.section.pop();
    let mut shuffled = tokens.clone();
    shuffled.position.swap(3, 4);
    let mut long = tokens.clone();
    long.sequence.push(9);
    long.position.push(0);
    long.token.push(0);
    long.section.push(hayloft_store::Section::Text);
    long.document.push(0);
    long.subset.push(None);
    for wrong in [&short, &shuffled, &long, &Tokens::default()] {
        let error = writer.add_shard(&sequences, wrong).unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{error}");
    }
    assert!(files_below(folder.path()).is_empty());
}

#[test]
fn a_file_that_is_cut_short_while_it_is_read_is_damage_and_no_signal() {
    for codec in [Codec::PLANES, Codec::RAW] {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(Dtype::F32, codec);
        // More than a page of memory, so that its end is not there to be touched.
        settings.model.d_model = 4001;
        harvest(folder.path(), &settings);
        let shard = Cache::open(folder.path()).unwrap().shard(0).unwrap();
        let reader = shard.activations(&settings.sites[0]).unwrap();
        let bytes = fs::metadata(reader.path()).unwrap().len();
        let mut read = Vec::new();
        reader.read(1, &mut read).unwrap();
        fs::OpenOptions::new().write(true).open(reader.path()).unwrap().set_len(100).unwrap();
        let failures = [reader.read(1, &mut read), reader.read(0, &mut read), reader.view(1).map(|_| ())];
        for error in failures.map(Result::unwrap_err) {
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
            let text = error.to_string();
            assert!(text.starts_with(reader.path().to_str().unwrap()), "{text}");
            assert!(text.contains(&format!("expected the {bytes} bytes that it had")), "{text}");
            assert!(text.contains("got 100 bytes"), "{text}");
        }
        assert!(read.is_empty());
        // Tables are in memory by the time that they are looked at, and refused when they are opened again.
        let tokens = folder.path().join("shards/00000/tokens.parquet");
        fs::OpenOptions::new().write(true).open(&tokens).unwrap().set_len(100).unwrap();
        let error = shard.tokens().unwrap_err();
        assert!(matches!(&error, StoreError::Damaged { path, .. } if *path == tokens), "{error}");
    }
}

/// A manifest whose numbers are replaced by the largest.
fn with_number(path: &Path, key: &str, number: u64) {
    reseal(path, |text| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut found = false;
        for line in &mut lines {
            if let Some((before, after)) = line.split_once(&format!("\"{key}\": ")) {
                let comma = if after.ends_with(',') { "," } else { "" };
                *line = format!("{before}\"{key}\": {number}{comma}");
                found = true;
            }
        }
        assert!(found, "no {key} in {}", path.display());
        lines.join("\n") + "\n"
    });
}

#[test]
fn a_manifest_whose_sizes_overflow_is_summed_up() {
    for key in ["bytes", "rows", "tokens", "sequences"] {
        let (folder, _) = cache(Codec::PLANES);
        with_number(&folder.path().join("manifest.json"), key, u64::MAX);
        let summary = inspect(folder.path()).unwrap();
        assert!(summary.bytes > 0, "{key}");
        assert!(!verify(folder.path(), &mut |_| ()).unwrap().damages.is_empty(), "{key}");
    }
}

#[test]
fn a_width_that_the_manifest_has_no_means_for_is_refused() {
    for (width, words) in [(0, "1 to 16777216"), (6, "a mean of 6 elements"), (u64::MAX >> 1, "1 to 16777216")] {
        let (folder, _) = cache(Codec::PLANES);
        with_number(&folder.path().join("manifest.json"), "d_model", width);
        let error = Cache::open(folder.path()).unwrap_err();
        assert!(matches!(error, StoreError::Malformed { .. }) && error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_top_k_beyond_all_bounds_is_refused() {
    let (folder, _) = cache(Codec::PLANES);
    with_number(&folder.path().join("manifest.json"), "top_k", u64::from(u32::MAX));
    let error = Cache::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Malformed { .. }) && error.to_string().contains("top_k"), "{error}");
}

#[test]
fn a_manifest_or_plan_that_is_a_link_to_elsewhere_is_refused() {
    for name in ["manifest.json", "plan.json"] {
        let (folder, _) = cache(Codec::PLANES);
        let outside = tempfile::tempdir().unwrap();
        fs::rename(folder.path().join(name), outside.path().join(name)).unwrap();
        std::os::unix::fs::symlink(outside.path().join(name), folder.path().join(name)).unwrap();
        let opened = match name {
            "manifest.json" => Cache::open(folder.path()).map(drop),
            _ => PlanReader::open(folder.path()).map(drop),
        };
        assert!(matches!(opened, Err(StoreError::LeavesFolder { .. })), "{name}: {opened:?}");
    }
}
