//! Contents of a partial result's sealed file.
//!
//! Its header is [`Header`]. Other tensors:
//!
//! - `firings.K`, u64 `[width]`: firing counts of the K-th SAE and section;
//! - `tallies.K.S`, f32 `[sequences, 16]`: sums per sequence of its S-th shard, if kept.

use std::path::Path;

use hayloft_results::{LatentCounts, SequenceSums, TERMS};
use hayloft_runtime::Part;
use safetensors::Dtype;

use super::check;
use super::error::PartialError;
use super::header::Header;
use super::measurement::{Measurement, SectionMeasurement};
use super::sealed::{SealedFormat, SealedTensors};

/// The format of these files.
pub(super) const FORMAT: SealedFormat = SealedFormat { key: "hayloft_partial_result", version: "1" };

/// Serialises a part's measurement to the bytes of a file.
pub(super) fn to_bytes(measurement: &Measurement, part: Part) -> std::io::Result<Vec<u8>> {
    let mut tensors = Vec::new();
    for (place, own) in measurement.sections.iter().enumerate() {
        let width = own.latents.firings.len();
        tensors.push((format!("firings.{place}"), Dtype::U64, vec![width], own.latents.bytes()));
        for (shard, tallies) in own.sequences.iter().flatten().enumerate() {
            let values = tallies.iter().flat_map(|tally| tally.values().iter());
            let bytes = values.flat_map(|value| value.to_le_bytes()).collect();
            tensors.push((tallies_name(place, shard), Dtype::F32, vec![tallies.len(), TERMS], bytes));
        }
    }
    FORMAT.to_bytes(&Header::of(measurement, part), tensors)
}

/// Parses a file written by this version of hayloft; `path` is for errors.
pub(super) fn from_bytes(path: &Path, bytes: &[u8]) -> Result<(Part, Measurement), PartialError> {
    from_bytes_of(path, bytes, Some(env!("CARGO_PKG_VERSION")))
}

/// Parses a file written by the expected version of hayloft, or by any if `None`.
pub(super) fn from_bytes_of(
    path: &Path,
    bytes: &[u8],
    expected: Option<&str>,
) -> Result<(Part, Measurement), PartialError> {
    let damaged = |got: String| PartialError::Damaged { path: path.to_path_buf(), got };
    let tensors = FORMAT.open(path, bytes, expected)?;
    let header: Header = tensors.header().map_err(damaged)?;
    let part = check::header(&header).map_err(damaged)?;
    let measurement = measurement(&tensors, header).map_err(damaged)?;
    check::counts(&measurement).map_err(damaged)?;
    Ok((part, measurement))
}

fn measurement(tensors: &SealedTensors<'_>, header: Header) -> Result<Measurement, String> {
    let sequences = header.sequences.as_slice();
    let mut sections = Vec::with_capacity(header.sections.len());
    for (place, own) in header.sections.into_iter().enumerate() {
        // The header check guarantees that the SAE exists.
        let width = header.saes.get(own.sae).map_or(0, |sae| sae.provenance.width);
        let firings = tensors.data(&format!("firings.{place}"), Dtype::U64, Some(&[width]))?;
        let tallies = |(shard, &sequences): (usize, &usize)| {
            let data = tensors.data(&tallies_name(place, shard), Dtype::F32, Some(&[sequences, TERMS]))?;
            Ok(numbers(data).map(f32::from_le_bytes).collect::<Vec<f32>>())
        };
        let keeps = header.protocol.keeps_sequences();
        let of_shards = keeps.then(|| sequences.iter().enumerate().map(tallies).collect::<Result<Vec<_>, String>>());
        let of_shards = of_shards.transpose()?;
        sections.push(SectionMeasurement {
            sae: own.sae,
            section: own.section,
            shards: own.sums,
            latents: LatentCounts { rows: own.rows, firings: numbers(firings).map(u64::from_le_bytes).collect() },
            sequences: of_shards.map(|shards| shards.iter().map(|values| sequence_tallies(values)).collect()),
            subsets: own.subsets,
            sample: own.sample,
        });
    }
    Ok(Measurement {
        cache: header.cache,
        protocol: header.protocol,
        shards: header.shards,
        clean_check: header.clean_check,
        stored_rounding: header.stored_rounding,
        saes: header.saes,
        sections,
    })
}

fn tallies_name(place: usize, shard: usize) -> String {
    format!("tallies.{place}.{shard}")
}

/// Little-endian words, one after another.
fn numbers<const BYTES: usize>(data: &[u8]) -> impl Iterator<Item = [u8; BYTES]> + '_ {
    data.as_chunks().0.iter().copied()
}

fn sequence_tallies(values: &[f32]) -> Vec<SequenceSums> {
    values.as_chunks::<TERMS>().0.iter().map(|&sums| SequenceSums::from(sums)).collect()
}
