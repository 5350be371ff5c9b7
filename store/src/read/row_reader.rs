//! Random access to the rows of a site by their number in the cache.

use std::sync::{Arc, Mutex, TryLockError};

use bytes::Bytes;
use hayloft_runtime::Dtype;

use crate::error::{Result, StoreError};
use crate::format::activations::reader::ActivationReader;
use crate::format::site::SiteName;
use crate::read::cache::Cache;

/// Shards of a site that are kept open.
const OPEN_SHARDS: usize = 16;

/// Attempts to take a lock that is held for some instructions only.
const ATTEMPTS: usize = 1000;

/// Reads rows of a site by their number: rows are numbered from 0 in the order of the cache, shard by shard. Any number of
/// threads may share a reader.
///
/// No call waits for a lock, so that a reader works in a child process that was forked while another thread was reading.
#[derive(Debug)]
pub struct RowReader {
    cache: Arc<Cache>,
    site: SiteName,
    d_model: usize,
    dtype: Dtype,
    /// Number of the first row of each shard, and the end of the last.
    first_rows: Vec<u64>,
    /// The shards read last, the newest at the end.
    open: Mutex<Vec<Arc<OpenShard>>>,
}

#[derive(Debug)]
struct OpenShard {
    place: usize,
    reader: ActivationReader,
    bounds: Vec<usize>,
}

impl RowReader {
    /// Creates a reader of a site. Reads no file.
    ///
    /// # Errors
    /// As [`Cache::site`].
    pub fn open(cache: &Arc<Cache>, site: &str) -> Result<Self> {
        let found = cache.site(site)?;
        let mut first_rows = vec![0_u64];
        for shard in &cache.manifest().shards {
            let before = first_rows[first_rows.len() - 1];
            first_rows.push(before.saturating_add(shard.counts.tokens));
        }
        Ok(Self {
            site: found.name().clone(),
            d_model: found.d_model(),
            dtype: cache.manifest().read_dtype(),
            cache: Arc::clone(cache),
            first_rows,
            open: Mutex::default(),
        })
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> u64 {
        self.first_rows[self.first_rows.len() - 1]
    }

    /// Returns the number of elements of a row.
    pub fn d_model(&self) -> usize {
        self.d_model
    }

    /// Returns the dtype in which rows are read: that of the cache, or f32 for a lossy codec.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Returns the bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.d_model * self.dtype.bytes()
    }

    /// Reads rows from number `first` on, as many as are wanted and lie in the same row group, into the beginning of
    /// `into`: `[rows, d_model]`, little-endian words of [`Self::dtype`]. The size of `into` says how many are wanted.
    /// Returns how many were read, at least one unless none is wanted. Only the blocks that hold these rows are decoded;
    /// they are verified.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if `first` is out of range, [`StoreError::Damaged`] on a checksum mismatch.
    pub fn read(&self, first: u64, into: &mut [u8]) -> Result<usize> {
        let wanted = into.len() / self.row_bytes().max(1);
        if wanted == 0 {
            return Ok(0);
        }
        let (shard, row_group, row) = self.find(first)?;
        let rows = wanted.min(shard.reader.rows(row_group) - row);
        shard.reader.read_rows_into(row_group, row..row + rows, &mut into[..rows * self.row_bytes()])?;
        Ok(rows)
    }

    /// Returns rows from `first` to `end` without a copy, as [`ActivationReader::view`] does. `None` if they are not in one
    /// row group, if there are none, or for codecs other than `raw`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn view(&self, first: u64, end: u64) -> Result<Option<Bytes>> {
        if first >= end {
            return Ok(None);
        }
        let (shard, row_group, row) = self.find(first)?;
        let rows = (end - first) as usize;
        if rows > shard.reader.rows(row_group) - row {
            return Ok(None);
        }
        let view = shard.reader.view(row_group)?;
        Ok(view.map(|bytes| bytes.slice(row * self.row_bytes()..(row + rows) * self.row_bytes())))
    }

    /// Reads the first rows of a list that lie in the same row group. `wanted` has pairs of a row's number and its index in
    /// `into`, `[rows, d_model]`, with the numbers in ascending order. Returns how many pairs were read.
    ///
    /// # Errors
    /// As [`Self::read`], and [`StoreError::Invalid`] if an index is out of range.
    pub fn read_listed(&self, wanted: &[(u64, usize)], into: &mut [u8], scratch: &mut Vec<u8>) -> Result<usize> {
        let Some(&(first, _)) = wanted.first() else { return Ok(0) };
        let (shard, row_group, row) = self.find(first)?;
        let (row_bytes, end) = (self.row_bytes(), first + (shard.reader.rows(row_group) - row) as u64);
        let group = &wanted[..wanted.partition_point(|(number, _)| *number < end)];
        // Rows of neighbouring blocks are read at once.
        let near = shard.reader.block_rows() as u64;
        for run in group.chunk_by(|one, next| next.0 - one.0 <= near) {
            let (from, to) = (row + (run[0].0 - first) as usize, row + (run[run.len() - 1].0 - first) as usize + 1);
            shard.reader.read_rows(row_group, from..to, scratch)?;
            for (number, index) in run {
                let start = (row + (number - first) as usize - from) * row_bytes;
                let place = index.checked_mul(row_bytes).and_then(|at| into.get_mut(at..at.checked_add(row_bytes)?));
                let Some(place) = place else {
                    return Err(StoreError::invalid("index of a row", "one within the destination", index));
                };
                place.copy_from_slice(&scratch[start..start + row_bytes]);
            }
        }
        Ok(group.len())
    }

    /// Finds the shard, the row group and the row in it of a row's number.
    fn find(&self, number: u64) -> Result<(Arc<OpenShard>, usize, usize)> {
        if number >= self.rows() {
            let what = format!("{}: row of {}", self.cache.folder().display(), self.site);
            return Err(StoreError::invalid(what, format!("less than {}", self.rows()), number));
        }
        let place = self.first_rows.partition_point(|first| *first <= number) - 1;
        let row = (number - self.first_rows[place]) as usize;
        let shard = self.shard(place)?;
        let row_group = shard.bounds.partition_point(|first| *first <= row) - 1;
        let first = shard.bounds[row_group];
        if row_group + 1 >= shard.bounds.len() {
            // The sequences of a shard are checked against its counts, so this does not happen in a valid cache.
            let path = shard.reader.path();
            return Err(StoreError::damaged(path, format!("more than {row} rows"), shard.bounds[row_group]));
        }
        Ok((shard, row_group, row - first))
    }

    fn shard(&self, place: usize) -> Result<Arc<OpenShard>> {
        if let Some(found) = self.with_open(|open| {
            let index = open.iter().position(|shard| shard.place == place)?;
            let shard = open.remove(index);
            open.push(Arc::clone(&shard));
            Some(shard)
        }) {
            return Ok(found);
        }
        let shard = self.cache.shard(place)?;
        let bounds = shard.row_group_bounds();
        let opened = Arc::new(OpenShard { place, reader: shard.activations(&self.site)?, bounds });
        self.with_open(|open| {
            if open.len() == OPEN_SHARDS {
                open.remove(0);
            }
            open.push(Arc::clone(&opened));
            Some(())
        });
        Ok(opened)
    }

    /// Calls `work` with the open shards, or gives up if the lock stays taken, as in a child process that was forked while
    /// it was.
    fn with_open<T>(&self, work: impl FnOnce(&mut Vec<Arc<OpenShard>>) -> Option<T>) -> Option<T> {
        for _ in 0..ATTEMPTS {
            match self.open.try_lock() {
                Ok(mut open) => return work(&mut open),
                Err(TryLockError::Poisoned(_)) => return None,
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::support::{harvest, settings};

    /// All rows of a site by the typed path.
    fn all(cache: &Cache, site: &str) -> Vec<u32> {
        let groups = cache.site(site).unwrap().row_groups();
        groups.flat_map(|rows| rows.unwrap().f32().iter().map(|value| value.to_bits()).collect::<Vec<_>>()).collect()
    }

    fn f32_bits(dtype: Dtype, bytes: &[u8]) -> Vec<u32> {
        let halves = bytes.as_chunks::<2>().0;
        match dtype {
            Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect(),
            Dtype::Bf16 => halves.iter().map(|word| u32::from(u16::from_le_bytes(*word)) << 16).collect(),
            Dtype::F16 => halves.iter().map(|word| half::f16::from_le_bytes(*word).to_f32().to_bits()).collect(),
        }
    }

    #[test]
    fn every_range_and_list_of_rows_is_that_of_the_row_groups() {
        for (dtype, codec) in [(Dtype::Bf16, Codec::PLANES), (Dtype::F32, Codec::RAW), (Dtype::F16, Codec::INT8)] {
            let folder = tempfile::tempdir().unwrap();
            harvest(folder.path(), &settings(dtype, codec));
            let cache = Arc::new(Cache::open(folder.path()).unwrap());
            let site = "blocks.3.hook_resid_post";
            let (expected, reader) = (all(&cache, site), RowReader::open(&cache, site).unwrap());
            let (rows, d) = (reader.rows() as usize, reader.d_model());
            assert_eq!(expected.len(), rows * d);
            for first in 0..rows {
                for end in first..=rows {
                    let mut words = vec![0; (end - first) * reader.row_bytes()];
                    let mut read = 0;
                    while read < end - first {
                        read += reader.read((first + read) as u64, &mut words[read * reader.row_bytes()..]).unwrap();
                    }
                    assert_eq!(f32_bits(reader.dtype(), &words), expected[first * d..end * d], "{first}..{end}");
                    if let Some(view) = reader.view(first as u64, end as u64).unwrap() {
                        assert_eq!((view.as_ref(), codec), (words.as_slice(), Codec::RAW), "{first}..{end}");
                    } else {
                        let in_one = reader.read(first as u64, &mut words).unwrap() == end - first;
                        assert!(codec != Codec::RAW || first == end || !in_one, "{first}..{end}");
                    }
                }
            }
            for step in [1, 2, 7, 20] {
                let wanted: Vec<(u64, usize)> =
                    (0..rows).step_by(step).enumerate().map(|(index, row)| (row as u64, index)).collect();
                let (mut words, mut scratch) = (vec![0; wanted.len() * reader.row_bytes()], Vec::new());
                let mut read = 0;
                while read < wanted.len() {
                    read += reader.read_listed(&wanted[read..], &mut words, &mut scratch).unwrap();
                }
                let rows = wanted.iter().flat_map(|(row, _)| expected[*row as usize * d..][..d].to_vec());
                assert_eq!(f32_bits(reader.dtype(), &words), rows.collect::<Vec<_>>(), "step {step}");
            }
            let error = reader.read(rows as u64, &mut [0; 64]).unwrap_err();
            assert!(error.to_string().contains(&format!("less than {rows}")), "{error}");
            assert!(reader.view(rows as u64, rows as u64 + 1).is_err());
            assert!(reader.read_listed(&[(0, 1)], &mut vec![0; reader.row_bytes()], &mut Vec::new()).is_err());
        }
    }
}
