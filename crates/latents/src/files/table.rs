//! A Parquet file that appears at its path only when it is whole.

use std::fs::Permissions;
use std::io;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriter, ArrowWriterOptions, compute_leaves,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use rayon::prelude::*;
use tempfile::NamedTempFile;

use crate::error::LatentsError;

/// Rows of a row group.
const ROW_GROUP_ROWS: usize = 8192;

/// The recorded writer. It has no version, so that a new release writes the same bytes.
const CREATED_BY: &str = "hayloft";

/// Key of the record of how a file was made, in the file's metadata.
pub(super) const KEY: &str = "hayloft.latents";

/// A file in the making.
#[derive(Debug)]
pub(super) struct TableFile {
    path: PathBuf,
    writer: SerializedFileWriter<NamedTempFile>,
    encoders: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
}

/// A whole file that is not at its path yet.
#[must_use = "it is gone if it is not placed"]
#[derive(Debug)]
pub struct WholeFile {
    path: PathBuf,
    file: NamedTempFile,
}

impl WholeFile {
    /// Moves the file to its path.
    pub fn place(self) -> Result<(), LatentsError> {
        let Self { path, file } = self;
        match file.persist(&path) {
            Ok(_) => Ok(()),
            Err(error) => Err(LatentsError::Write { path, cause: error.error }),
        }
    }
}

impl TableFile {
    /// Begins a file. Creates its folder. `about` is JSON that says how the file was made.
    pub(super) fn create(path: &Path, fields: Vec<Field>, about: &str) -> Result<Self, LatentsError> {
        let mut properties = WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_dictionary_enabled(false)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_key_value_metadata(Some(vec![KeyValue::new(KEY.to_owned(), about.to_owned())]));
        for texts in fields.iter().flat_map(texts_of) {
            properties = properties.set_column_dictionary_enabled(texts, true);
        }
        let schema = Arc::new(Schema::new(fields));
        // Without the Arrow schema in the footer, the file is plain Parquet.
        let options = ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
        let begin = || {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            std::fs::create_dir_all(folder)?;
            // The usual permissions, less the umask: these files are shared.
            let permissions = Permissions::from_mode(0o666);
            let file =
                tempfile::Builder::new().prefix(".").suffix(".partial").permissions(permissions).tempfile_in(folder)?;
            let writer = ArrowWriter::try_new_with_options(file, Arc::clone(&schema), options);
            writer.and_then(ArrowWriter::into_serialized_writer).map_err(io::Error::other)
        };
        let (writer, encoders) = begin().map_err(|cause| LatentsError::Write { path: path.to_path_buf(), cause })?;
        Ok(Self { path: path.to_path_buf(), writer, encoders, schema })
    }

    /// Adds so many rows, in row groups that all threads encode. `columns` makes those of a range of the rows.
    pub(super) fn write(
        &mut self,
        rows: usize,
        columns: impl Fn(Range<usize>) -> Result<Vec<ArrayRef>, ArrowError> + Sync,
    ) -> Result<(), LatentsError> {
        let group = |first| first..rows.min(first + ROW_GROUP_ROWS);
        let groups: Vec<Range<usize>> = (0..rows).step_by(ROW_GROUP_ROWS).map(group).collect();
        // No more are in memory than there are threads.
        for some in groups.chunks(rayon::current_num_threads()) {
            let encoded = some.par_iter().map(|rows| self.encoded(columns(rows.clone())?)).collect();
            self.append(encoded).map_err(|cause| LatentsError::Write { path: self.path.clone(), cause })?;
        }
        Ok(())
    }

    /// The columns of a row group.
    fn encoded(&self, columns: Vec<ArrayRef>) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        // The number of the row group is for encryption alone.
        let mut encoders = self.encoders.create_column_writers(0)?;
        let mut next = encoders.iter_mut();
        for (field, column) in self.schema.fields().iter().zip(batch.columns()) {
            for (leaf, encoder) in compute_leaves(field, column)?.iter().zip(&mut next) {
                encoder.write(leaf)?;
            }
        }
        encoders.into_iter().map(ArrowColumnWriter::close).collect()
    }

    fn append(&mut self, groups: Result<Vec<Vec<ArrowColumnChunk>>, ParquetError>) -> io::Result<()> {
        for columns in groups? {
            let mut group = self.writer.next_row_group()?;
            columns.into_iter().try_for_each(|column| column.append_to_row_group(&mut group))?;
            group.close()?;
        }
        Ok(())
    }

    /// Ends the file.
    pub(super) fn finish(self) -> Result<WholeFile, LatentsError> {
        let Self { path, writer, .. } = self;
        let end = || {
            let file = writer.into_inner().map_err(io::Error::other)?;
            file.as_file().sync_all()?;
            Ok(file)
        };
        match end() {
            Ok(file) => Ok(WholeFile { path, file }),
            Err(cause) => Err(LatentsError::Write { path, cause }),
        }
    }
}

/// The columns of texts in a field: few distinct ones, which are dictionary-encoded.
fn texts_of(field: &Field) -> Vec<ColumnPath> {
    let path = |parts: &[&str]| ColumnPath::new(parts.iter().map(|&part| part.to_owned()).collect());
    match field.data_type() {
        DataType::Utf8 => vec![path(&[field.name()])],
        DataType::List(element) => match element.data_type() {
            DataType::Utf8 => vec![path(&[field.name(), "list", element.name()])],
            DataType::Struct(fields) => {
                let texts = fields.iter().filter(|own| *own.data_type() == DataType::Utf8);
                texts.map(|own| path(&[field.name(), "list", element.name(), own.name()])).collect()
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

pub(super) fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

pub(super) fn nullable(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// The field of a list's elements, with the name that the Parquet specification gives it.
pub(super) fn element(data_type: DataType) -> Field {
    field("element", data_type)
}

pub(super) fn list_of(element: Field) -> DataType {
    DataType::List(Arc::new(element))
}

pub(super) fn list_of_structs(fields: &[Field]) -> DataType {
    list_of(element(DataType::Struct(Fields::from(fields.to_vec()))))
}

/// Lists of these lengths, one after the other, of `values`.
pub(super) fn lists(
    element: Field,
    lengths: impl IntoIterator<Item = usize>,
    values: ArrayRef,
) -> Result<ArrayRef, ArrowError> {
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(Arc::new(element), offsets, values, None)?))
}

/// Lists of structs, whose fields are `values`.
pub(super) fn struct_lists(
    fields: &[Field],
    lengths: impl IntoIterator<Item = usize>,
    values: Vec<ArrayRef>,
) -> Result<ArrayRef, ArrowError> {
    let structs = StructArray::try_new(Fields::from(fields.to_vec()), values, None)?;
    lists(element(structs.data_type().clone()), lengths, Arc::new(structs))
}
