//! Reads `latents.parquet`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::types::{Float32Type, Float64Type, UInt32Type, UInt64Type};
use arrow_array::{StringArray, UInt32Array};

use super::latents::QUANTILES;
use super::reader::{Columns, RowBatches, TableReader, malformed};
use crate::cofiring::CoFiring;
use crate::error::LatentsError;
use crate::histogram::Bin;

/// Columns without which a row says nothing.
const NEEDED: [&str; 4] = ["sae", "latent", "tokens", "firings"];

/// Columns that a file may lack, with those that only some passes write.
const OPTIONAL: [&str; 11] = [
    "mean",
    "max",
    "histogram",
    "sections",
    "subsets",
    "turns",
    "nearest",
    "cofiring",
    "logits_raised",
    "logits_lowered",
    "ablation",
];

/// `latents.parquet`, being read.
#[derive(Debug)]
pub struct LatentsReader {
    table: TableReader,
    saes: Vec<SaeRows>,
}

/// The rows of an SAE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaeRows {
    /// Its name.
    pub name: Arc<str>,
    /// Its latents.
    pub width: u32,
}

/// A row of `latents.parquet`. What the file has no column for is undefined or empty.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentRecord {
    /// The SAE's name.
    pub sae: Arc<str>,
    /// The latent's number.
    pub latent: u32,
    /// Tokens that count.
    pub tokens: u64,
    /// Tokens at which it fires.
    pub firings: u64,
    /// Mean activation where it fires.
    pub mean: Option<f64>,
    /// Largest activation.
    pub max: Option<f32>,
    /// [`QUANTILES`] of its activations.
    pub quantiles: [Option<f64>; QUANTILES.len()],
    /// Bins that are not empty.
    pub histogram: Vec<Bin>,
    /// Firings by section.
    pub sections: Vec<GroupRecord>,
    /// Firings by subset of the corpus.
    pub subsets: Vec<GroupRecord>,
    /// Firings by turn of the conversation.
    pub turns: Vec<GroupRecord>,
    /// Latents with the nearest decoder directions, and their cosines.
    pub nearest: Vec<(u32, f32)>,
    /// Latents that fire at the same tokens.
    pub cofiring: Vec<CoFiring>,
    /// Tokens whose logits the decoder direction raises most.
    pub logits_raised: Vec<LogitEffect>,
    /// Tokens whose logits it lowers most.
    pub logits_lowered: Vec<LogitEffect>,
    /// What the latent is worth to the model.
    pub ablation: Option<Ablation>,
}

/// Firings in a group of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecord {
    /// The section, the subset or the turn; `None` for tokens of no subset.
    pub name: Option<String>,
    /// Tokens of the group that count.
    pub tokens: u64,
    /// Those at which the latent fires.
    pub firings: u64,
}

/// What a decoder direction does to the logit of a token.
#[derive(Debug, Clone, PartialEq)]
pub struct LogitEffect {
    /// The token.
    pub token: u32,
    /// Its logit's change.
    pub effect: f32,
    /// Its spelling in the vocabulary.
    pub text: Option<String>,
}

/// The next-token loss where a latent fires, with the latent at zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ablation {
    /// Tokens that the mean is over.
    pub tokens: u64,
    /// Mean change of the loss in nats.
    pub ce_delta: f64,
}

impl LatentsReader {
    /// Reads the footer, and which SAEs have how many latents. Their rows have to be in the writer's order.
    pub fn open(path: &Path) -> Result<Self, LatentsError> {
        let table = TableReader::open(path)?;
        let mut saes: Vec<SaeRows> = Vec::new();
        let mut names = BTreeSet::new();
        for columns in table.batches(&["sae", "latent"])? {
            let columns = columns?;
            let (sae, latent): (&StringArray, &UInt32Array) = (columns.full("sae")?, columns.full("latent")?);
            for row in 0..columns.rows() {
                let (sae, latent) = (sae.value(row), latent.value(row));
                match saes.last_mut().filter(|own| &*own.name == sae) {
                    Some(own) if own.width == latent && latent < u32::MAX => own.width += 1,
                    Some(own) => {
                        let expected = format!("latent {} of {sae}, in order", own.width);
                        return Err(columns.wrong(row, expected, format!("latent {latent}")));
                    }
                    None if latent == 0 && names.insert(sae.to_owned()) => {
                        saes.push(SaeRows { name: sae.into(), width: 1 });
                    }
                    None => {
                        let expected = "the latents of each SAE together, from 0 on";
                        return Err(columns.wrong(row, expected, format!("latent {latent} of {sae}")));
                    }
                }
            }
        }
        if saes.is_empty() {
            return Err(malformed(path, "rows of latents", "none"));
        }
        Ok(Self { table, saes })
    }

    /// The SAEs, in the file's order.
    pub fn saes(&self) -> &[SaeRows] {
        &self.saes
    }

    /// The JSON that says how the file was made; `None` where a tool that wrote it again left it out.
    pub fn about(&self) -> Option<&str> {
        self.table.about()
    }

    /// Columns that `evaluate latents` may write and this file does not have.
    pub fn missing(&self) -> Vec<&'static str> {
        let quantiles = QUANTILES.iter().map(|(name, _)| *name);
        OPTIONAL.into_iter().chain(quantiles).filter(|name| !self.table.has(name)).collect()
    }

    /// The rows, in order.
    pub fn records(&self) -> Result<LatentRecords, LatentsError> {
        let quantiles = QUANTILES.iter().map(|(name, _)| *name);
        let names: Vec<&str> = NEEDED.into_iter().chain(OPTIONAL).chain(quantiles).collect();
        let widths = self.saes.clone();
        Ok(LatentRecords { path: self.table.path().into(), batches: self.table.batches(&names)?, at: None, widths })
    }
}

/// The rows of `latents.parquet`.
#[derive(Debug)]
pub struct LatentRecords {
    path: PathBuf,
    batches: RowBatches,
    /// A few rows, and how many of them are read.
    at: Option<(Columns, usize)>,
    widths: Vec<SaeRows>,
}

impl LatentRecords {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Iterator for LatentRecords {
    type Item = Result<LatentRecord, LatentsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self { batches, at, widths, .. } = self;
        let row = batches.next_row(at).transpose()?;
        Some(row.and_then(|(columns, row)| record(columns, row, widths)))
    }
}

fn record(columns: &Columns, row: usize, saes: &[SaeRows]) -> Result<LatentRecord, LatentsError> {
    let sae = columns.full::<StringArray>("sae")?.value(row);
    let Some(SaeRows { name, width }) = saes.iter().find(|own| &*own.name == sae) else {
        return Err(columns.wrong(row, "an SAE of the file", sae));
    };
    let (tokens, firings) = (columns.count("tokens", row)?, columns.count("firings", row)?);
    if firings > tokens {
        return Err(columns.wrong(row, format!("at most {tokens} firings"), firings));
    }
    let mut quantiles = [None; QUANTILES.len()];
    for (quantile, (name, _)) in quantiles.iter_mut().zip(QUANTILES) {
        *quantile = columns.figure::<Float64Type>(name, row)?;
    }
    let known = |latent: u32| {
        if latent < *width { Ok(latent) } else { Err(columns.wrong(row, format!("one of {width} latents"), latent)) }
    };
    let nearest = pairs(columns, row, known)?;
    let ablation = match columns.structure("ablation", row)? {
        None => None,
        Some(own) => {
            let (tokens, deltas) = (own.numbers::<UInt64Type>("tokens")?, own.numbers::<Float64Type>("ce_delta")?);
            let tokens = columns.exact("ablation.tokens", row, tokens[0])?;
            Some(Ablation { tokens, ce_delta: columns.finite("ablation.ce_delta", row, deltas[0])? })
        }
    };
    Ok(LatentRecord {
        sae: Arc::clone(name),
        latent: columns.full::<UInt32Array>("latent")?.value(row),
        tokens,
        firings,
        mean: columns.figure::<Float64Type>("mean", row)?,
        max: columns.figure::<Float32Type>("max", row)?,
        quantiles,
        histogram: histogram(columns, row)?,
        sections: groups(columns, row, "sections", "section")?,
        subsets: groups(columns, row, "subsets", "subset")?,
        turns: groups(columns, row, "turns", "turn")?,
        nearest,
        cofiring: cofiring(columns, row, known)?,
        logits_raised: effects(columns, row, "logits_raised")?,
        logits_lowered: effects(columns, row, "logits_lowered")?,
        ablation,
    })
}

fn histogram(columns: &Columns, row: usize) -> Result<Vec<Bin>, LatentsError> {
    let Some(own) = columns.structs("histogram", row)? else { return Ok(Vec::new()) };
    let (from, to) = (own.numbers::<Float32Type>("from")?, own.numbers::<Float32Type>("to")?);
    let bins = from.into_iter().zip(to).zip(own.numbers::<UInt64Type>("count")?);
    let bins: Vec<Bin> = bins.map(|((from, to), count)| Bin { from, to, count }).collect();
    let is_ordered = bins.iter().all(|bin| bin.from > 0.0 && bin.from < bin.to)
        && bins.windows(2).all(|pair| pair[0].to <= pair[1].from);
    if !is_ordered {
        return Err(columns.wrong(row, "bins of numbers above zero in ascending order", "others"));
    }
    for bin in &bins {
        columns.exact("histogram.count", row, bin.count)?;
    }
    Ok(bins)
}

fn groups(columns: &Columns, row: usize, column: &str, field: &str) -> Result<Vec<GroupRecord>, LatentsError> {
    let Some(own) = columns.structs(column, row)? else { return Ok(Vec::new()) };
    let names: Vec<Option<String>> = if column == "turns" {
        own.numbers::<UInt32Type>(field)?.into_iter().map(|turn| Some(turn.to_string())).collect()
    } else {
        own.texts(field)?
    };
    let counts = own.numbers::<UInt64Type>("tokens")?.into_iter().zip(own.numbers::<UInt64Type>("firings")?);
    let groups = names.into_iter().zip(counts);
    groups
        .map(|(name, (tokens, firings))| {
            if firings > columns.exact(column, row, tokens)? {
                return Err(columns.wrong(row, format!("at most {tokens} firings in `{column}`"), firings));
            }
            Ok(GroupRecord { name, tokens, firings })
        })
        .collect()
}

fn pairs(
    columns: &Columns,
    row: usize,
    known: impl Fn(u32) -> Result<u32, LatentsError>,
) -> Result<Vec<(u32, f32)>, LatentsError> {
    let Some(own) = columns.structs("nearest", row)? else { return Ok(Vec::new()) };
    let pairs = own.numbers::<UInt32Type>("latent")?.into_iter().zip(own.numbers::<Float32Type>("cosine")?);
    pairs.map(|(latent, cosine)| Ok((known(latent)?, columns.finite("nearest.cosine", row, cosine)?))).collect()
}

fn cofiring(
    columns: &Columns,
    row: usize,
    known: impl Fn(u32) -> Result<u32, LatentsError>,
) -> Result<Vec<CoFiring>, LatentsError> {
    let Some(own) = columns.structs("cofiring", row)? else { return Ok(Vec::new()) };
    let latents = own.numbers::<UInt32Type>("latent")?.into_iter().zip(own.numbers::<UInt64Type>("together")?);
    let all = latents.zip(own.numbers::<Float64Type>("jaccard")?);
    all.map(|((latent, together), jaccard)| {
        let together = columns.exact("cofiring.together", row, together)?;
        let jaccard = columns.finite("cofiring.jaccard", row, jaccard)?;
        Ok(CoFiring { latent: known(latent)?, together, jaccard })
    })
    .collect()
}

fn effects(columns: &Columns, row: usize, column: &str) -> Result<Vec<LogitEffect>, LatentsError> {
    let Some(own) = columns.structs(column, row)? else { return Ok(Vec::new()) };
    let effects = own.numbers::<UInt32Type>("token")?.into_iter().zip(own.numbers::<Float32Type>("effect")?);
    let effects = effects.zip(own.texts("text")?);
    effects
        .map(|((token, effect), text)| Ok(LogitEffect { token, effect: columns.finite(column, row, effect)?, text }))
        .collect()
}
