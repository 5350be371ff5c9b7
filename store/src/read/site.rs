//! One site of a cache, read as typed rows joined with their tokens and losses.

use std::borrow::Cow;
use std::iter::FusedIterator;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Float16Array, Float32Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use hayloft_runtime::Dtype;

use crate::error::{Result, StoreError};
use crate::format::activations::reader::ActivationReader;
use crate::format::manifest::SiteRecord;
use crate::format::section::Section;
use crate::format::site::SiteName;
use crate::format::tables::tokens::Tokens;
use crate::read::cache::{Cache, Shard};

/// One site of a [`Cache`]; see [`Cache::site`].
#[derive(Clone, Debug)]
pub struct Site<'cache> {
    cache: &'cache Cache,
    record: &'cache SiteRecord,
}

/// The row groups of a [`Site`], in the order of the cache; see [`Site::row_groups`].
#[derive(Debug)]
pub struct RowGroups<'cache> {
    site: Site<'cache>,
    /// The index of the next shard to open.
    next_shard: usize,
    open: Option<OpenShard>,
}

#[derive(Debug)]
struct OpenShard {
    reader: ActivationReader,
    columns: Arc<Columns>,
    row_group: usize,
    first_row: usize,
}

/// The token columns of a shard.
#[derive(Debug)]
struct Columns {
    tokens: Tokens,
    loss: Option<Vec<f32>>,
}

/// Some rows of a site: those of a row group or of a sequence. Every column has [`Self::len`] elements; row r of each
/// belongs to the same token. Rows are those of whole sequences.
#[derive(Clone, Debug)]
pub struct Rows {
    shard: usize,
    d_model: usize,
    activations: Activations,
    columns: Arc<Columns>,
    range: Range<usize>,
}

/// Activations as `[rows, d_model]` values, row by row, in the dtype in which they are read: that of the cache, or f32
/// for the codec `int8`.
#[derive(Clone, Debug, PartialEq)]
pub enum Activations {
    /// IEEE 754 binary32.
    F32(Vec<f32>),
    /// The upper half of a binary32.
    Bf16(Vec<bf16>),
    /// IEEE 754 binary16.
    F16(Vec<f16>),
}

/// One row of [`Rows`]: a token, and what is stored of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row<'rows> {
    /// Id of the token's sequence, unique in the cache.
    pub sequence: u64,
    /// Position within the sequence, from 0.
    pub position: u32,
    /// Token id.
    pub token: u32,
    /// Section of the token.
    pub section: Section,
    /// Document of the token.
    pub document: u64,
    /// Subset of that document.
    pub subset: Option<&'rows str>,
    /// Cross-entropy loss of the next token, in nats. `None` in the last row of a sequence, and in a cache without
    /// predictions.
    pub loss: Option<f32>,
}

impl Cache {
    /// Returns a site by its name, such as `blocks.16.hook_resid_pre`.
    ///
    /// # Errors
    /// [`StoreError::UnknownSite`] with the available sites; [`StoreError::Invalid`] if `name` is no site name.
    pub fn site(&self, name: &str) -> Result<Site<'_>> {
        let name: SiteName = name.parse()?;
        let record = self.manifest().sites.iter().find(|site| site.name == name);
        let record = record.ok_or_else(|| StoreError::UnknownSite {
            folder: self.folder().to_owned(),
            site: name.to_string(),
            available: self.manifest().settings().sites_in_words(),
        })?;
        Ok(Site { cache: self, record })
    }
}

impl<'cache> Site<'cache> {
    /// Returns the name.
    pub fn name(&self) -> &'cache SiteName {
        &self.record.name
    }

    /// Returns the number of elements of a row.
    pub fn d_model(&self) -> usize {
        self.record.d_model
    }

    /// Returns the manifest's record: number of rows, mean norm, rounding error.
    pub fn record(&self) -> &'cache SiteRecord {
        self.record
    }

    /// Reads the row groups one by one, about 4096 rows each by default. Each is verified before it is returned. At most
    /// one shard is open at a time; its token table is in memory. In a remote cache the next shard is fetched meanwhile.
    ///
    /// # Errors
    /// Each item is [`StoreError::Damaged`] if a checksum or hash does not match, or [`StoreError::Io`]. Iteration ends
    /// after an error.
    pub fn row_groups(&self) -> RowGroups<'cache> {
        RowGroups { site: self.clone(), next_shard: 0, open: None }
    }

    /// Reads the rows of one sequence; `None` if no shard has it. Decodes and verifies only the blocks that hold these
    /// rows, and the token table of the shard.
    ///
    /// # Errors
    /// As [`Self::row_groups`].
    pub fn sequence(&self, id: u64) -> Result<Option<Rows>> {
        let Some((shard, index)) = self.cache.find_sequence(id)? else { return Ok(None) };
        let reader = shard.activations(self.name())?;
        let sequence = &shard.sequences()[index];
        let mut bits = Vec::new();
        reader.read_sequence(sequence, &mut bits)?;
        let first = sequence.first_row as usize;
        let range = first..first + sequence.length as usize;
        Ok(Some(Rows::new(shard.record().index, &reader, &bits, Arc::new(Columns::read(&shard)?), range)))
    }
}

impl RowGroups<'_> {
    fn read_next(&mut self) -> Result<Option<Rows>> {
        loop {
            if let Some(open) = &mut self.open
                && open.row_group < open.reader.row_groups()
            {
                let row_group = open.row_group;
                let range = open.first_row..open.first_row + open.reader.rows(row_group);
                (open.row_group, open.first_row) = (row_group + 1, range.end);
                let mut bits = Vec::new();
                open.reader.read(row_group, &mut bits)?;
                open.reader.release(row_group);
                let shard = self.site.cache.manifest().shards[self.next_shard - 1].index;
                return Ok(Some(Rows::new(shard, &open.reader, &bits, Arc::clone(&open.columns), range)));
            }
            self.open = None;
            if self.next_shard == self.site.cache.shards() {
                return Ok(None);
            }
            let shard = self.site.cache.shard(self.next_shard)?;
            self.next_shard += 1;
            #[cfg(feature = "remote")]
            self.site.cache.read_ahead(self.next_shard, self.site.name());
            let reader = shard.activations(self.site.name())?;
            let columns = Arc::new(Columns::read(&shard)?);
            self.open = Some(OpenShard { reader, columns, row_group: 0, first_row: 0 });
        }
    }
}

impl Iterator for RowGroups<'_> {
    type Item = Result<Rows>;

    fn next(&mut self) -> Option<Result<Rows>> {
        let read = self.read_next();
        if read.is_err() {
            self.open = None;
            self.next_shard = self.site.cache.shards();
        }
        read.transpose()
    }
}

impl FusedIterator for RowGroups<'_> {}

impl Columns {
    fn read(shard: &Shard) -> Result<Self> {
        let table = shard.token_table()?;
        let loss = table.predictions_without_top()?.map(|predictions| predictions.loss);
        Ok(Self { tokens: table.tokens()?, loss })
    }
}

impl Rows {
    fn new(shard: usize, reader: &ActivationReader, bits: &[u8], columns: Arc<Columns>, range: Range<usize>) -> Self {
        let activations = Activations::of_bits(reader.dtype(), bits);
        Self { shard, d_model: reader.d_model(), activations, columns, range }
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Returns the number of elements of a row.
    pub fn d_model(&self) -> usize {
        self.d_model
    }

    /// Returns the number of the shard in the plan.
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// Returns the activations in the dtype in which they are read, `[rows, d_model]`.
    pub fn activations(&self) -> &Activations {
        &self.activations
    }

    /// Returns the activations as bfloat16, `[rows, d_model]`; `None` if they have another dtype.
    pub fn bf16(&self) -> Option<&[bf16]> {
        match &self.activations {
            Activations::Bf16(values) => Some(values),
            _ => None,
        }
    }

    /// Returns the activations as f32, `[rows, d_model]`. The conversion is exact.
    pub fn f32(&self) -> Cow<'_, [f32]> {
        self.activations.to_f32()
    }

    /// Returns the sequence id of each row.
    pub fn sequence(&self) -> &[u64] {
        &self.columns.tokens.sequence[self.range.clone()]
    }

    /// Returns the position of each row in its sequence, from 0.
    pub fn position(&self) -> &[u32] {
        &self.columns.tokens.position[self.range.clone()]
    }

    /// Returns the token id of each row.
    pub fn token(&self) -> &[u32] {
        &self.columns.tokens.token[self.range.clone()]
    }

    /// Returns the section of each row.
    pub fn section(&self) -> &[Section] {
        &self.columns.tokens.section[self.range.clone()]
    }

    /// Returns the document of each row.
    pub fn document(&self) -> &[u64] {
        &self.columns.tokens.document[self.range.clone()]
    }

    /// Returns the subset of each row's document.
    pub fn subset(&self) -> &[Option<Arc<str>>] {
        &self.columns.tokens.subset[self.range.clone()]
    }

    /// Returns the cross-entropy loss of the next token of each row, in nats; NaN in the last row of a sequence. `None` in
    /// a cache without predictions.
    pub fn loss(&self) -> Option<&[f32]> {
        self.columns.loss.as_ref().map(|loss| &loss[self.range.clone()])
    }

    /// Returns a row without its activations; `None` if `index` is not less than [`Self::len`].
    pub fn row(&self, index: usize) -> Option<Row<'_>> {
        (index < self.len()).then(|| self.row_at(index))
    }

    /// Iterates over the rows, without their activations.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        (0..self.len()).map(|index| self.row_at(index))
    }

    fn row_at(&self, index: usize) -> Row<'_> {
        Row {
            sequence: self.sequence()[index],
            position: self.position()[index],
            token: self.token()[index],
            section: self.section()[index],
            document: self.document()[index],
            subset: self.subset()[index].as_deref(),
            loss: self.loss().filter(|_| !self.ends_sequence(index)).map(|loss| loss[index]),
        }
    }

    /// Returns whether a row is the last of its sequence. The rows are those of whole sequences.
    fn ends_sequence(&self, index: usize) -> bool {
        let sequence = self.sequence();
        sequence.get(index + 1) != Some(&sequence[index])
    }

    /// Returns the rows as an Arrow record batch. Arrow has no bfloat16, so bf16 becomes `Float32`.
    ///
    /// | column | type |
    /// |---|---|
    /// | `sequence`, `document` | `UInt64` |
    /// | `position`, `token` | `UInt32` |
    /// | `section` | `Utf8` |
    /// | `subset` | `Utf8`, nullable |
    /// | `loss` | `Float32`, in nats, null in the last row of a sequence; absent without predictions |
    /// | `activation` | `FixedSizeList` of `d_model` `Float32`, or `Float16` for a cache in f16 |
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if Arrow refuses the columns.
    pub fn record_batch(&self) -> Result<RecordBatch> {
        let mut fields = self.columns.tokens.fields();
        let mut columns = self.columns.tokens.columns(self.range.clone());
        if let Some(loss) = self.loss() {
            let known = |(index, loss): (usize, &f32)| (!self.ends_sequence(index)).then_some(*loss);
            fields.push(Field::new("loss", DataType::Float32, true));
            columns.push(Arc::new(loss.iter().enumerate().map(known).collect::<Float32Array>()));
        }
        let values: ArrayRef = match &self.activations {
            Activations::F16(values) => Arc::new(Float16Array::from_iter_values(values.iter().copied())),
            other => Arc::new(Float32Array::from(other.to_f32().into_owned())),
        };
        let element = Arc::new(Field::new("item", values.data_type().clone(), false));
        let width = i32::try_from(self.d_model).unwrap_or(i32::MAX);
        let refused = |error| StoreError::invalid("record batch", "columns that Arrow takes", error);
        fields.push(Field::new("activation", DataType::FixedSizeList(Arc::clone(&element), width), false));
        columns.push(Arc::new(FixedSizeListArray::try_new(element, width, values, None).map_err(refused)?));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(refused)
    }
}

impl Activations {
    /// Converts little-endian words.
    fn of_bits(dtype: Dtype, bits: &[u8]) -> Self {
        let halves = bits.as_chunks::<2>().0;
        match dtype {
            Dtype::F32 => Self::F32(bits.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect()),
            Dtype::Bf16 => Self::Bf16(halves.iter().map(|word| bf16::from_le_bytes(*word)).collect()),
            Dtype::F16 => Self::F16(halves.iter().map(|word| f16::from_le_bytes(*word)).collect()),
        }
    }

    /// Returns the dtype.
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::Bf16(_) => Dtype::Bf16,
            Self::F16(_) => Dtype::F16,
        }
    }

    /// Returns the values as f32. The conversion is exact.
    pub fn to_f32(&self) -> Cow<'_, [f32]> {
        match self {
            Self::F32(values) => Cow::Borrowed(values),
            Self::Bf16(values) => Cow::Owned(values.to_f32_vec()),
            Self::F16(values) => Cow::Owned(values.to_f32_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float32Type, UInt32Type};

    use super::*;
    use crate::codec::Codec;
    use crate::support::{bits, harvest, lengths, settings, two_sites};

    fn cache(folder: &Path, dtype: Dtype, codec: Codec) -> Cache {
        harvest(folder, &settings(dtype, codec));
        Cache::open(folder).unwrap()
    }

    #[test]
    fn row_groups_hold_the_words_that_were_written_and_the_rows_of_their_tokens() {
        for dtype in [Dtype::F32, Dtype::Bf16, Dtype::F16] {
            let folder = tempfile::tempdir().unwrap();
            let cache = cache(folder.path(), dtype, Codec::PLANES);
            let site = cache.site("blocks.3.hook_resid_pre").unwrap();
            let mut groups = site.row_groups();
            for (shard, row_groups) in lengths().iter().enumerate() {
                let (tokens, predictions) = {
                    let shard = cache.shard(shard).unwrap();
                    (shard.tokens().unwrap(), shard.predictions().unwrap().unwrap())
                };
                let mut first = 0;
                for (row_group, lengths) in row_groups.iter().enumerate() {
                    let rows = groups.next().unwrap().unwrap();
                    let count: u32 = lengths.iter().sum();
                    let written =
                        bits(&settings(dtype, Codec::PLANES), shard, &two_sites()[0], row_group, count.into());
                    assert_eq!(rows.activations(), &Activations::of_bits(dtype, &written));
                    let mut widened = vec![0.0; rows.len() * rows.d_model()];
                    dtype.widen(&written, &mut widened);
                    assert_eq!(rows.f32().as_ref(), widened);
                    assert_eq!((rows.shard(), rows.bf16().is_some()), (shard, dtype == Dtype::Bf16));
                    let range = first..first + rows.len();
                    assert_eq!(rows.token(), &tokens.token[range.clone()]);
                    assert_eq!(rows.subset(), &tokens.subset[range.clone()]);
                    for (row, place) in rows.rows().zip(range.clone()) {
                        assert_eq!((row.sequence, row.position), (tokens.sequence[place], tokens.position[place]));
                        let loss = predictions.loss[place];
                        assert_eq!(row.loss.map(f32::to_bits), (!loss.is_nan()).then_some(loss.to_bits()));
                    }
                    assert_eq!(rows.row(rows.len()), None);
                    first = range.end;
                }
            }
            assert!(groups.next().is_none() && groups.next().is_none());
        }
    }

    #[test]
    fn a_sequence_is_found_by_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), Dtype::Bf16, Codec::RAW);
        let site = cache.site("blocks.3.hook_resid_post").unwrap();
        let all: Vec<Rows> = site.row_groups().collect::<Result<_>>().unwrap();
        for rows in &all {
            let (values, d_model) = (rows.f32(), rows.d_model());
            for sequence in rows.sequence().chunk_by(|one, next| one == next) {
                let found = site.sequence(sequence[0]).unwrap().unwrap();
                let first = rows.sequence().iter().position(|id| *id == sequence[0]).unwrap();
                assert_eq!(found.len(), sequence.len());
                assert_eq!(found.f32().as_ref(), &values[first * d_model..(first + found.len()) * d_model]);
                assert_eq!(found.rows().next(), rows.row(first));
            }
        }
        assert!(site.sequence(1 << 40).unwrap().is_none());
    }

    #[test]
    fn a_record_batch_has_the_same_rows() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), Dtype::Bf16, Codec::PLANES);
        let rows = cache.site("blocks.3.hook_resid_pre").unwrap().row_groups().next().unwrap().unwrap();
        let batch = rows.record_batch().unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap();
        assert_eq!(batch.num_rows(), rows.len());
        assert_eq!(column("token").as_primitive::<UInt32Type>().values(), rows.token());
        let ends = rows.rows().filter(|row| row.loss.is_none()).count();
        assert_eq!(column("loss").null_count(), ends);
        let activation = column("activation").as_fixed_size_list();
        assert_eq!(activation.value_length() as usize, rows.d_model());
        assert_eq!(activation.values().as_primitive::<Float32Type>().values(), rows.f32().as_ref());
    }

    #[test]
    fn an_unknown_site_is_refused_and_damage_ends_the_iteration() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), Dtype::Bf16, Codec::RAW);
        assert!(matches!(cache.site("blocks.9.hook_resid_pre"), Err(StoreError::UnknownSite { .. })));
        assert!(matches!(cache.site("../x"), Err(StoreError::Invalid { .. })));
        let path = folder.path().join("shards/00001/blocks.3.hook_resid_pre.parquet");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let read: Vec<bool> =
            cache.site("blocks.3.hook_resid_pre").unwrap().row_groups().map(|rows| rows.is_ok()).collect();
        assert_eq!(read, [true, true, false]);
    }
}
