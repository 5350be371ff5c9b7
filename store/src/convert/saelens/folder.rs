//! A folder of cached activations, read batch by batch.

use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, RecordBatch};
use arrow_buffer::Buffer;
use arrow_schema::DataType;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::features::{Features, TOKEN_IDS};
use super::stream::{Stream, malformed};
use crate::convert::checkpoint::{parse, read_bounded};
use crate::error::{Result, StoreError};
use crate::format::records::FileRecord;
use crate::format::site::SiteName;
use crate::fs::folder::Folder;
use crate::fs::map::{self, MappedFile, map_file};

pub(super) const INFO_FILE: &str = "dataset_info.json";
pub(super) const STATE_FILE: &str = "state.json";
/// The settings of SAELens's runner, which it uploads with the data.
const RUNNER_FILE: &str = "cache_activations_runner_cfg.json";

/// Bytes to hash before their pages are released.
const HASHED_BYTES: usize = 16 << 20;

#[derive(Deserialize)]
struct Info {
    features: Map<String, Value>,
}

#[derive(Deserialize)]
struct State {
    #[serde(rename = "_data_files")]
    data_files: Vec<DataFile>,
    #[serde(rename = "_indices_data_files", default)]
    indices: Option<Value>,
}

#[derive(Deserialize)]
struct DataFile {
    filename: String,
}

/// The settings of SAELens's runner that say where the activations come from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunnerConfig {
    pub(super) dataset_path: Option<String>,
    pub(super) model_name: Option<String>,
    seqpos_slice: Option<Vec<Option<i64>>>,
}

/// A folder written by SAELens.
#[derive(Debug)]
pub(super) struct SaelensFolder {
    pub(super) features: Features,
    pub(super) runner: RunnerConfig,
    files: Vec<(String, PathBuf)>,
}

/// Rows of a data set: whole sequences of `context` tokens.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    /// Number of rows.
    pub(super) count: usize,
    /// The tokens, `[count, context]`.
    pub(super) tokens: Vec<u32>,
    /// The little-endian elements of each requested site, `[count, context, d_model]`.
    pub(super) values: Vec<Buffer>,
    /// The map and offset of each buffer, unless the decoder copied it.
    places: Vec<Option<(map::Map, usize)>>,
}

impl Rows {
    /// Releases the pages of a byte range of every site after it was read. A batch may be as large as its file.
    pub(super) fn release(&self, bytes: &Range<usize>) {
        for (map, start) in self.places.iter().flatten() {
            map.done_with(start + bytes.start..start + bytes.end);
        }
    }
}

impl SaelensFolder {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let info_path = path.join(INFO_FILE);
        let state_path = path.join(STATE_FILE);
        if !state_path.exists() || !info_path.exists() {
            let got = if path.join("dataset_dict.json").exists() {
                "a dictionary of several: give the folder of one split"
            } else if path.is_dir() {
                "neither or one of them. From the Hub, load it with `datasets` and use save_to_disk"
            } else {
                "no such folder"
            };
            let expected = format!("a folder with {INFO_FILE} and {STATE_FILE}, as SAELens writes it");
            return Err(StoreError::invalid(path.display(), expected, got));
        }
        let info: Info = parse(&info_path, &read_bounded(&info_path)?)?;
        let features = Features::from_json(&info_path, &info.features)?;
        let state: State = parse(&state_path, &read_bounded(&state_path)?)?;
        if state.indices.is_some() {
            return Err(malformed(&state_path, "rows in the order of the files", "a list of indices".to_owned()));
        }
        let folder = Folder::new(path);
        let files = state.data_files.into_iter().map(|DataFile { filename }| {
            let path = folder.locate(&state_path, &filename)?;
            Ok((filename, path))
        });
        let files = files.collect::<Result<Vec<_>>>()?;
        let runner_path = path.join(RUNNER_FILE);
        let runner: RunnerConfig = if runner_path.exists() {
            parse(&runner_path, &read_bounded(&runner_path)?)?
        } else {
            RunnerConfig::default()
        };
        if let Some(slice) = runner.seqpos_slice.as_ref().filter(|slice| slice.iter().any(Option::is_some)) {
            let expected = "activations of every position (seqpos_slice null)";
            return Err(malformed(&runner_path, expected, format!("seqpos_slice {}", serde_json::json!(slice))));
        }
        Ok(Self { features, runner, files })
    }

    /// Iterates over all rows in order, with the activations of `sites`.
    pub(super) fn rows<'a>(&'a self, sites: &'a [SiteName]) -> RowReader<'a> {
        RowReader { folder: self, sites, file: 0, stream: None }
    }

    /// Hashes the data files.
    pub(super) fn records(&self) -> Result<Vec<FileRecord>> {
        let record = |(name, path): &(String, PathBuf)| {
            let MappedFile { bytes, map } = map_file(path)?;
            let mut hasher = blake3::Hasher::new();
            for start in (0..bytes.len()).step_by(HASHED_BYTES) {
                let part = start..bytes.len().min(start + HASHED_BYTES);
                hasher.update_rayon(&bytes[part.clone()]);
                if let Some(map) = &map {
                    map.done_with(part);
                }
            }
            let blake3 = hasher.finalize().to_hex().to_string();
            Ok(FileRecord { path: name.clone(), bytes: bytes.len() as u64, blake3 })
        };
        self.files.iter().map(record).collect()
    }
}

/// Reads the rows of a folder, one record batch at a time.
#[derive(Debug)]
pub(super) struct RowReader<'a> {
    folder: &'a SaelensFolder,
    sites: &'a [SiteName],
    file: usize,
    stream: Option<Stream>,
}

impl RowReader<'_> {
    /// Returns the next rows, at least one; `None` after the last.
    pub(super) fn next_rows(&mut self) -> Result<Option<Rows>> {
        loop {
            let Some((_, path)) = self.folder.files.get(self.file) else {
                return Ok(None);
            };
            let stream = match &mut self.stream {
                Some(stream) => stream,
                none => none.insert(Stream::open(path, map_file(path)?, &self.folder.features)?),
            };
            match stream.next_batch()? {
                Some(batch) if batch.num_rows() > 0 => {
                    let rows = rows_of(&batch, &self.folder.features, self.sites).map(|mut rows| {
                        rows.places = rows.values.iter().map(|values| stream.place(values)).collect();
                        Some(rows)
                    });
                    return rows.map_err(|got| malformed(path, "rows of the shape that is described", got));
                }
                Some(_) => {}
                None => {
                    self.file += 1;
                    self.stream = None;
                }
            }
        }
    }
}

fn rows_of(batch: &RecordBatch, features: &Features, sites: &[SiteName]) -> Result<Rows, String> {
    let count = batch.num_rows();
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| format!("no column {name}"));
    let context = features.context;
    let ids = column(TOKEN_IDS)?;
    let ids = match ids.data_type() {
        DataType::FixedSizeList(..) => ids.as_fixed_size_list().values().slice(0, count * context),
        _ => regular(ids.as_ref(), context)?,
    };
    let ids = ids.as_primitive::<Int32Type>();
    let tokens = ids.values().iter().map(|id| u32::try_from(*id).map_err(|_| format!("the token {id}")));
    let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
    let values = sites.iter().map(|site| {
        let elements = regular(regular(column(site.as_str())?.as_ref(), context)?.as_ref(), features.d_model)?;
        let data = elements.to_data();
        let width = features.dtype.bytes();
        let buffer = data.buffers().first().ok_or("no elements")?;
        Ok::<_, String>(buffer.slice_with_length(data.offset() * width, data.len() * width))
    });
    let values = values.collect::<Result<Vec<_>, _>>()?;
    Ok(Rows { count, tokens, values, places: Vec::new() })
}

/// The concatenated elements of lists that must all have the same length.
fn regular(lists: &dyn Array, length: usize) -> Result<arrow_array::ArrayRef, String> {
    let lists = lists.as_list::<i32>();
    let offsets = lists.value_offsets();
    let odd = offsets.windows(2).find(|pair| usize::try_from(pair[1] - pair[0]) != Ok(length));
    if let Some(pair) = odd {
        return Err(format!("a list of {} elements, not {length}", pair[1] - pair[0]));
    }
    // The decoder has checked the offsets against the elements.
    let first = offsets.first().map_or(0, |first| *first as usize);
    Ok(lists.values().slice(first, lists.len() * length))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const FILE: &str = "data-00000-of-00002.arrow";

    fn golden(dtype: &str) -> SaelensFolder {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/saelens").join(dtype);
        SaelensFolder::open(&path).unwrap()
    }

    /// Reads a file with these bytes and returns the number of elements.
    fn read(folder: &SaelensFolder, bytes: Vec<u8>) -> Result<usize> {
        let features = &folder.features;
        let mut stream = Stream::open(Path::new(FILE), Bytes::from(bytes).into(), features)?;
        let mut elements = 0;
        while let Some(batch) = stream.next_batch()? {
            let rows =
                rows_of(&batch, features, &features.sites).map_err(|got| malformed(Path::new(FILE), "rows", got))?;
            assert_eq!(rows.tokens.len(), rows.count * features.context);
            let bytes = rows.tokens.len() * features.d_model * features.dtype.bytes();
            assert!(rows.values.iter().all(|values| values.len() == bytes));
            elements += rows.tokens.len();
        }
        Ok(elements)
    }

    #[test]
    fn no_flipped_bit_makes_the_reader_panic_or_read_outside() {
        for dtype in ["float32", "float16"] {
            let folder = golden(dtype);
            let whole = std::fs::read(&folder.files[0].1).unwrap();
            assert_eq!(read(&folder, whole.clone()).unwrap(), 12);
            let mut refused = 0;
            for bit in 0..whole.len() * 8 {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                refused += usize::from(read(&folder, bytes).is_err());
            }
            // Most bits are metadata. Flips in elements, names and padding are not detected here.
            assert!(refused > whole.len(), "{refused} of {} bits", whole.len() * 8);
        }
    }

    #[test]
    fn no_byte_of_any_value_makes_the_reader_panic() {
        let folder = golden("float32");
        let whole = std::fs::read(&folder.files[0].1).unwrap();
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                // Success and failure are both fine; a panic or an allocation beyond the file is not.
                let _ = read(&folder, bytes);
            }
        }
    }

    #[test]
    fn a_file_that_was_cut_short_is_refused_or_ends_with_whole_rows() {
        let folder = golden("float32");
        let whole = std::fs::read(&folder.files[0].1).unwrap();
        for length in 0..whole.len() {
            match read(&folder, whole[..length].to_vec()) {
                // Cut between two messages. The end marker is optional, so the number of rows tells.
                Ok(elements) => assert!(elements == 12 || elements == 0, "{length}: {elements}"),
                Err(error) => assert!(matches!(error, StoreError::Malformed { .. }), "{error}"),
            }
        }
    }
}
