//! `examples.parquet`: firings of latents with their contexts.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, StringArray, UInt32Array, UInt64Array};
use arrow_schema::{ArrowError, DataType, Field};

use super::table::{TableFile, WholeFile, element, field, list_of, lists, nullable};
use crate::error::LatentsError;
use crate::examples::{Activation, Example};

/// `examples.parquet`, in the making: a row for each example of each latent of each SAE.
#[derive(Debug)]
pub struct ExamplesFile {
    file: TableFile,
    has_texts: bool,
}

/// Why a firing is an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExampleKind {
    /// It is among the largest.
    Top,
    /// It is in the sample.
    Sampled,
}

/// What is around an example.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Context {
    /// The document of the example's token.
    pub document: u64,
    /// The token's section.
    pub section: &'static str,
    /// The token's subset of the corpus.
    pub subset: Option<Arc<str>>,
    /// The token's turn, where conversations have turns.
    pub turn: Option<u32>,
    /// Position of the first token in the sequence.
    pub first: u32,
    /// The tokens of the window.
    pub tokens: Vec<u32>,
}

/// A row of the file.
#[derive(Debug)]
pub struct ExampleRow<'run> {
    /// The latent.
    pub latent: u32,
    /// Why it is an example.
    pub kind: ExampleKind,
    /// Its place among the latent's examples of this kind, from 0.
    pub rank: u32,
    /// The firing.
    pub example: &'run Example,
    /// The tokens around it.
    pub context: &'run Context,
}

impl fmt::Display for ExampleKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Top => "top",
            Self::Sampled => "sampled",
        })
    }
}

impl ExamplesFile {
    /// Begins the file. Creates its folder. `about` is JSON that says how the file was made.
    pub fn create(path: &Path, has_texts: bool, about: &str) -> Result<Self, LatentsError> {
        let mut fields = vec![
            field("sae", DataType::Utf8),
            field("latent", DataType::UInt32),
            field("kind", DataType::Utf8),
            field("rank", DataType::UInt32),
            field("activation", DataType::Float32),
            field("sequence", DataType::UInt64),
            field("position", DataType::UInt32),
            field("token", DataType::UInt32),
            field("section", DataType::Utf8),
            field("document", DataType::UInt64),
            nullable("subset", DataType::Utf8),
            nullable("turn", DataType::UInt32),
            field("first_position", DataType::UInt32),
            field("tokens", list_of(element(DataType::UInt32))),
            field("activations", list_of(activation_element())),
        ];
        if has_texts {
            fields.push(field("texts", list_of(element(DataType::Utf8))));
        }
        Ok(Self { file: TableFile::create(path, fields, about)?, has_texts })
    }

    /// Adds examples of an SAE. `text` is that of a token; it is asked for only if the file has texts.
    pub fn write(
        &mut self,
        sae: &str,
        rows: &[ExampleRow<'_>],
        text: impl Fn(u32) -> String + Sync,
    ) -> Result<(), LatentsError> {
        let has_texts = self.has_texts;
        self.file.write(rows.len(), |some| {
            let rows = &rows[some];
            let mut columns = columns(sae, rows)?;
            if has_texts {
                let texts = rows.iter().flat_map(|row| row.context.tokens.iter().map(|token| text(*token)));
                let texts = Arc::new(StringArray::from_iter_values(texts));
                columns.push(lists(element(DataType::Utf8), lengths(rows), texts)?);
            }
            Ok(columns)
        })
    }

    /// Ends the file, which is then to be placed.
    pub fn finish(self) -> Result<WholeFile, LatentsError> {
        self.file.finish()
    }
}

impl ExampleRow<'_> {
    /// The latent's activation at each token of the context; `None` where the SAE does not read the token.
    fn activations(&self) -> impl Iterator<Item = Option<f32>> {
        let mut known = self.example.around.iter().peekable();
        (self.context.first..).zip(&self.context.tokens).map(move |(position, _)| {
            if position == self.example.at.position {
                return Some(self.example.at.value);
            }
            match known.next_if(|own| own.position == position) {
                Some(Activation { value, .. }) => Some(*value).filter(|value| !value.is_nan()),
                None => Some(0.0),
            }
        })
    }
}

/// The token at which the example fires.
fn token(row: &ExampleRow<'_>) -> u32 {
    let place = row.example.at.position.checked_sub(row.context.first);
    place.and_then(|place| row.context.tokens.get(place as usize)).copied().unwrap_or_default()
}

fn activation_element() -> Field {
    nullable("element", DataType::Float32)
}

fn lengths<'rows>(rows: &'rows [ExampleRow<'_>]) -> impl Iterator<Item = usize> + 'rows {
    rows.iter().map(|row| row.context.tokens.len())
}

fn columns(sae: &str, rows: &[ExampleRow<'_>]) -> Result<Vec<ArrayRef>, ArrowError> {
    let numbers = |number: fn(&ExampleRow<'_>) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(number)))
    };
    let large_numbers = |number: fn(&ExampleRow<'_>) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(number)))
    };
    let tokens = UInt32Array::from_iter_values(rows.iter().flat_map(|row| row.context.tokens.iter().copied()));
    let activations: Float32Array = rows.iter().flat_map(ExampleRow::activations).collect();
    Ok(vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|_| sae))),
        numbers(|row| row.latent),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.kind.to_string()))),
        numbers(|row| row.rank),
        Arc::new(Float32Array::from_iter_values(rows.iter().map(|row| row.example.at.value))),
        large_numbers(|row| row.example.sequence),
        numbers(|row| row.example.at.position),
        numbers(token),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.context.section))),
        large_numbers(|row| row.context.document),
        Arc::new(rows.iter().map(|row| row.context.subset.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.context.turn).collect::<UInt32Array>()),
        numbers(|row| row.context.first),
        lists(element(DataType::UInt32), lengths(rows), Arc::new(tokens))?,
        lists(activation_element(), lengths(rows), Arc::new(activations))?,
    ])
}
