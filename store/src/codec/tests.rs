use std::io;

use hayloft_runtime::Dtype;
use twox_hash::XxHash3_64;

use crate::codec::Codec;
use crate::codec::encoded::{Buffers, Column, EncodedRowGroup, RowGroup};
use crate::codec::pages::Block;
use crate::codec::scheme::Scheme;
use crate::error::Result;
use crate::read::verify::verify;
use crate::support::{bits, harvest, lengths, read_everything, settings, two_sites};

/// A codec of the tests: each row of a block is stored as its exclusive or with the row before it.
pub(super) struct Xor;

impl Scheme for Xor {
    fn name(&self) -> &'static str {
        "xor"
    }

    fn columns(&self, dtype: Dtype, d_model: usize) -> Vec<Column> {
        vec![Column::stored("difference", d_model * dtype.bytes())]
    }

    fn encode(&self, group: &RowGroup<'_>, _: &mut Buffers) -> io::Result<EncodedRowGroup> {
        let width = group.row_bytes();
        let mut differences = group.bits.to_vec();
        for block in differences.chunks_mut(group.block_rows() * width) {
            for place in (width..block.len()).rev() {
                block[place] ^= block[place - width];
            }
        }
        Ok(EncodedRowGroup::lossless(vec![group.stored(width, &differences.into())]))
    }

    fn decode(&self, block: &Block<'_>, words: &mut [u8]) -> Result<()> {
        let [difference] = block.columns()?;
        let stored = difference.stored(block.rows.clone());
        difference.check(block.index, XxHash3_64::oneshot(&stored))?;
        words.copy_from_slice(&stored);
        let width = block.d_model * block.dtype.bytes();
        for place in width..words.len() {
            words[place] ^= words[place - width];
        }
        Ok(())
    }
}

#[test]
fn names_go_there_and_back() {
    let named = [("planes", Codec::PLANES), ("raw", Codec::RAW), ("int8", Codec::INT8)];
    assert!(named.iter().all(|(name, codec)| codec.to_string() == *name));
    for name in ["planes", "planes:9", "raw", "int8"] {
        let codec: Codec = name.parse().unwrap();
        assert_eq!(codec.to_string(), name);
        assert_eq!(serde_json::to_string(&codec).unwrap(), format!("\"{name}\""));
        assert_eq!(serde_json::from_str::<Codec>(&format!("\"{name}\"")).unwrap(), codec);
    }
    for wrong in ["zstd", "planes:", "planes:0", "planes:23", "planes:-1", "planes:x", "raw:1"] {
        let error = wrong.parse::<Codec>().unwrap_err();
        assert!(error.to_string().contains("expected"), "{error}");
    }
    let error = "zstd".parse::<Codec>().unwrap_err().to_string();
    assert!(error.contains("planes, planes:LEVEL, raw, int8 or xor"), "{error}");
}

#[test]
fn a_codec_of_one_file_is_written_verified_and_read_by_name() {
    let codec: Codec = "xor".parse().unwrap();
    assert_eq!(codec.to_string(), "xor");
    for dtype in [Dtype::Bf16, Dtype::F16, Dtype::F32] {
        let (folder, settings) = (tempfile::tempdir().unwrap(), settings(dtype, codec));
        harvest(folder.path(), &settings);
        assert_eq!(verify(folder.path(), &mut |_| ()).unwrap().damages, []);
        let everything = read_everything(folder.path()).unwrap();
        assert_eq!((everything.manifest.codec, everything.manifest.read_dtype()), (codec, dtype));
        let mut sites = two_sites();
        sites.sort();
        for (index, shard) in everything.shards.iter().enumerate() {
            for (site, groups) in sites.iter().zip(&shard.activations) {
                for (row_group, words) in groups.iter().enumerate() {
                    let rows = lengths()[index][row_group].iter().map(|length| u64::from(*length)).sum();
                    assert_eq!(*words, bits(&settings, index, site, row_group, rows), "{site}");
                }
            }
        }
        let path = folder.path().join("shards/00000").join(sites[0].file_name());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let damages = verify(folder.path(), &mut |_| ()).unwrap().damages;
        assert!(damages.len() == 1 && damages[0].column.as_deref() == Some("difference"), "{damages:?}");
    }
}
