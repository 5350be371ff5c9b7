//! Putting the two planes of a row group together, page by page, on as many threads as there are.

use std::hash::Hasher;

use rayon::prelude::*;
use twox_hash::XxHash3_64;

use crate::activations::layout::Layout;
use crate::activations::pages::{Pages, StoredPage};
use crate::codec::planes;
use crate::error::Result;

/// A row group of fewer bytes is done before other threads have woken up.
const PARALLEL_BYTES: usize = 1 << 20;

/// Pages a thread decodes before all wait for each other: enough that the wait is short beside the work.
const WAVE_PAGES_PER_THREAD: usize = 8;

/// A page and where its parts are.
struct Piece<'a> {
    page: &'a StoredPage,
    exponent: &'a mut [u8],
    mantissa: &'a [u8],
    words: &'a mut [u8],
}

/// Decodes `exponent` and puts it and `mantissa`, which is the whole column, together in `words`. Gives the XXH3-64 of
/// the two columns' bytes, which are for the caller to check.
///
/// A checksum goes through a column from its first byte to its last, so it is one thread's work. That thread hashes the
/// pages of one wave while the others decode the next. Alone, it hashes each page while it is in the cache.
pub(crate) fn merge(layout: &Layout, exponent: &Pages<'_>, mantissa: &[u8], words: &mut [u8]) -> Result<[u64; 2]> {
    let threads = rayon::current_num_threads();
    let alone = threads == 1 || words.len() < PARALLEL_BYTES || exponent.list().len() < 2;
    let wave_pages = if alone { 1 } else { threads * WAVE_PAGES_PER_THREAD };
    let (d_model, row_bytes) = (layout.d_model, layout.row_bytes());
    let mut hashers = [XxHash3_64::new(), XxHash3_64::new()];
    let mut hash = |exponent: &[u8], mantissa: &[u8]| {
        hashers[0].write(exponent);
        hashers[1].write(mantissa);
    };
    let (mut decoded, mut decoded_before): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    let (mut mantissa_before, mut mantissa_left, mut words_left): (&[u8], _, _) = (&[], mantissa, words);
    for wave in exponent.list().chunks(wave_pages) {
        let rows: usize = wave.iter().map(|page| page.rows).sum();
        decoded.resize(rows * d_model, 0);
        let (wave_words, next_words) = words_left.split_at_mut(rows * row_bytes);
        let (wave_mantissa, next_mantissa) = mantissa_left.split_at(rows * (row_bytes - d_model));
        (words_left, mantissa_left) = (next_words, next_mantissa);
        let decode = |piece: Piece<'_>| -> Result<()> {
            exponent.decompress(piece.page, piece.exponent)?;
            planes::merge(layout.dtype, piece.exponent, piece.mantissa, piece.words);
            Ok(())
        };
        if alone {
            let Some(page) = wave.first() else { break };
            exponent.decompress(page, &mut decoded)?;
            hash(&decoded, wave_mantissa);
            planes::merge(layout.dtype, &decoded, wave_mantissa, wave_words);
            continue;
        }
        let pieces = pieces(layout, wave, &mut decoded, wave_mantissa, wave_words);
        let (done, ()) =
            rayon::join(|| pieces.into_par_iter().try_for_each(decode), || hash(&decoded_before, mantissa_before));
        done?;
        std::mem::swap(&mut decoded, &mut decoded_before);
        mantissa_before = wave_mantissa;
    }
    hash(&decoded_before, mantissa_before);
    Ok(hashers.map(|hasher| hasher.finish()))
}

/// Cuts the parts of a wave at its pages.
fn pieces<'a>(
    layout: &Layout,
    wave: &'a [StoredPage],
    mut exponent: &'a mut [u8],
    mut mantissa: &'a [u8],
    mut words: &'a mut [u8],
) -> Vec<Piece<'a>> {
    let (d_model, row_bytes) = (layout.d_model, layout.row_bytes());
    let mut pieces = Vec::with_capacity(wave.len());
    for page in wave {
        let piece = Piece {
            page,
            exponent: exponent.split_off_mut(..page.rows * d_model).unwrap_or_default(),
            mantissa: mantissa.split_off(..page.rows * (row_bytes - d_model)).unwrap_or_default(),
            words: words.split_off_mut(..page.rows * row_bytes).unwrap_or_default(),
        };
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;

    use crate::activations::layout::Layout;
    use crate::activations::reader::ActivationReader;
    use crate::activations::writer::ActivationWriter;
    use crate::codec::Codec;
    use crate::codec::encode::Buffers;
    use crate::dtype::Dtype;
    use crate::files::hash::blake3_hex;

    /// More pages than four threads decode in one wave.
    const ROWS: usize = 40 * 256 + 17;

    fn file(bits: &Bytes) -> (ActivationReader, Vec<u8>, Layout, String) {
        let site = "blocks.0.hook_resid_pre".parse().unwrap();
        let layout = Layout { site, dtype: Dtype::Bf16, codec: Codec::Planes, d_model: 1024 };
        let mut writer = ActivationWriter::new(Path::new("a"), Vec::new(), layout.clone()).unwrap();
        writer.write(bits, &mut Buffers::default()).unwrap();
        let (file, footer) = writer.finish().unwrap();
        (open(file.clone(), &layout, &footer), file, layout, footer)
    }

    fn open(file: Vec<u8>, layout: &Layout, footer: &str) -> ActivationReader {
        let file = Bytes::from(file).into();
        ActivationReader::open("a".into(), file, layout.clone(), footer, &[ROWS as u64]).unwrap()
    }

    #[test]
    fn any_number_of_threads_reads_the_same_and_sees_damage() {
        let bits: Bytes = (0..ROWS * 2048).map(|index| ((index * index) >> 9) as u8).collect();
        let (reader, file, layout, footer) = file(&bits);
        let mut damaged = file.clone();
        let last_mantissa = file.len() - 2000;
        assert_ne!(blake3_hex(&file[last_mantissa..]), footer, "the footer is shorter");
        damaged[last_mantissa] ^= 1;
        let damaged = open(damaged, &layout, &footer);
        for threads in [1, 2, 4] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut read = vec![1; 10];
            pool.install(|| reader.read(0, &mut read)).unwrap();
            assert!(read == bits, "{threads} threads");
            let error = pool.install(|| damaged.read(0, &mut read)).unwrap_err();
            assert!(error.to_string().contains("mantissa") && read.is_empty(), "{error}");
        }
    }
}
