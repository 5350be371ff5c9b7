//! Caches that earlier releases wrote, which every later one must read: the promise of FORMAT.md.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};

use hayloft_store::{Codec, Dtype, verify};

use crate::support::{bits, harvest, lengths, read_everything, settings, shard_data, two_sites};

fn fixture(version: u32, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/format-{version}/{name}"))
}

/// Each cache of a version: its folder, the type and the codec.
fn caches() -> [(&'static str, Dtype, Codec); 3] {
    [
        ("bf16-planes", Dtype::Bf16, Codec::Planes),
        ("f32-planes", Dtype::F32, Codec::Planes),
        ("f16-raw", Dtype::F16, Codec::Raw),
    ]
}

#[test]
#[ignore = "makes the fixture of the present version, once"]
fn write_the_fixture() {
    for (name, dtype, codec) in caches() {
        let folder = fixture(hayloft_store::FORMAT_VERSION, name);
        std::fs::create_dir_all(&folder).unwrap();
        harvest(&folder, &settings(dtype, codec));
        std::fs::remove_file(folder.join(".lock")).unwrap();
    }
}

#[test]
fn a_cache_of_every_version_is_read() {
    for (name, dtype, codec) in caches() {
        let folder = fixture(1, name);
        assert_eq!(verify(&folder, &mut |_| ()).unwrap().damages, []);
        let everything = read_everything(&folder).unwrap();
        assert_eq!(everything.manifest.format, 1);
        let settings = settings(dtype, codec);
        for (index, shard) in everything.shards.iter().enumerate() {
            let (sequences, tokens) = shard_data(&lengths(), index);
            assert_eq!((&shard.sequences, &shard.tokens), (&sequences, &tokens));
            let mut sites = two_sites();
            sites.sort();
            for (site, groups) in sites.iter().zip(&shard.activations) {
                for (row_group, words) in groups.iter().enumerate() {
                    let rows = lengths()[index][row_group].iter().map(|length| u64::from(*length)).sum();
                    assert_eq!(*words, bits(&settings, index, site, row_group, rows), "{name}, {site}");
                }
            }
        }
    }
}
