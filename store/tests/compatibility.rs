//! The caches in `tests/fixtures/format-1`, one a dtype and codec, as `support::harvest` wrote them. A change to the writer or
//! the reader must leave them readable.

use std::path::{Path, PathBuf};

use hayloft_store::{Codec, Dtype, FORMAT_VERSION, HarvestSettings, verify};

use crate::support::{bits, lengths, read_everything, settings, shard_data, two_sites};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1").join(name)
}

/// Each cache: its folder, the dtype and the codec.
fn caches() -> [(&'static str, Dtype, Codec); 5] {
    [
        ("bf16-planes", Dtype::Bf16, Codec::PLANES),
        ("f32-planes", Dtype::F32, Codec::PLANES),
        ("f16-raw", Dtype::F16, Codec::RAW),
        ("bf16-planes-9", Dtype::Bf16, "planes:9".parse().unwrap()),
        ("bf16-int8", Dtype::Bf16, Codec::INT8),
    ]
}

#[test]
fn every_stored_cache_is_read() {
    for (name, dtype, codec) in caches() {
        let folder = fixture(name);
        assert_eq!(verify(&folder, &mut |_| ()).unwrap().damages, []);
        let everything = read_everything(&folder).unwrap();
        assert_eq!(everything.manifest.format, FORMAT_VERSION);
        let settings = settings(dtype, codec);
        for (index, shard) in everything.shards.iter().enumerate() {
            let (sequences, tokens) = shard_data(&lengths(), index);
            assert_eq!((&shard.sequences, &shard.tokens), (&sequences, &tokens));
            let mut sites = two_sites();
            sites.sort();
            for (site, groups) in sites.iter().zip(&shard.activations) {
                for (row_group, words) in groups.iter().enumerate() {
                    let rows = lengths()[index][row_group].iter().map(|length| u64::from(*length)).sum();
                    let given = bits(&settings, index, site, row_group, rows);
                    if codec == Codec::INT8 {
                        check_rounded(&settings, words, &given);
                    } else {
                        assert_eq!(*words, given, "{name}, {site}");
                    }
                }
            }
        }
    }
}

/// Eight bits are the nearest of the row's 255 steps.
fn check_rounded(settings: &HarvestSettings, words: &[u8], given: &[u8]) {
    let mut row = vec![0.0; settings.model.d_model];
    let row_bytes = settings.model.d_model * settings.dtype.bytes();
    for (words, given) in words.chunks_exact(settings.model.d_model * 4).zip(given.chunks_exact(row_bytes)) {
        settings.dtype.widen(given, &mut row);
        let step = row.iter().fold(0.0, |largest: f32, element| largest.max(element.abs())) / 127.0;
        for (word, element) in words.as_chunks::<4>().0.iter().zip(&row) {
            assert!((f32::from_le_bytes(*word) - element).abs() <= 0.5001 * step);
        }
    }
}
