//! Exports and imports, held against what SAELens itself wrote (`scripts/goldens/saelens_cache.py`).

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{
    Everything, corpus, files_below, fill, harvest, lengths, open, read_everything, settings, shard_data, site,
};
use ::safetensors::SafeTensors;
use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_schema::Schema;
use hayloft_store::convert::{saelens, safetensors};
use hayloft_store::{
    Cache, Codec, Dtype, Existing, ExportSettings, ExportSummary, ImportSettings, ImportSummary, NonFinite, PlanWriter,
    Result, Section, StoreError, verify,
};

const SITE: &str = "blocks.0.hook_resid_pre";
const CONTEXT: usize = 4;
const D_MODEL: usize = 3;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/saelens").join(name)
}

/// An array of the golden, as little-endian words.
fn golden(name: &str) -> Vec<u8> {
    let bytes = fs::read(fixture("values.safetensors")).unwrap();
    SafeTensors::deserialize(&bytes).unwrap().tensor(name).unwrap().data().to_vec()
}

fn import_settings(from: &Path, out: &Path) -> ImportSettings {
    ImportSettings {
        from: from.to_owned(),
        out: out.to_owned(),
        checkpoint: None,
        sites: Vec::new(),
        codec: Codec::PLANES,
        name: None,
        bos: Some(1),
        precision: None,
        // Two sequences a shard and one a row group, where files have three: neither fits the other.
        shard_tokens: 11,
        row_group_rows: 5,
        non_finite: NonFinite::Refuse,
        existing: Existing::Refuse,
    }
}

fn import(settings: &ImportSettings) -> Result<ImportSummary> {
    saelens::import(settings, &mut |_| ())
}

fn export_settings(cache: &Path, out: &Path) -> ExportSettings {
    ExportSettings {
        cache: cache.to_owned(),
        out: out.to_owned(),
        sites: Vec::new(),
        dtype: None,
        leave_out_short: false,
    }
}

fn export(settings: &ExportSettings) -> Result<ExportSummary> {
    saelens::export(settings, &mut |_| ())
}

/// The words of a site over all of a cache, and its tokens.
fn words_and_tokens(everything: &Everything, place: usize) -> (Vec<u8>, Vec<u32>) {
    let shards = everything.shards.iter();
    let words = shards.clone().flat_map(|shard| shard.activations[place].concat()).collect();
    (words, shards.flat_map(|shard| shard.tokens.token.clone()).collect())
}

/// The schema of a data set, and its rows.
fn data_set(folder: &Path) -> (Schema, RecordBatch) {
    let state: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("state.json")).unwrap()).unwrap();
    let mut schema = None;
    let mut batches = Vec::new();
    for file in state["_data_files"].as_array().unwrap() {
        let file = fs::File::open(folder.join(file["filename"].as_str().unwrap())).unwrap();
        let reader = StreamReader::try_new(file, None).unwrap();
        schema = Some(reader.schema());
        batches.extend(reader.map(std::result::Result::unwrap));
    }
    let schema = schema.unwrap();
    let joined = arrow_select::concat::concat_batches(&schema, &batches).unwrap();
    (schema.as_ref().clone(), joined)
}

#[test]
fn what_saelens_wrote_is_imported_bit_for_bit() {
    for (name, dtype) in [("float32", Dtype::F32), ("float16", Dtype::F16)] {
        let folder = tempfile::tempdir().unwrap();
        let summary = import(&import_settings(&fixture(name), folder.path())).unwrap();
        assert_eq!((summary.shards, summary.sequences, summary.tokens, summary.dtype), (3, 6, 24, dtype));
        assert!(!summary.model_known);
        assert_eq!(verify(folder.path(), &mut |_| ()).unwrap().damages, []);
        let everything = read_everything(folder.path()).unwrap();
        let (words, tokens) = words_and_tokens(&everything, 0);
        assert_eq!(words, golden(name));
        assert_eq!(tokens.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<_>>(), golden("token_ids"));
        // BOS begins each sequence and comes once in the middle of the third.
        let bos: Vec<(u64, u32)> = everything
            .shards
            .iter()
            .flat_map(|shard| {
                let tokens = &shard.tokens;
                let rows = (0..tokens.len()).filter(|row| tokens.section[*row] == Section::Bos);
                rows.map(|row| (tokens.sequence[row], tokens.position[row])).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(bos, [(0, 0), (1, 0), (2, 0), (2, 2), (3, 0), (4, 0), (5, 0)]);
        let manifest = &everything.manifest;
        assert_eq!((manifest.model.model_type.as_str(), manifest.model.d_model), ("unknown", D_MODEL));
        assert_eq!((manifest.corpus.context_length as usize, manifest.predictions), (CONTEXT, None));
        assert_eq!(manifest.corpus.data.files.len(), 2);
    }
}

#[test]
fn what_was_imported_is_exported_as_saelens_wrote_it() {
    for name in ["float32", "float16"] {
        let folder = tempfile::tempdir().unwrap();
        let (cache, out) = (folder.path().join("cache"), folder.path().join("out"));
        import(&import_settings(&fixture(name), &cache)).unwrap();
        let summary = export(&export_settings(&cache, &out)).unwrap();
        assert_eq!((summary.files, summary.sequences, summary.left_out_sequences), (3, 6, 0));
        let (expected_schema, expected) = data_set(&fixture(name));
        let (schema, got) = data_set(&out);
        assert_eq!(schema.fields(), expected_schema.fields());
        assert_eq!(got.columns(), expected.columns());
        // The description in the schema and the one beside the files are the same JSON, but for blanks.
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(json(&schema.metadata()["huggingface"]), json(&expected_schema.metadata()["huggingface"]));
        let info = |folder: &Path| json(&fs::read_to_string(folder.join("dataset_info.json")).unwrap());
        assert_eq!(info(&out), info(&fixture(name)));
        let state = |folder: &Path| json(&fs::read_to_string(folder.join("state.json")).unwrap());
        let keys = |value: serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(state(&out)), keys(state(&fixture(name))));
    }
}

#[test]
fn bf16_becomes_f32_exactly_and_short_sequences_are_refused_or_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, out) = (folder.path().join("cache"), folder.path().join("out"));
    harvest(&cache, &settings(Dtype::Bf16, Codec::PLANES));
    // The corpus has a context of 16, and no sequence as long.
    let error = export(&export_settings(&cache, &out)).unwrap_err().to_string();
    assert!(error.contains("some of 16 tokens") && !out.exists(), "{error}");

    let long = folder.path().join("long");
    let lengths = vec![vec![vec![16, 16], vec![9]], vec![vec![4]], vec![vec![16, 2]]];
    crate::support::write_plan(&long, &lengths);
    fill(open(&long, &settings(Dtype::Bf16, Codec::RAW), Existing::Refuse).unwrap()).unwrap();
    let error = export(&export_settings(&long, &out)).unwrap_err().to_string();
    assert!(error.contains("3 of 6 that are shorter") && error.contains("--leave-out-short"), "{error}");
    let asked = ExportSettings { leave_out_short: true, ..export_settings(&long, &out) };
    let summary = export(&asked).unwrap();
    // The middle shard has no sequence of full length, and no file.
    assert_eq!((summary.files, summary.sequences, summary.left_out_sequences), (2, 3, 3));
    assert_eq!(summary.dtype, Dtype::F32);

    let back = folder.path().join("back");
    import(&import_settings(&out, &back)).unwrap();
    let (expected, got) = (read_everything(&long).unwrap(), read_everything(&back).unwrap());
    assert_eq!(got.manifest.model, expected.manifest.model, "the export recorded the model");
    for (place, site) in expected.manifest.sites.iter().enumerate() {
        assert_eq!(site.name, got.manifest.sites[place].name);
        let full = |shard: usize, rows: std::ops::Range<usize>| {
            let words = expected.shards[shard].activations[place].concat();
            words[rows.start * 10..rows.end * 10]
                .as_chunks::<2>()
                .0
                .iter()
                .flat_map(|word| [0, 0, word[0], word[1]])
                .collect::<Vec<u8>>()
        };
        let (words, tokens) = words_and_tokens(&got, place);
        assert_eq!(words, [full(0, 0..32), full(2, 0..16)].concat());
        assert_eq!(tokens.len(), 48);
    }
    let narrow = ExportSettings { dtype: Some(Dtype::Bf16), out: folder.path().join("bf16"), ..asked };
    assert!(export(&narrow).unwrap_err().to_string().contains("no bfloat16"));
}

#[test]
fn safetensors_go_there_and_back() {
    for (dtype, codec) in [(Dtype::F32, Codec::PLANES), (Dtype::Bf16, Codec::PLANES), (Dtype::F16, Codec::RAW)] {
        let folder = tempfile::tempdir().unwrap();
        let (cache, out, back) = (folder.path().join("cache"), folder.path().join("out"), folder.path().join("back"));
        harvest(&cache, &settings(dtype, codec));
        let summary = safetensors::export(&export_settings(&cache, &out), &mut |_| ()).unwrap();
        assert_eq!((summary.files, summary.dtype, summary.tokens), (3, dtype, 54));
        let expected = read_everything(&cache).unwrap();

        // Anybody's loader finds the arrays.
        let bytes = fs::read(out.join("shard-00001.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let view = tensors.tensor("blocks.3.hook_resid_post").unwrap();
        assert_eq!(
            (view.shape(), view.data()),
            ([9, 5].as_slice(), expected.shards[1].activations[0].concat().as_slice())
        );
        let ids: Vec<u8> = expected.shards[1].tokens.token.iter().flat_map(|id| u64::from(*id).to_le_bytes()).collect();
        assert_eq!(tensors.tensor("table.token").unwrap().data(), ids);

        let asked = ImportSettings { codec, bos: None, ..import_settings(&out, &back) };
        let summary = safetensors::import(&asked, &mut |_| ()).unwrap();
        assert!(summary.model_known);
        let got = read_everything(&back).unwrap();
        assert_eq!(verify(&back, &mut |_| ()).unwrap().damages, []);
        assert_eq!((&got.manifest.corpus, &got.manifest.model), (&expected.manifest.corpus, &expected.manifest.model));
        assert_eq!((&got.manifest.sites, &got.manifest.held), (&expected.manifest.sites, &expected.manifest.held));
        for (got, expected) in got.shards.iter().zip(&expected.shards) {
            assert_eq!((&got.sequences, &got.tokens), (&expected.sequences, &expected.tokens));
            assert_eq!((&got.activations, &got.norms), (&expected.activations, &expected.norms));
        }
    }
}

#[test]
fn turns_go_there_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, out, back) = (folder.path().join("cache"), folder.path().join("out"), folder.path().join("back"));
    let mut writer = PlanWriter::create(&cache).unwrap();
    for shard in 0..lengths().len() {
        let (sequences, mut tokens) = shard_data(&lengths(), shard);
        tokens.turn = tokens.position.iter().map(|position| position / 3).collect();
        writer.add_shard(&sequences, &tokens).unwrap();
    }
    writer.finish(corpus()).unwrap();
    fill(open(&cache, &settings(Dtype::F32, Codec::RAW), Existing::Refuse).unwrap()).unwrap();
    safetensors::export(&export_settings(&cache, &out), &mut |_| ()).unwrap();
    let bytes = fs::read(out.join("shard-00001.safetensors")).unwrap();
    let turns: Vec<u8> = [0, 0, 0, 1, 1, 0, 0, 0, 1].into_iter().flat_map(i32::to_le_bytes).collect();
    assert_eq!(SafeTensors::deserialize(&bytes).unwrap().tensor("table.turn").unwrap().data(), turns);
    let asked = ImportSettings { codec: Codec::RAW, bos: None, ..import_settings(&out, &back) };
    safetensors::import(&asked, &mut |_| ()).unwrap();
    let (expected, got) = (read_everything(&cache).unwrap(), read_everything(&back).unwrap());
    for (got, expected) in got.shards.iter().zip(&expected.shards) {
        assert_eq!((&got.tokens, got.tokens.turn.len()), (&expected.tokens, expected.tokens.len()));
    }
}

#[test]
fn one_site_in_another_type_can_be_exported() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, out) = (folder.path().join("cache"), folder.path().join("out"));
    harvest(&cache, &settings(Dtype::Bf16, Codec::PLANES));
    let wanted = vec![site("blocks.3.hook_resid_pre")];
    let asked = ExportSettings { sites: wanted.clone(), dtype: Some(Dtype::F32), ..export_settings(&cache, &out) };
    assert_eq!(safetensors::export(&asked, &mut |_| ()).unwrap().sites, wanted);
    let bytes = fs::read(out.join("shard-00000.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    assert!(tensors.tensor("blocks.3.hook_resid_post").is_err());
    assert_eq!(tensors.tensor("blocks.3.hook_resid_pre").unwrap().dtype(), ::safetensors::Dtype::F32);

    let unknown = ExportSettings { sites: vec![site("blocks.9.hook_resid_pre")], ..asked.clone() };
    assert!(matches!(safetensors::export(&unknown, &mut |_| ()).unwrap_err(), StoreError::UnknownSite { .. }));
    assert!(matches!(safetensors::export(&asked, &mut |_| ()).unwrap_err(), StoreError::Exists { .. }));
}

#[test]
fn an_import_that_was_interrupted_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    import(&import_settings(&fixture("float32"), &whole)).unwrap();
    import(&import_settings(&fixture("float32"), &cut)).unwrap();
    fs::remove_dir_all(cut.join("shards/00001")).unwrap();
    fs::remove_file(cut.join("manifest.json")).unwrap();
    let asked = import_settings(&fixture("float32"), &cut);
    assert!(matches!(import(&asked).unwrap_err(), StoreError::Exists { .. }));
    let resumed = ImportSettings { existing: Existing::Resume, ..asked };
    import(&resumed).unwrap();
    assert!(files_below(&cut) == files_below(&whole));

    let other = ImportSettings { from: fixture("float16"), ..resumed.clone() };
    assert!(matches!(import(&other).unwrap_err(), StoreError::Mismatch { .. }));
    let renamed = ImportSettings { name: Some("other".to_owned()), ..resumed };
    assert!(matches!(import(&renamed).unwrap_err(), StoreError::Mismatch { .. }));
}

#[test]
fn an_export_that_was_changed_is_not_taken_for_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, out, back) = (folder.path().join("cache"), folder.path().join("out"), folder.path().join("back"));
    harvest(&cache, &settings(Dtype::F32, Codec::PLANES));
    safetensors::export(&export_settings(&cache, &out), &mut |_| ()).unwrap();
    let file = out.join("shard-00002.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = safetensors::import(&import_settings(&out, &back), &mut |_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(!back.join("plan.json").exists());
}

#[test]
fn a_checkpoint_of_another_width_is_refused_and_bad_folders_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny-llama");
    let asked = import_settings(&fixture("float32"), &folder.path().join("cache"));
    let wrong = ImportSettings { checkpoint: Some(checkpoint), ..asked.clone() };
    let error = import(&wrong).unwrap_err().to_string();
    assert!(error.contains("residual stream of the model"), "{error}");
    assert!(!folder.path().join("cache/plan.json").exists());

    let copy = folder.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(fixture("float32")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    let from = |name: &str| ImportSettings { from: folder.path().join(name), ..asked.clone() };
    assert!(import(&from("absent")).unwrap_err().to_string().contains("no such folder"));
    let runner = copy.join("cache_activations_runner_cfg.json");
    fs::write(&runner, r#"{"model_name": "gpt2", "dataset_path": "pile", "seqpos_slice": [5, null]}"#).unwrap();
    assert!(import(&from("copy")).unwrap_err().to_string().contains("seqpos_slice"));
    fs::write(&runner, r#"{"model_name": "gpt2", "dataset_path": "pile", "seqpos_slice": [null]}"#).unwrap();
    import(&from("copy")).unwrap();
    let manifest = Cache::open(folder.path().join("cache")).unwrap().manifest().clone();
    assert_eq!(
        (manifest.model.model_type.as_str(), manifest.corpus.name.as_str()),
        ("unknown (gpt2 for SAELens)", "pile")
    );
    let state = fs::read_to_string(copy.join("state.json")).unwrap();
    fs::write(copy.join("state.json"), state.replace("data-00000-of-00002.arrow", "../../secret")).unwrap();
    assert!(matches!(import(&from("copy")).unwrap_err(), StoreError::LeavesFolder { .. }));
    assert_eq!(SITE, manifest.sites[0].name.as_str());
}
