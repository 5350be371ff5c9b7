//! Contents of a part's sealed file.
//!
//! Its header is [`Header`]. Other tensors are bytes in the encoding of `postcard`:
//!
//! - `statistics.K` and `beside.K`: those of the K-th SAE;
//! - `sequences`: those that hold examples;
//! - `texts`: of tokens, if known.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use safetensors::Dtype;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::PartialLatents;
use crate::latents::collect::collected::{Beside, Collected, CollectedSae};
use crate::latents::output::contexts::LabelledSequence;
use crate::latents::report::LatentsReport;
use crate::parts::sealed::{SealedTensors, bytes_tensor, one_tensor};
use crate::parts::{LATENTS_FORMAT, PartRecord, PartialError};

/// The tensor of sequences.
const SEQUENCES: &str = "sequences";

const TEXTS: &str = "texts";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    hayloft_version: String,
    part: PartRecord,
    all_shards: Vec<usize>,
    report: LatentsReport,
}

/// The bytes of a part's file.
pub(super) fn to_bytes(partial: &PartialLatents) -> io::Result<Vec<u8>> {
    let PartialLatents { part, all_shards, collected, sequences, texts } = partial;
    let header = Header {
        hayloft_version: env!("CARGO_PKG_VERSION").to_owned(),
        part: PartRecord::of(*part),
        all_shards: all_shards.clone(),
        report: collected.report.clone(),
    };
    let mut tensors = vec![bytes_tensor(SEQUENCES.to_owned(), encoded(sequences)?)];
    for (place, own) in collected.saes.iter().enumerate() {
        tensors.push(bytes_tensor(statistics(place), encoded(&own.statistics)?));
        tensors.push(bytes_tensor(beside(place), encoded(&own.beside)?));
    }
    if let Some(texts) = texts {
        tensors.push(bytes_tensor(TEXTS.to_owned(), encoded(texts)?));
    }
    LATENTS_FORMAT.to_bytes(&header, tensors)
}

/// Parses a file written by the expected version of hayloft, or by any if `None`; `path` is for errors.
pub(super) fn from_bytes(path: &Path, bytes: &[u8], expected: Option<&str>) -> Result<PartialLatents, PartialError> {
    let tensors = LATENTS_FORMAT.open(path, bytes, expected)?;
    let partial = partial(&tensors).and_then(|partial| check(&partial).map(|()| partial));
    partial.map_err(|got| PartialError::Damaged { path: path.to_path_buf(), got })
}

/// Reads the sequences alone of a file that was read before.
pub(super) fn sequences_of(path: &Path) -> Result<Vec<LabelledSequence>, PartialError> {
    let damaged = |got| PartialError::Damaged { path: path.to_path_buf(), got };
    decoded(&one_tensor(path, SEQUENCES)?, SEQUENCES).map_err(damaged)
}

fn partial(tensors: &SealedTensors<'_>) -> Result<PartialLatents, String> {
    let Header { part, all_shards, report, .. } = tensors.header()?;
    let mut saes = Vec::new();
    for place in 0..report.saes.len() {
        saes.push(CollectedSae {
            statistics: tensor(tensors, &statistics(place))?,
            beside: tensor(tensors, &beside(place))?,
        });
    }
    Ok(PartialLatents {
        part: part.part_with(&report.shards, &all_shards)?,
        all_shards,
        collected: Collected { report, saes },
        sequences: tensor(tensors, SEQUENCES)?,
        texts: if tensors.has(TEXTS) { Some(tensor(tensors, TEXTS)?) } else { None },
    })
}

fn check(partial: &PartialLatents) -> Result<(), String> {
    let PartialLatents { collected, sequences, texts, .. } = partial;
    let Collected { report, saes } = collected;
    report.check()?;
    for (about, CollectedSae { statistics, beside }) in report.saes.iter().zip(saes) {
        statistics.check()?;
        if !report.is_of(about, statistics.settings()) {
            return Err(format!("statistics of {} that do not go with its settings", about.name));
        }
        beside.check(statistics.settings().width)?;
    }
    if let Some(sequence) = sequences.iter().find(|sequence| !sequence.is_whole()) {
        return Err(format!("labels of other tokens than of sequence {}", sequence.id));
    }
    let lengths: BTreeMap<u64, usize> = sequences.iter().map(|own| (own.id, own.tokens.len())).collect();
    let is_held =
        |(sequence, position): &(u64, u32)| lengths.get(sequence).is_some_and(|&held| (*position as usize) < held);
    let mut places = saes.iter().flat_map(|own| own.statistics.places());
    if let Some((sequence, position)) = places.find(|place| !is_held(place)) {
        return Err(format!("no token at position {position} of sequence {sequence}"));
    }
    if let Some(texts) = texts
        && let Some(token) = partial.tokens().into_iter().find(|token| !texts.contains_key(token))
    {
        return Err(format!("no text of token {token}"));
    }
    Ok(())
}

impl Beside {
    /// Checks what comes from a file; the error is what was found.
    fn check(&self, width: usize) -> Result<(), String> {
        let others = self.nearest.values().flatten().flatten().map(|(latent, _)| *latent);
        let all = others.chain(self.ablations.keys().copied());
        match all.into_iter().find(|&latent| latent as usize >= width) {
            Some(latent) => Err(format!("latent {latent} of an SAE of {width}")),
            None => Ok(()),
        }
    }
}

fn statistics(place: usize) -> String {
    format!("statistics.{place}")
}

fn beside(place: usize) -> String {
    format!("beside.{place}")
}

fn tensor<Own: DeserializeOwned>(tensors: &SealedTensors<'_>, name: &str) -> Result<Own, String> {
    decoded(tensors.data(name, Dtype::U8, None)?, name)
}

fn encoded(own: &impl Serialize) -> io::Result<Vec<u8>> {
    postcard::to_stdvec(own).map_err(io::Error::other)
}

fn decoded<Own: DeserializeOwned>(bytes: &[u8], name: &str) -> Result<Own, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((own, [])) => Ok(own),
        Ok((_, rest)) => Err(format!("{} bytes after {name}", rest.len())),
        Err(error) => Err(format!("no {name} ({error})")),
    }
}
