//! Files of others, read or refused.

use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::{Float32Type, UInt32Type, UInt64Type};
use arrow_array::{
    ArrayRef, Float32Array, Float64Array, ListArray, RecordBatch, StringArray, StructArray, UInt32Array, UInt64Array,
};
use arrow_schema::{DataType, Fields};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use tempfile::tempdir;

use super::example_rows::{ExampleRecord, ExamplesReader};
use super::examples::ExampleKind;
use super::latent_rows::{Ablation, LatentRecord, LatentsReader};
use super::table::field;
use crate::error::LatentsError;

type Columns = Vec<(&'static str, ArrayRef)>;

/// The columns without which there is no row, of two SAEs.
fn columns() -> Columns {
    vec![
        ("sae", Arc::new(StringArray::from(vec!["base", "base", "chat"]))),
        ("latent", Arc::new(UInt32Array::from(vec![0, 1, 0]))),
        ("tokens", Arc::new(UInt64Array::from(vec![10, 10, 20]))),
        ("firings", Arc::new(UInt64Array::from(vec![4, 0, 20]))),
    ]
}

fn with(name: &'static str, array: ArrayRef) -> Columns {
    columns().into_iter().filter(|(own, _)| *own != name).chain([(name, array)]).collect()
}

/// Writes the columns as a writer with other settings does: numbers by a dictionary.
fn write(path: &Path, columns: Columns) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn read(columns: Columns) -> Result<Vec<LatentRecord>, LatentsError> {
    let folder = tempdir().unwrap();
    let path = folder.path().join("latents.parquet");
    write(&path, columns);
    LatentsReader::open(&path)?.records()?.collect()
}

fn refused(columns: Columns) -> String {
    read(columns).unwrap_err().to_string()
}

#[test]
fn a_file_of_the_needed_columns_is_read_and_the_others_are_missing() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("latents.parquet");
    write(&path, columns());
    let reader = LatentsReader::open(&path).unwrap();
    let saes: Vec<(&str, u32)> = reader.saes().iter().map(|own| (&*own.name, own.width)).collect();
    assert_eq!(saes, [("base", 2), ("chat", 1)]);
    assert!(reader.missing().contains(&"ablation") && reader.missing().contains(&"p50"), "{:?}", reader.missing());
    assert_eq!(reader.about(), None);
    let records: Vec<LatentRecord> = reader.records().unwrap().map(Result::unwrap).collect();
    assert_eq!(records.iter().map(|own| own.firings).collect::<Vec<_>>(), [4, 0, 20]);
    assert_eq!((records[0].mean, records[0].ablation, records[0].nearest.len()), (None, None, 0));
}

#[test]
fn ablations_are_undefined_where_null() {
    let tokens: ArrayRef = Arc::new(UInt64Array::from(vec![4, 0, 20]));
    let deltas: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 0.0, -0.25]));
    let fields = Fields::from(vec![field("tokens", DataType::UInt64), field("ce_delta", DataType::Float64)]);
    let own = StructArray::new(fields, vec![tokens, deltas], Some(vec![true, false, true].into()));
    let read = read(with("ablation", Arc::new(own))).unwrap();
    let found: Vec<Option<Ablation>> = read.iter().map(|own| own.ablation).collect();
    let expected = |tokens, ce_delta| Some(Ablation { tokens, ce_delta });
    assert_eq!(found, [expected(4, 0.5), None, expected(20, -0.25)]);
}

#[test]
fn files_of_others_are_refused_with_what_is_wrong() {
    let numbers = |numbers: Vec<u32>| -> ArrayRef { Arc::new(UInt32Array::from(numbers)) };
    let counts = |counts: Vec<u64>| -> ArrayRef { Arc::new(UInt64Array::from(counts)) };
    let names = |names: [&str; 3]| -> ArrayRef { Arc::new(StringArray::from(names.to_vec())) };
    for (columns, words) in [
        (columns()[..3].to_vec(), "expected a column `firings`"),
        (with("latent", numbers(vec![0, 2, 0])), "expected latent 1 of base, in order, got latent 2 in row 1"),
        (with("latent", numbers(vec![0, 1, 3])), "together, from 0 on, got latent 3 of chat in row 2"),
        (with("sae", names(["base", "chat", "base"])), "got latent 1 of chat in row 1"),
        (with("firings", counts(vec![4, 11, 3])), "expected at most 10 firings, got 11 in row 1"),
        (with("tokens", counts(vec![1 << 60, 10, 20])), "expected `tokens` of at most 9007199254740992"),
        (with("tokens", numbers(vec![10, 10, 20])), "got `tokens` of UInt32"),
        (
            with("mean", Arc::new(Float64Array::from(vec![Some(f64::NAN), None, None]))),
            "a finite `mean`, got NaN in row 0",
        ),
        (
            with("nearest", Arc::new(ListArray::from_iter_primitive::<UInt64Type, _, _>(vec![Some([Some(1)]); 3]))),
            "got `nearest` of UInt64",
        ),
    ] {
        let message = refused(columns);
        assert!(message.contains(words), "{words}: {message}");
    }
    let folder = tempdir().unwrap();
    let path = folder.path().join("latents.parquet");
    let message = LatentsReader::open(&path).unwrap_err().to_string();
    assert!(message.contains("cannot read") && message.contains("evaluate latents --out"), "{message}");
    for bytes in [&b""[..], b"PAR1PAR1", &[0; 100]] {
        std::fs::write(&path, bytes).unwrap();
        let message = LatentsReader::open(&path).unwrap_err().to_string();
        assert!(message.contains("expected a Parquet file as `evaluate latents` writes it"), "{message}");
    }
    assert!(LatentsReader::open(folder.path()).unwrap_err().to_string().contains("it is not a file"));
}

/// Two examples of a latent: `<script>` and two other tokens, at the second of which it fires.
fn examples() -> Columns {
    let numbers = |number: u32| -> ArrayRef { Arc::new(UInt32Array::from(vec![number; 2])) };
    let tokens = ListArray::from_iter_primitive::<UInt32Type, _, _>(vec![Some([5, 6, 5].map(Some)); 2]);
    let activations = ListArray::from_iter_primitive::<Float32Type, _, _>(vec![Some([Some(0.0), Some(2.5), None]); 2]);
    vec![
        ("sae", Arc::new(StringArray::from(vec!["base"; 2]))),
        ("latent", numbers(1)),
        ("kind", Arc::new(StringArray::from(vec!["top", "sampled"]))),
        ("rank", numbers(0)),
        ("activation", Arc::new(Float32Array::from(vec![2.5; 2]))),
        ("sequence", Arc::new(UInt64Array::from(vec![7; 2]))),
        ("position", numbers(3)),
        ("first_position", numbers(2)),
        ("subset", Arc::new(StringArray::from(vec![Some("wiki"), None]))),
        ("tokens", Arc::new(tokens)),
        ("activations", Arc::new(activations)),
        ("texts", texts(["<script>", "a", "<script>"])),
    ]
}

fn texts<const N: usize>(own: [&str; N]) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for _ in 0..2 {
        builder.append_value(own.map(Some));
    }
    Arc::new(builder.finish())
}

fn read_examples(columns: Columns) -> Result<Vec<ExampleRecord>, LatentsError> {
    let folder = tempdir().unwrap();
    let path = folder.path().join("examples.parquet");
    write(&path, columns);
    let reader = ExamplesReader::open(&path)?;
    assert!(reader.has_texts() && reader.rows() == 2);
    reader.collect()
}

#[test]
fn examples_are_read_with_their_contexts() {
    let read = read_examples(examples()).unwrap();
    assert_eq!((read[0].kind, read[1].kind), (ExampleKind::Top, ExampleKind::Sampled));
    assert_eq!((read[0].subset.as_deref(), read[1].subset.as_deref()), (Some("wiki"), None));
    let own = &read[0];
    assert_eq!((&*own.sae, own.latent, own.sequence, own.position, own.place()), ("base", 1, 7, 3, 1));
    assert_eq!((own.tokens(), own.text_at(2), own.document), (&[5, 6, 5][..], Some("<script>"), None));
    let activations: Vec<Option<f32>> = (0..3).map(|place| own.activation_at(place)).collect();
    assert_eq!(activations, [Some(0.0), Some(2.5), None]);
}

#[test]
fn examples_of_others_are_refused() {
    let with = |name: &'static str, array: ArrayRef| -> Columns {
        examples().into_iter().map(|(own, old)| (own, if own == name { Arc::clone(&array) } else { old })).collect()
    };
    let positions: ArrayRef = Arc::new(UInt32Array::from(vec![3, 5]));
    let kinds: ArrayRef = Arc::new(StringArray::from(vec!["top", "low"]));
    let activations = ListArray::from_iter_primitive::<Float32Type, _, _>(vec![Some([Some(f32::INFINITY); 3]); 2]);
    for (columns, words) in [
        (with("position", positions), "expected `position` among 3 tokens from `first_position` 2, got 5 in row 1"),
        (with("kind", kinds), "expected `kind` of top or sampled, got low in row 1"),
        (with("texts", texts(["a", "b"])), "expected 3 values in `texts`, one a token, got 2"),
        (with("activations", Arc::new(activations)), "expected finite `activations`, got inf in row 0"),
    ] {
        let message = read_examples(columns).unwrap_err().to_string();
        assert!(message.contains(words), "{words}: {message}");
    }
}
