//! Decompression up to a limit.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use lz4_flex::block::DecompressError;
use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result};

use super::wrong;

/// Upper bound on Snappy's compression ratio: three bytes copy 64.
const SNAPPY_RATIO: usize = 64;

/// Upper bound on LZ4's compression ratio: each byte of a length adds 255 bytes.
const LZ4_RATIO: usize = 255;

/// Returns whether pages in this codec are read.
pub fn is_read(compression: Compression) -> bool {
    use Compression::{GZIP, LZ4, LZ4_RAW, SNAPPY, UNCOMPRESSED, ZSTD};
    matches!(compression, UNCOMPRESSED | SNAPPY | GZIP(_) | ZSTD(_) | LZ4 | LZ4_RAW)
}

/// Decompresses `bytes` to at most `limit` bytes. Allocates for the actual output, not for the declared length.
pub(super) fn decompress(compression: Compression, bytes: &Bytes, limit: usize) -> Result<Bytes> {
    let too_long = || wrong(format!("expected a page of at most {limit} bytes, got more"));
    match compression {
        Compression::UNCOMPRESSED if bytes.len() > limit => Err(too_long()),
        Compression::UNCOMPRESSED => Ok(bytes.clone()),
        // A page in Parquet may be empty, without a frame.
        _ if bytes.is_empty() => Ok(Bytes::new()),
        Compression::ZSTD(_) => {
            let failed = |error: std::io::Error| ParquetError::External(Box::new(error));
            read_within(zstd::Decoder::with_buffer(bytes.as_ref()).map_err(failed)?, limit)?.ok_or_else(too_long)
        }
        Compression::GZIP(_) => read_within(MultiGzDecoder::new(bytes.as_ref()), limit)?.ok_or_else(too_long),
        Compression::LZ4_RAW => lz4(bytes, limit),
        Compression::LZ4 => lz4_of_hadoop(bytes, limit),
        Compression::SNAPPY => {
            let failed = |error: snap::Error| ParquetError::External(Box::new(error));
            let length = snap::raw::decompress_len(bytes).map_err(failed)?;
            if length > limit || length > bytes.len().saturating_mul(SNAPPY_RATIO) {
                return Err(too_long());
            }
            Ok(snap::raw::Decoder::new().decompress_vec(bytes).map_err(failed)?.into())
        }
        other => Err(wrong(format!("expected ZSTD, SNAPPY, GZIP, LZ4 or no compression, got {other}"))),
    }
}

/// Reads to the end; `None` after more than `limit` bytes.
fn read_within(reader: impl Read, limit: usize) -> Result<Option<Bytes>> {
    let mut decompressed = Vec::new();
    let read = reader.take(limit as u64 + 1).read_to_end(&mut decompressed);
    read.map_err(|error| ParquetError::External(Box::new(error)))?;
    Ok((decompressed.len() <= limit).then(|| decompressed.into()))
}

/// Decompresses one LZ4 block.
fn lz4(bytes: &[u8], limit: usize) -> Result<Bytes> {
    let mut decompressed = vec![0; limit.min(bytes.len().saturating_mul(LZ4_RATIO))];
    let length = lz4_flex::block::decompress_into(bytes, &mut decompressed).map_err(|error| match error {
        DecompressError::OutputTooSmall { .. } => wrong(format!("expected a page of at most {limit} bytes, got more")),
        other => ParquetError::External(Box::new(other)),
    })?;
    decompressed.truncate(length);
    Ok(decompressed.into())
}

/// Decompresses LZ4 as Hadoop frames it: blocks, each after its decompressed and its compressed length. Some writers leave
/// the lengths out.
fn lz4_of_hadoop(bytes: &[u8], limit: usize) -> Result<Bytes> {
    let Some(blocks) = hadoop_blocks(bytes) else { return lz4(bytes, limit) };
    let mut decompressed = Vec::new();
    for (length, block) in blocks {
        if length > limit - decompressed.len() {
            return Err(wrong(format!("expected a page of at most {limit} bytes, got more")));
        }
        let part = lz4(block, length)?;
        if part.len() != length {
            return Err(wrong(format!("expected an LZ4 block of {length} bytes, got {}", part.len())));
        }
        decompressed.extend_from_slice(&part);
    }
    Ok(decompressed.into())
}

/// The decompressed length and the bytes of each block; `None` if the lengths are not those of blocks.
fn hadoop_blocks(bytes: &[u8]) -> Option<Vec<(usize, &[u8])>> {
    let (mut blocks, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (compressed, after) = after.split_first_chunk::<4>()?;
        let (block, after) = after.split_at_checked(u32::from_be_bytes(*compressed) as usize)?;
        blocks.push((u32::from_be_bytes(*length) as usize, block));
        rest = after;
    }
    Some(blocks)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use parquet::basic::{GzipLevel, ZstdLevel};

    use super::*;

    /// A block as Hadoop frames it.
    fn hadoop(length: u32, block: &[u8]) -> Vec<u8> {
        [&length.to_be_bytes(), &(block.len() as u32).to_be_bytes(), block].concat()
    }

    const ZSTD: fn() -> Compression = || Compression::ZSTD(ZstdLevel::default());

    #[test]
    fn what_fits_comes_out_and_what_does_not_is_refused() {
        let text = Bytes::from(vec![7; 1000]);
        let snappy = snap::raw::Encoder::new().compress_vec(&text).unwrap();
        let zstd = zstd::encode_all(text.as_ref(), 1).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let (first, second) = (lz4_flex::block::compress(&text[..600]), lz4_flex::block::compress(&text[600..]));
        let lz4 = lz4_flex::block::compress(&text);
        for (compression, bytes) in [
            (Compression::UNCOMPRESSED, text.clone()),
            (ZSTD(), zstd.into()),
            (Compression::SNAPPY, snappy.into()),
            (Compression::GZIP(GzipLevel::default()), gzip.finish().unwrap().into()),
            (Compression::LZ4_RAW, lz4.clone().into()),
            (Compression::LZ4, lz4.into()),
            (Compression::LZ4, [hadoop(600, &first), hadoop(400, &second)].concat().into()),
        ] {
            assert_eq!(decompress(compression, &bytes, 1000).unwrap(), text, "{compression}");
            let error = decompress(compression, &bytes, 999).unwrap_err().to_string();
            assert!(error.contains("at most 999 bytes"), "{compression}: {error}");
        }
    }

    #[test]
    fn a_snappy_length_that_the_bytes_cannot_hold_is_refused() {
        // A length of 2^32 - 1, and no data.
        let bytes = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
        assert!(decompress(Compression::SNAPPY, &bytes, usize::MAX).unwrap_err().to_string().contains("got more"));
    }

    #[test]
    fn an_endless_frame_is_stopped() {
        let zeros = zstd::encode_all(std::io::repeat(0).take(100 << 20), 1).unwrap();
        assert!(zeros.len() < 20_000);
        assert!(decompress(ZSTD(), &zeros.into(), 1 << 20).is_err());
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&vec![0; 20 << 20]).unwrap();
        let gzip = gzip.finish().unwrap();
        assert!(decompress(Compression::GZIP(GzipLevel::default()), &gzip.into(), 1 << 20).is_err());
    }

    #[test]
    fn other_codecs_are_named() {
        let error = decompress(Compression::LZO, &Bytes::from_static(&[0]), 10).unwrap_err().to_string();
        assert!(error.contains("LZO") && !is_read(Compression::LZO) && is_read(ZSTD()), "{error}");
    }
}
