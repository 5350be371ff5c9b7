//! Decompression up to a limit.

use std::io::Read;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result};

use super::wrong;

/// Upper bound on Snappy's compression ratio: three bytes copy 64.
const SNAPPY_RATIO: usize = 64;

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
            let decoder = zstd::Decoder::with_buffer(bytes.as_ref()).map_err(failed)?;
            let mut decompressed = Vec::new();
            decoder.take(limit as u64 + 1).read_to_end(&mut decompressed).map_err(failed)?;
            if decompressed.len() > limit { Err(too_long()) } else { Ok(decompressed.into()) }
        }
        Compression::SNAPPY => {
            let failed = |error: snap::Error| ParquetError::External(Box::new(error));
            let length = snap::raw::decompress_len(bytes).map_err(failed)?;
            if length > limit || length > bytes.len().saturating_mul(SNAPPY_RATIO) {
                return Err(too_long());
            }
            Ok(snap::raw::Decoder::new().decompress_vec(bytes).map_err(failed)?.into())
        }
        other => Err(wrong(format!("expected ZSTD, SNAPPY or no compression, got {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use parquet::basic::ZstdLevel;

    use super::*;

    const ZSTD: fn() -> Compression = || Compression::ZSTD(ZstdLevel::default());

    #[test]
    fn what_fits_comes_out_and_what_does_not_is_refused() {
        let text = Bytes::from(vec![7; 1000]);
        let snappy = snap::raw::Encoder::new().compress_vec(&text).unwrap();
        let zstd = zstd::encode_all(text.as_ref(), 1).unwrap();
        for (compression, bytes) in
            [(Compression::UNCOMPRESSED, text.clone()), (ZSTD(), zstd.into()), (Compression::SNAPPY, snappy.into())]
        {
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
    }
}
