//! What is written is what is read, whatever the type, the codec and the way there.

use std::collections::BTreeMap;
use std::fs;

use crate::support::{
    bits, corpus, files_below, fill, fill_shard, harvest, lengths, logits, open, predictions, read_everything,
    settings, shard_data, site, to_bits, values, write_plan,
};
use hayloft_store::{
    Cache, CacheWriter, Codec, Dtype, Existing, HarvestSettings, KeptPredictions, NonFinite, PlanReader, PlanWriter,
    Section, Tokens, verify,
};

const DTYPES: [Dtype; 3] = [Dtype::F32, Dtype::Bf16, Dtype::F16];
const CODECS: [Codec; 2] = [Codec::PLANES, Codec::RAW];

#[test]
fn every_type_and_codec_reads_back_bit_for_bit() {
    for (dtype, codec) in DTYPES.into_iter().flat_map(|dtype| CODECS.map(|codec| (dtype, codec))) {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(dtype, codec);
        let manifest = harvest(folder.path(), &settings);
        let cache = Cache::open(folder.path()).unwrap();
        assert_eq!(cache.manifest(), &manifest);
        assert_eq!(cache.shards(), 3);
        for place in 0..cache.shards() {
            let shard = cache.shard(place).unwrap();
            let (sequences, tokens) = shard_data(&lengths(), place);
            assert_eq!(shard.sequences(), sequences);
            assert_eq!(shard.tokens().unwrap(), tokens);
            // NaN differs from itself, so the predictions are compared in words.
            let expected = format!("{:?}", predictions(&settings, &sequences));
            assert_eq!(format!("{:?}", shard.predictions().unwrap()), expected);
            for site in &settings.sites {
                let reader = shard.activations(site).unwrap();
                assert_eq!((reader.d_model(), reader.dtype()), (5, dtype));
                assert_eq!(reader.row_groups(), lengths()[place].len());
                let mut read = vec![0xee; 3];
                for (row_group, sequences) in lengths()[place].iter().enumerate() {
                    let rows: u32 = sequences.iter().sum();
                    assert_eq!(reader.rows(row_group), rows as usize);
                    reader.prefetch(row_group + 1); // there may be no next one
                    let expected = bits(&settings, place, site, row_group, rows.into());
                    reader.read(row_group, &mut read).unwrap();
                    assert_eq!(read, expected, "{dtype} {codec}");
                    let view = reader.view(row_group).unwrap();
                    assert_eq!(view.is_some(), codec == Codec::RAW);
                    assert!(view.is_none_or(|view| view == expected), "{dtype}");
                    reader.release(row_group);
                    reader.read(row_group, &mut read).unwrap();
                    assert_eq!(read, expected, "{dtype} {codec}: what was given up is read again");
                }
                assert!(reader.read(reader.row_groups(), &mut read).is_err());
            }
        }
        let report = verify(folder.path(), &mut |_| ()).unwrap();
        assert_eq!(report.damages, []);
        assert_eq!((report.files, report.row_groups), (2 + 3 * 2 + 3 * 5, 2 * 5));
    }
}

#[test]
fn a_site_may_be_wider_or_narrower_than_the_residual_stream() {
    let folder = tempfile::tempdir().unwrap();
    let [wide, plain] = [site("blocks.3.attn.hook_z"), site("blocks.3.hook_resid_pre")];
    let mut settings = settings(Dtype::Bf16, Codec::PLANES);
    settings.sites = vec![wide.clone(), plain.clone()];
    settings.site_widths = BTreeMap::from([(wide.clone(), 12), (plain.clone(), 5)]);
    let manifest = harvest(folder.path(), &settings);
    assert_eq!(manifest.settings().site_widths, BTreeMap::from([(wide.clone(), 12)]), "5 is the stream's own width");
    let cache = Cache::open(folder.path()).unwrap();
    let shard = cache.shard(1).unwrap();
    for (site, width) in [(&wide, 12), (&plain, 5)] {
        let reader = shard.activations(site).unwrap();
        assert_eq!(reader.d_model(), width);
        let mut read = Vec::new();
        reader.read(0, &mut read).unwrap();
        assert_eq!(read, bits(&settings, 1, site, 0, reader.rows(0) as u64));
    }
    let record = manifest.sites.iter().find(|record| record.name == wide).unwrap();
    assert_eq!((record.d_model, record.mean.len()), (12, 12));
    assert_eq!(verify(folder.path(), &mut |_| ()).unwrap().damages, []);

    settings.site_widths = BTreeMap::from([(site("blocks.3.hook_mlp_out"), 7)]);
    let message = open(folder.path(), &settings, Existing::Resume).unwrap_err().to_string();
    assert!(message.contains("site_widths"), "{message}");
    settings.site_widths = BTreeMap::from([(wide, 13)]);
    let message = open(folder.path(), &settings, Existing::Resume).unwrap_err().to_string();
    assert!(message.contains("site_widths") && message.contains("13"), "{message}");
}

#[test]
fn one_sequence_is_found_and_read_alone() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(Dtype::F16, Codec::PLANES);
    harvest(folder.path(), &settings);
    let cache = Cache::open(folder.path()).unwrap();
    let (mut read, mut group) = (Vec::new(), Vec::new());
    for id in 0..10 {
        let (shard, index) = cache.find_sequence(id).unwrap().unwrap();
        let sequence = &shard.sequences()[index];
        let reader = shard.activations(&settings.sites[0]).unwrap();
        reader.read_sequence(sequence, &mut read).unwrap();
        reader.read(sequence.row_group as usize, &mut group).unwrap();
        let before: u64 = (0..sequence.row_group as usize).map(|row_group| reader.rows(row_group) as u64).sum();
        let first = (sequence.first_row - before) as usize * 10;
        assert_eq!(read, group[first..first + sequence.length as usize * 10]);
    }
    assert!(cache.find_sequence(10).unwrap().is_none());
}

#[test]
fn all_logits_read_back_and_are_checked() {
    for codec in [Codec::PLANES, Codec::RAW, Codec::INT8] {
        let folder = tempfile::tempdir().unwrap();
        let kept = KeptPredictions { top_k: 2, full_logits: true };
        let settings = HarvestSettings { predictions: Some(kept), ..settings(Dtype::F32, codec) };
        let manifest = harvest(folder.path(), &settings);
        assert_eq!(manifest.logits_rounding.is_some(), codec == Codec::INT8);
        let shard = Cache::open(folder.path()).unwrap().shard(1).unwrap();
        let reader = shard.logits().unwrap().unwrap();
        assert_eq!((reader.d_model(), reader.row_groups()), (512, 2));
        let mut read = Vec::new();
        reader.read(1, &mut read).unwrap();
        let given = logits(&settings, 1, 1, 4);
        if codec == Codec::INT8 {
            let error = manifest.logits_rounding.unwrap().relative();
            assert!(error > 1e-4 && error < 2e-2, "{error}");
            assert_eq!(read.len(), given.len());
        } else {
            assert_eq!(read, given);
        }
        let report = verify(folder.path(), &mut |_| ()).unwrap();
        assert_eq!(report.damages, []);
        assert_eq!((report.files, report.row_groups), (2 + 3 * 2 + 3 * 6, 3 * 5));

        let path = folder.path().join("shards/00001/logits.parquet");
        let mut bytes = fs::read(&path).unwrap();
        bytes[100] ^= 4;
        fs::write(&path, bytes).unwrap();
        let report = verify(folder.path(), &mut |_| ()).unwrap();
        assert_eq!(report.damages.len(), 1);
        assert_eq!(report.damages[0].file, "shards/00001/logits.parquet");
    }
    let folder = tempfile::tempdir().unwrap();
    harvest(folder.path(), &settings(Dtype::F32, Codec::RAW));
    assert!(Cache::open(folder.path()).unwrap().shard(0).unwrap().logits().unwrap().is_none());
}

#[test]
fn eight_bits_say_how_far_they_are_from_what_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(Dtype::Bf16, Codec::INT8);
    let manifest = harvest(folder.path(), &settings);
    let cache = Cache::open(folder.path()).unwrap();
    for (site, record) in settings.sites.iter().map(|site| {
        let record = manifest.sites.iter().find(|record| record.name == *site).unwrap();
        (site, record)
    }) {
        let (mut squared_error, mut squares, mut read) = (0.0, 0.0, Vec::new());
        for place in 0..cache.shards() {
            let reader = cache.shard(place).unwrap().activations(site).unwrap();
            assert_eq!(reader.dtype(), Dtype::F32);
            for row_group in 0..reader.row_groups() {
                reader.read(row_group, &mut read).unwrap();
                let rows = reader.rows(row_group) as u64;
                let mut given = vec![0.0; rows as usize * 5];
                settings.dtype.widen(&bits(&settings, place, site, row_group, rows), &mut given);
                for (given, word) in given.iter().zip(read.as_chunks::<4>().0) {
                    squared_error += (f64::from(f32::from_le_bytes(*word)) - f64::from(*given)).powi(2);
                    squares += f64::from(*given).powi(2);
                }
            }
        }
        let expected = f64::sqrt(squared_error / squares);
        let got = record.rounding.unwrap().relative();
        assert!(expected > 1e-4 && (got - expected).abs() < 1e-12, "{got} {expected}");
    }
}

#[test]
fn a_row_group_of_several_pages_reads_back_on_several_threads() {
    let folder = tempfile::tempdir().unwrap();
    // 700 rows of 3001 elements are three pages of exponents.
    let lengths = vec![vec![vec![300, 300, 100], vec![200]]];
    write_plan(folder.path(), &lengths);
    let mut settings = settings(Dtype::F32, Codec::PLANES);
    settings.model.d_model = 3001;
    settings.sites.truncate(1);
    fill(open(folder.path(), &settings, Existing::Refuse).unwrap()).unwrap();
    let shard = Cache::open(folder.path()).unwrap().shard(0).unwrap();
    let reader = shard.activations(&settings.sites[0]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (reader, settings) = (&reader, &settings);
            scope.spawn(move || {
                let mut read = Vec::new();
                reader.read(thread % 2, &mut read).unwrap();
                let rows = [700, 200][thread % 2];
                assert!(read == bits(settings, 0, &settings.sites[0], thread % 2, rows));
            });
        }
    });
}

#[test]
fn statistics_are_those_of_all_rows() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(Dtype::F32, Codec::PLANES);
    let manifest = harvest(folder.path(), &settings);
    for record in &manifest.sites {
        let mut rows: Vec<Vec<f64>> = Vec::new();
        for (shard, groups) in lengths().iter().enumerate() {
            for (row_group, sequences) in groups.iter().enumerate() {
                let count = u64::from(sequences.iter().sum::<u32>());
                let bits = bits(&settings, shard, &record.name, row_group, count);
                let mut floats = vec![0.0; bits.len() / 4];
                Dtype::F32.widen(&bits, &mut floats);
                rows.extend(floats.chunks(5).map(|row| row.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>()));
            }
        }
        let norm = |row: &Vec<f64>| row.iter().map(|x| x * x).sum::<f64>().sqrt();
        let mean_norm = rows.iter().map(norm).sum::<f64>() / rows.len() as f64;
        assert_eq!((record.rows, record.non_finite_rows), (54, 0));
        assert!((record.mean_norm - mean_norm).abs() < 1e-13 * mean_norm);
        for element in 0..5 {
            let mean = rows.iter().map(|row| row[element]).sum::<f64>() / rows.len() as f64;
            assert!((record.mean[element] - mean).abs() < 1e-13);
        }
        assert!((record.scale() - 5f64.sqrt() / mean_norm).abs() < 1e-12);
        let cache = Cache::open(folder.path()).unwrap();
        let norms: Vec<f32> =
            (0..3).flat_map(|place| cache.shard(place).unwrap().norms(&record.name).unwrap()).collect();
        assert_eq!(norms, rows.iter().map(|row| norm(row) as f32).collect::<Vec<_>>());
    }
}

#[test]
fn both_codecs_give_the_same_statistics() {
    let sites = CODECS.map(|codec| {
        let folder = tempfile::tempdir().unwrap();
        harvest(folder.path(), &settings(Dtype::Bf16, codec)).sites
    });
    assert_eq!(sites[0], sites[1]);
}

#[test]
fn counts_are_by_section_and_subset() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = harvest(folder.path(), &settings(Dtype::F32, Codec::RAW));
    assert_eq!((manifest.held.sequences, manifest.held.tokens), (10, 54));
    assert_eq!(manifest.held.sections[&Section::Bos], 10);
    assert_eq!(manifest.held.sections[&Section::Text], 44);
    assert_eq!(manifest.held.subsets.keys().collect::<Vec<_>>(), ["ArXiv", "Books"]);
    assert_eq!(manifest.held, manifest.planned);
}

#[test]
fn a_resumed_harvest_gives_the_same_bytes_as_an_undisturbed_one() {
    let settings = settings(Dtype::Bf16, Codec::PLANES);
    let whole = tempfile::tempdir().unwrap();
    harvest(whole.path(), &settings);

    let resumed = tempfile::tempdir().unwrap();
    write_plan(resumed.path(), &lengths());
    let mut writer = open(resumed.path(), &settings, Existing::Refuse).unwrap();
    // The last shard first, and a kill in the middle of another: its folder stays, as no destructor runs.
    let shard = fill_shard(&writer, 2).unwrap();
    writer.record(shard).unwrap();
    let mut killed = writer.begin_shard(0).unwrap();
    killed.write_activations(&settings.sites[0], bits(&settings, 0, &settings.sites[0], 0, 17)).unwrap();
    std::mem::forget(killed);
    assert!(resumed.path().join("shards/.00000.partial").is_dir());
    // The lock of a process that was killed goes with it; here the forgotten writer still holds it.
    fs::remove_file(resumed.path().join(".lock")).unwrap();
    drop(writer);

    let writer = open(resumed.path(), &settings, Existing::Resume).unwrap();
    assert!(!resumed.path().join("shards/.00000.partial").exists());
    assert_eq!([0, 1, 2].map(|index| writer.is_complete(index)), [false, false, true]);
    fill(writer).unwrap();
    assert_eq!(files_below(whole.path()), files_below(resumed.path()));
}

#[test]
fn a_shard_that_lost_a_file_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(Dtype::F16, Codec::PLANES);
    harvest(folder.path(), &settings);
    let before = files_below(folder.path());
    let shards = folder.path().join("shards");
    fs::remove_file(shards.join("00000/tokens.parquet")).unwrap();
    fs::write(shards.join("00001/blocks.3.hook_resid_pre.parquet"), "short").unwrap();
    fs::write(shards.join("00002/shard.json"), "{").unwrap();
    let writer = open(folder.path(), &settings, Existing::Resume).unwrap();
    assert_eq!([0, 1, 2].map(|index| writer.is_complete(index)), [false; 3]);
    fill(writer).unwrap();
    assert_eq!(files_below(folder.path()), before);
}

#[test]
fn a_cache_with_some_shards_reads_as_those() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(Dtype::F32, Codec::PLANES);
    write_plan(folder.path(), &lengths());
    let mut writer = open(folder.path(), &settings, Existing::Refuse).unwrap();
    let shard = fill_shard(&writer, 1).unwrap();
    // The first shard's manifest does not wait.
    writer.record(shard).unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    assert_eq!((cache.shards(), cache.manifest().planned_shards), (1, 3));
    assert_eq!(cache.shard(0).unwrap().record().index, 1);
    assert_eq!((cache.manifest().held.tokens, cache.manifest().planned.tokens), (9, 54));
    assert_eq!(writer.finish().unwrap(), *cache.manifest());
    assert_eq!(verify(folder.path(), &mut |_| ()).unwrap().damages, []);
}

#[test]
fn a_cache_without_predictions_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let settings = HarvestSettings { predictions: None, ..settings(Dtype::F32, Codec::PLANES) };
    harvest(folder.path(), &settings);
    let shard = Cache::open(folder.path()).unwrap().shard(0).unwrap();
    assert_eq!(shard.predictions().unwrap(), None);
    assert_eq!(shard.norms(&settings.sites[0]).unwrap().len(), 29);
}

#[test]
fn special_values_come_back_and_are_counted_where_they_are_allowed() {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path(), &vec![vec![vec![4]]]);
    let mut settings = settings(Dtype::F32, Codec::PLANES);
    settings.sites.truncate(1);
    settings.predictions = None;
    let mut values = values(20, 1);
    values[6] = f32::from_bits(0x7fa0_0001);
    values[16] = f32::NEG_INFINITY;
    values[0] = -0.0;
    let bits = to_bits(Dtype::F32, &values);
    let mut writer = CacheWriter::open(folder.path(), settings.clone(), NonFinite::Allow, Existing::Refuse).unwrap();
    let mut shard = writer.begin_shard(0).unwrap();
    shard.write_activations(&settings.sites[0], bits.clone()).unwrap();
    let shard = shard.finish(None).unwrap();
    assert_eq!(shard.contents().sites[0].sums.non_finite_rows, 2);
    writer.record(shard).unwrap();
    let manifest = writer.finish().unwrap();
    assert_eq!((manifest.sites[0].rows, manifest.sites[0].non_finite_rows), (4, 2));
    assert!(manifest.sites[0].mean_norm.is_finite());
    let everything = read_everything(folder.path()).unwrap();
    assert_eq!(everything.shards[0].activations[0][0], bits);
}

#[test]
fn a_plan_reads_back_and_is_the_same_twice() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in &folders {
        write_plan(folder.path(), &lengths());
    }
    assert_eq!(files_below(folders[0].path()), files_below(folders[1].path()));
    let plan = PlanReader::open(folders[0].path()).unwrap();
    assert_eq!((plan.plan().shards.len(), plan.plan().counts.tokens), (3, 54));
    assert_eq!(plan.plan().corpus, corpus());
    for shard in 0..3 {
        assert_eq!(plan.sequences_and_tokens(shard).unwrap(), shard_data(&lengths(), shard));
    }
    assert!(plan.sequences(3).is_err());
}

#[test]
fn an_abandoned_plan_leaves_no_shard_and_the_next_starts_afresh() {
    let folder = tempfile::tempdir().unwrap();
    let (sequences, tokens) = shard_data(&lengths(), 0);
    let mut writer = PlanWriter::create(folder.path()).unwrap();
    writer.add_shard(&sequences, &tokens).unwrap();
    drop(writer);
    assert!(files_below(folder.path()).is_empty());
    let mut writer = PlanWriter::create(folder.path()).unwrap();
    assert!(writer.add_shard(&[], &Tokens::default()).is_err());
    writer.add_shard(&sequences, &tokens).unwrap();
    assert_eq!(writer.finish(corpus()).unwrap().counts.tokens, 29);
}

#[test]
fn sites_may_be_asked_for_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(Dtype::F32, Codec::RAW);
    harvest(folder.path(), &settings);
    settings.sites.reverse();
    assert!(open(folder.path(), &settings, Existing::Resume).unwrap().is_complete(0));
    settings.sites = vec![site("blocks.0.hook_resid_pre"), site("blocks.0.hook_resid_pre")];
    assert!(open(folder.path(), &settings, Existing::Resume).unwrap_err().to_string().contains("each once"));
}
