//! `latents.parquet`: statistics of latents.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Float64Array, StringArray, StructArray, UInt32Array, UInt64Array};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, DataType, Field, Fields};
use serde::{Deserialize, Serialize};

use super::table::{TableFile, WholeFile, field, list_of_structs, nullable, struct_lists};
use crate::error::LatentsError;
use crate::groups::Group;
use crate::histogram::Bin;
use crate::statistics::{GroupTokens, Latent, SaeLatents};

/// Columns of effects on logits.
const LOGITS: [&str; 2] = ["logits_raised", "logits_lowered"];

/// Name of the file of latents.
pub const LATENTS: &str = "latents.parquet";

/// Name of the file of examples.
pub const EXAMPLES: &str = "examples.parquet";

/// Columns of quantiles of activations above zero.
pub const QUANTILES: [(&str, f64); 6] =
    [("p10", 0.1), ("p25", 0.25), ("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p99", 0.99)];

/// `latents.parquet`, in the making: a row for each latent of each SAE.
#[derive(Debug)]
pub struct LatentsFile {
    file: TableFile,
    has: OptionalColumns,
}

/// Which columns a file has beside those of statistics.
#[derive(Debug, Clone, Copy, Default)]
pub struct OptionalColumns {
    /// Effects on logits.
    pub logits: bool,
    /// Changes of the loss.
    pub ablation: bool,
}

/// The tokens whose logits a latent's decoder direction raises and lowers most, with the changes, the strongest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogitTokens {
    /// Tokens with the largest changes.
    pub raised: Vec<(u32, f32)>,
    /// Tokens with the smallest changes.
    pub lowered: Vec<(u32, f32)>,
}

/// How the model's next-token loss changes where a latent fires, if its contribution is taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct AblationSums {
    /// Tokens at which it fires and that have a next token.
    pub tokens: u64,
    /// Sum of the changes at these tokens, in nats.
    pub ce_deltas: f64,
}

/// What the file has of latents beside their statistics.
#[derive(Debug, Default)]
pub struct Additions {
    /// For each latent, others and the cosines of their decoder directions, the largest first.
    pub nearest: Vec<Vec<(u32, f32)>>,
    /// For each latent, its effects on logits; empty if the file has none.
    pub logits: Vec<LogitTokens>,
    /// The latents that were ablated.
    pub ablations: BTreeMap<u32, AblationSums>,
}

impl LatentsFile {
    /// Begins the file. Creates its folder. `about` is JSON that says how the file was made.
    pub fn create(path: &Path, has: OptionalColumns, about: &str) -> Result<Self, LatentsError> {
        let mut fields = vec![
            field("sae", DataType::Utf8),
            field("latent", DataType::UInt32),
            field("tokens", DataType::UInt64),
            field("firings", DataType::UInt64),
            nullable("density", DataType::Float64),
            nullable("mean", DataType::Float64),
            nullable("max", DataType::Float32),
        ];
        fields.extend(QUANTILES.map(|(name, _)| nullable(name, DataType::Float64)));
        fields.extend([
            field("histogram", list_of_structs(&bin_fields())),
            field("sections", list_of_structs(&group_fields(section_field()))),
            field("subsets", list_of_structs(&group_fields(subset_field()))),
            field("turns", list_of_structs(&group_fields(turn_field()))),
            field("nearest", list_of_structs(&nearest_fields())),
            field("cofiring", list_of_structs(&cofiring_fields())),
        ]);
        if has.logits {
            fields.extend(LOGITS.map(|name| field(name, list_of_structs(&logit_fields()))));
        }
        if has.ablation {
            fields.push(nullable("ablation", DataType::Struct(Fields::from(ablation_fields().to_vec()))));
        }
        Ok(Self { file: TableFile::create(path, fields, about)?, has })
    }

    /// Adds the latents of an SAE. `text` is that of a token, if there are texts; it is asked for only if the file has
    /// effects on logits.
    pub fn write(
        &mut self,
        sae: &str,
        own: &SaeLatents,
        beside: &Additions,
        text: impl Fn(u32) -> Option<String> + Sync,
    ) -> Result<(), LatentsError> {
        let has = self.has;
        self.file.write(own.latents.len(), |some| {
            let mut columns = columns(sae, some.start, own, &own.latents[some.clone()], &beside.nearest[some.clone()])?;
            if has.logits {
                columns = with_logits(columns, &beside.logits[some.clone()], &text)?;
            }
            if has.ablation {
                let of_latent = |latent: usize| beside.ablations.get(&(latent as u32)).copied();
                columns = with_ablations(columns, &some.map(of_latent).collect::<Vec<_>>())?;
            }
            Ok(columns)
        })
    }

    /// Ends the file, which is then to be placed.
    pub fn finish(self) -> Result<WholeFile, LatentsError> {
        self.file.finish()
    }
}

fn bin_fields() -> [Field; 3] {
    [field("from", DataType::Float32), field("to", DataType::Float32), field("count", DataType::UInt64)]
}

fn section_field() -> Field {
    field("section", DataType::Utf8)
}

fn subset_field() -> Field {
    nullable("subset", DataType::Utf8)
}

fn turn_field() -> Field {
    field("turn", DataType::UInt32)
}

fn group_fields(name: Field) -> [Field; 4] {
    let count = |name| field(name, DataType::UInt64);
    [name, count("tokens"), count("firings"), nullable("density", DataType::Float64)]
}

fn nearest_fields() -> [Field; 2] {
    [field("latent", DataType::UInt32), field("cosine", DataType::Float32)]
}

fn cofiring_fields() -> [Field; 3] {
    [field("latent", DataType::UInt32), field("together", DataType::UInt64), field("jaccard", DataType::Float64)]
}

fn logit_fields() -> [Field; 3] {
    [field("token", DataType::UInt32), field("effect", DataType::Float32), nullable("text", DataType::Utf8)]
}

fn ablation_fields() -> [Field; 2] {
    [field("tokens", DataType::UInt64), nullable("ce_delta", DataType::Float64)]
}

/// The share of tokens at which a latent fires; undefined without tokens.
fn density(firings: u64, tokens: u64) -> Option<f64> {
    (tokens > 0).then(|| firings as f64 / tokens as f64)
}

/// Columns of some latents, the first of which has number `first`.
fn columns(
    sae: &str,
    first: usize,
    all: &SaeLatents,
    latents: &[Latent],
    nearest: &[Vec<(u32, f32)>],
) -> Result<Vec<ArrayRef>, ArrowError> {
    let tokens = all.tokens;
    let numbers = first as u32..(first + latents.len()) as u32;
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(latents.iter().map(|_| sae))),
        Arc::new(UInt32Array::from_iter_values(numbers)),
        Arc::new(UInt64Array::from_iter_values(latents.iter().map(|_| tokens))),
        Arc::new(UInt64Array::from_iter_values(latents.iter().map(|own| own.firings))),
        Arc::new(latents.iter().map(|own| density(own.firings, tokens)).collect::<Float64Array>()),
        Arc::new(latents.iter().map(|own| own.mean).collect::<Float64Array>()),
        Arc::new(latents.iter().map(|own| own.max).collect::<Float32Array>()),
    ];
    for (_, share) in QUANTILES {
        columns.push(Arc::new(latents.iter().map(|own| own.quantile(share)).collect::<Float64Array>()));
    }
    columns.push(histograms(latents)?);
    for kind in [Kind::Section, Kind::Subset, Kind::Turn] {
        columns.push(groups(kind, &all.groups, latents)?);
    }
    columns.push(nearest_lists(nearest)?);
    columns.push(cofiring_lists(latents)?);
    Ok(columns)
}

fn histograms(latents: &[Latent]) -> Result<ArrayRef, ArrowError> {
    let bins: Vec<Bin> = latents.iter().flat_map(|own| own.histogram.bins()).collect();
    let values: Vec<ArrayRef> = vec![
        Arc::new(Float32Array::from_iter_values(bins.iter().map(|bin| bin.from))),
        Arc::new(Float32Array::from_iter_values(bins.iter().map(|bin| bin.to))),
        Arc::new(UInt64Array::from_iter_values(bins.iter().map(|bin| bin.count))),
    ];
    struct_lists(&bin_fields(), latents.iter().map(|own| own.histogram.bins().count()), values)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Section,
    Subset,
    Turn,
}

impl Kind {
    fn of(group: &Group) -> Self {
        match group {
            Group::Section(_) => Self::Section,
            Group::Subset(_) => Self::Subset,
            Group::Turn(_) => Self::Turn,
        }
    }
}

/// The groups of one kind that have tokens, with each latent's firings in them.
fn groups(kind: Kind, groups: &[GroupTokens], latents: &[Latent]) -> Result<ArrayRef, ArrowError> {
    let own: Vec<(usize, &GroupTokens)> =
        groups.iter().enumerate().filter(|(_, own)| own.tokens > 0 && Kind::of(&own.group) == kind).collect();
    let each = || latents.iter().flat_map(|latent| own.iter().map(move |(place, own)| (latent.groups[*place], *own)));
    let (name, names): (Field, ArrayRef) = match kind {
        Kind::Section => (section_field(), Arc::new(each().map(|(_, own)| own.group.name()).collect::<StringArray>())),
        Kind::Subset => (subset_field(), Arc::new(each().map(|(_, own)| own.group.name()).collect::<StringArray>())),
        Kind::Turn => (turn_field(), Arc::new(each().map(|(_, own)| own.group.turn()).collect::<UInt32Array>())),
    };
    let values: Vec<ArrayRef> = vec![
        names,
        Arc::new(UInt64Array::from_iter_values(each().map(|(_, own)| own.tokens))),
        Arc::new(UInt64Array::from_iter_values(each().map(|(firings, _)| firings))),
        Arc::new(each().map(|(firings, own)| density(firings, own.tokens)).collect::<Float64Array>()),
    ];
    struct_lists(&group_fields(name), latents.iter().map(|_| own.len()), values)
}

fn nearest_lists(nearest: &[Vec<(u32, f32)>]) -> Result<ArrayRef, ArrowError> {
    let each = || nearest.iter().flatten();
    let values: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from_iter_values(each().map(|(latent, _)| *latent))),
        Arc::new(Float32Array::from_iter_values(each().map(|(_, cosine)| *cosine))),
    ];
    struct_lists(&nearest_fields(), nearest.iter().map(Vec::len), values)
}

fn with_logits(
    mut columns: Vec<ArrayRef>,
    effects: &[LogitTokens],
    text: &impl Fn(u32) -> Option<String>,
) -> Result<Vec<ArrayRef>, ArrowError> {
    let raised: Vec<&[(u32, f32)]> = effects.iter().map(|own| own.raised.as_slice()).collect();
    let lowered = effects.iter().map(|own| own.lowered.as_slice()).collect();
    for lists in [raised, lowered] {
        let each = || lists.iter().copied().flatten();
        let values: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from_iter_values(each().map(|(token, _)| *token))),
            Arc::new(Float32Array::from_iter_values(each().map(|(_, effect)| *effect))),
            Arc::new(each().map(|(token, _)| text(*token)).collect::<StringArray>()),
        ];
        columns.push(struct_lists(&logit_fields(), lists.iter().map(|own| own.len()), values)?);
    }
    Ok(columns)
}

fn with_ablations(mut columns: Vec<ArrayRef>, ablations: &[Option<AblationSums>]) -> Result<Vec<ArrayRef>, ArrowError> {
    let mean = |own: AblationSums| (own.tokens > 0).then(|| own.ce_deltas / own.tokens as f64);
    let values: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from_iter_values(ablations.iter().map(|own| own.map_or(0, |own| own.tokens)))),
        Arc::new(ablations.iter().map(|own| own.and_then(mean)).collect::<Float64Array>()),
    ];
    let are_there: NullBuffer = ablations.iter().map(Option::is_some).collect();
    columns.push(Arc::new(StructArray::try_new(Fields::from(ablation_fields().to_vec()), values, Some(are_there))?));
    Ok(columns)
}

fn cofiring_lists(latents: &[Latent]) -> Result<ArrayRef, ArrowError> {
    let each = || latents.iter().flat_map(|own| &own.cofiring);
    let values: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from_iter_values(each().map(|own| own.latent))),
        Arc::new(UInt64Array::from_iter_values(each().map(|own| own.together))),
        Arc::new(Float64Array::from_iter_values(each().map(|own| own.jaccard))),
    ];
    struct_lists(&cofiring_fields(), latents.iter().map(|own| own.cofiring.len()), values)
}
