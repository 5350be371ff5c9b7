//! Reads `examples.parquet`.

use std::path::Path;
use std::sync::Arc;

use arrow_array::types::Float32Type;
use arrow_array::{Array, Float32Array, StringArray, UInt32Array, UInt64Array};

use super::examples::ExampleKind;
use super::reader::{Columns, RowBatches, TableReader};
use crate::error::LatentsError;

const COLUMNS: [&str; 16] = [
    "sae",
    "latent",
    "kind",
    "rank",
    "activation",
    "sequence",
    "position",
    "token",
    "section",
    "document",
    "subset",
    "turn",
    "first_position",
    "tokens",
    "activations",
    "texts",
];

/// `examples.parquet`, being read.
#[derive(Debug)]
pub struct ExamplesReader {
    batches: RowBatches,
    /// A few rows, and how many of them are read.
    at: Option<(Columns, usize)>,
    last_sae: Arc<str>,
    rows: u64,
    has_texts: bool,
    about: Option<String>,
}

/// A row of `examples.parquet`.
#[derive(Debug, Clone)]
pub struct ExampleRecord {
    /// The SAE's name.
    pub sae: Arc<str>,
    /// The latent.
    pub latent: u32,
    /// Why it is an example.
    pub kind: ExampleKind,
    /// Its place among the latent's examples of this kind, from 0.
    pub rank: u32,
    /// The activation.
    pub activation: f32,
    /// The sequence in which it fires.
    pub sequence: u64,
    /// The position in it.
    pub position: u32,
    /// The token's section; `None` without the column.
    pub section: Option<String>,
    /// The token's document; `None` without the column.
    pub document: Option<u64>,
    /// The token's subset of the corpus.
    pub subset: Option<String>,
    /// The token's turn, where conversations have turns.
    pub turn: Option<u32>,
    /// Position of the context's first token.
    pub first_position: u32,
    tokens: UInt32Array,
    activations: Float32Array,
    texts: Option<StringArray>,
}

impl ExampleRecord {
    /// Ids of the context's tokens.
    pub fn tokens(&self) -> &[u32] {
        self.tokens.values()
    }

    /// The latent's activation at a token of the context, by its place; `None` where the SAE did not read it.
    pub fn activation_at(&self, place: usize) -> Option<f32> {
        self.activations.is_valid(place).then(|| self.activations.value(place))
    }

    /// A token of the context in the spelling of the vocabulary, by its place; `None` in a file without texts.
    pub fn text_at(&self, place: usize) -> Option<&str> {
        self.texts.as_ref().map(|texts| texts.value(place))
    }

    /// The place of the example in its context.
    pub fn place(&self) -> usize {
        (self.position - self.first_position) as usize
    }
}

impl ExamplesReader {
    /// Reads the footer.
    pub fn open(path: &Path) -> Result<Self, LatentsError> {
        let table = TableReader::open(path)?;
        let batches = table.batches(&COLUMNS)?;
        let (rows, has_texts, about) = (table.rows(), table.has("texts"), table.about().map(str::to_owned));
        Ok(Self { batches, at: None, last_sae: "".into(), rows, has_texts, about })
    }

    /// The JSON that says how the file was made; `None` where a tool that wrote it again left it out. `latents.parquet` of the
    /// same run has the same.
    pub fn about(&self) -> Option<&str> {
        self.about.as_deref()
    }

    /// Rows of the file.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether the file has the texts of tokens.
    pub fn has_texts(&self) -> bool {
        self.has_texts
    }
}

impl Iterator for ExamplesReader {
    type Item = Result<ExampleRecord, LatentsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self { batches, at, last_sae, .. } = self;
        let row = batches.next_row(at).transpose()?;
        Some(row.and_then(|(columns, row)| record(columns, row, last_sae)))
    }
}

fn record(columns: &Columns, row: usize, last_sae: &mut Arc<str>) -> Result<ExampleRecord, LatentsError> {
    let number = |name: &str| Ok(columns.full::<UInt32Array>(name)?.value(row));
    let sae = columns.full::<StringArray>("sae")?.value(row);
    if &**last_sae != sae {
        *last_sae = sae.into();
    }
    let kind = match columns.full::<StringArray>("kind")?.value(row) {
        "top" => ExampleKind::Top,
        "sampled" => ExampleKind::Sampled,
        other => return Err(columns.wrong(row, "`kind` of top or sampled", other)),
    };
    let need = |name: &str| columns.wrong(row, format!("a list in `{name}`"), "none");
    let tokens: UInt32Array = columns.list("tokens", row)?.ok_or_else(|| need("tokens"))?;
    let activations: Float32Array = columns.list("activations", row)?.ok_or_else(|| need("activations"))?;
    let texts: Option<StringArray> = columns.list("texts", row)?;
    for (name, length, nulls) in [
        ("tokens", tokens.len(), tokens.null_count()),
        ("activations", activations.len(), 0),
        ("texts", texts.as_ref().map_or(tokens.len(), StringArray::len), texts.as_ref().map_or(0, Array::null_count)),
    ] {
        if length != tokens.len() || nulls > 0 {
            let expected = format!("{} values in `{name}`, one a token", tokens.len());
            return Err(columns.wrong(row, expected, format!("{length}, of which {nulls} are null,")));
        }
    }
    if let Some(value) = activations.iter().flatten().find(|value| !value.is_finite()) {
        return Err(columns.wrong(row, "finite `activations`", value));
    }
    let (position, first_position) = (number("position")?, number("first_position")?);
    if position.checked_sub(first_position).is_none_or(|place| place as usize >= tokens.len()) {
        let expected = format!("`position` among {} tokens from `first_position` {first_position}", tokens.len());
        return Err(columns.wrong(row, expected, position));
    }
    let activation = columns.figure::<Float32Type>("activation", row)?;
    let document = columns.column::<UInt64Array>("document")?.filter(|array| array.is_valid(row));
    Ok(ExampleRecord {
        sae: Arc::clone(last_sae),
        latent: number("latent")?,
        kind,
        rank: number("rank")?,
        activation: activation.ok_or_else(|| columns.wrong(row, "a number in `activation`", "none"))?,
        sequence: columns.count("sequence", row)?,
        position,
        section: columns.text("section", row)?.map(str::to_owned),
        document: document.map(|array| columns.exact("document", row, array.value(row))).transpose()?,
        subset: columns.text("subset", row)?.map(str::to_owned),
        turn: columns.column::<UInt32Array>("turn")?.filter(|array| array.is_valid(row)).map(|own| own.value(row)),
        first_position,
        tokens,
        activations,
        texts,
    })
}
