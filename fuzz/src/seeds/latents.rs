//! Latents of an SAE that was given no tokens, with neighbours; examples; explanations in each form.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::{Float32Type, UInt32Type};
use arrow_array::{ArrayRef, Float32Array, ListArray, RecordBatch, StringArray, UInt32Array, UInt64Array};
use hayloft_latents::{
    AblationSums, Additions, GroupNumbers, LATENTS, LatentsFile, LogitTokens, OptionalColumns, Statistics,
    StatisticsSettings, WholeFile,
};
use parquet::arrow::ArrowWriter;

use super::Seed;

const SAE: &str = "base";
const WIDTH: usize = 3;

const JSON_LINES: &str =
    "{\"latent\": 0, \"explanation\": \"hay\", \"sae\": \"base\", \"author\": \"me\", \"score\": 0.5}\n";
const CSV: &str = "latent,explanation,score\n1,\"hay, dry\",0.25\n2,straw,\n";
const NEURONPEDIA: &str = r#"[{"modelId": "m", "layer": "7-res", "index": "2", "description": "hay", "explanationModelName": "gpt", "typeName": "t"}]"#;

/// Writes the file of latents.
pub(crate) fn write_latents(folder: &Path) {
    let settings = StatisticsSettings {
        width: WIDTH,
        top: 1,
        sampled: 1,
        cofiring: 1,
        with_examples: None,
        window: 1,
        tokens: 0,
        seed: 0,
    };
    let own = Statistics::new(settings).finish(&GroupNumbers::default()).finish();
    let has = OptionalColumns { logits: true, ablation: true };
    let mut file = LatentsFile::create(&folder.join(LATENTS), has, "{}").expect("a file");
    let beside = Additions {
        nearest: vec![vec![(1, 0.5), (2, -0.25)]; WIDTH],
        logits: vec![LogitTokens { raised: vec![(7, 1.5)], lowered: vec![(5, -2.0)] }; WIDTH],
        ablations: [(1, AblationSums { tokens: 2, ce_deltas: 0.5 })].into(),
    };
    let text = |token| (token == 7).then(|| "Ġhay".to_owned());
    file.write(SAE, &own, &beside, text).expect("rows");
    file.finish().and_then(WholeFile::place).expect("the file");
}

fn latents() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    write_latents(folder.path());
    fs::read(folder.path().join(LATENTS)).expect("the file")
}

fn examples() -> Vec<u8> {
    let numbers = |number: u32| -> ArrayRef { Arc::new(UInt32Array::from(vec![number; 2])) };
    let tokens = ListArray::from_iter_primitive::<UInt32Type, _, _>(vec![Some([5, 6].map(Some)); 2]);
    let activations = ListArray::from_iter_primitive::<Float32Type, _, _>(vec![Some([Some(2.5), None]); 2]);
    let mut texts = ListBuilder::new(StringBuilder::new());
    (0..2).for_each(|_| texts.append_value([Some("Ġhay"), Some("Ċ")]));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("sae", Arc::new(StringArray::from(vec![SAE; 2]))),
        ("latent", numbers(1)),
        ("kind", Arc::new(StringArray::from(vec!["top", "sampled"]))),
        ("rank", numbers(0)),
        ("activation", Arc::new(Float32Array::from(vec![2.5; 2]))),
        ("sequence", Arc::new(UInt64Array::from(vec![7; 2]))),
        ("position", numbers(3)),
        ("subset", Arc::new(StringArray::from(vec![Some("Books"), None]))),
        ("first_position", numbers(3)),
        ("tokens", Arc::new(tokens)),
        ("activations", Arc::new(activations)),
        ("texts", Arc::new(texts.finish())),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("a batch");
    writer.close().expect("a footer");
    bytes
}

pub(super) fn seeds() -> Vec<Seed> {
    vec![
        ("latents", "no-tokens".to_owned(), latents()),
        ("examples", "two".to_owned(), examples()),
        ("explanations", "lines".to_owned(), JSON_LINES.into()),
        ("explanations", "csv".to_owned(), CSV.into()),
        ("explanations", "neuronpedia".to_owned(), NEURONPEDIA.into()),
    ]
}
