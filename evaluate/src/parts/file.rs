//! File format of partial results: safetensors, sealed by a hash of all preceding bytes.
//!
//! Tensors:
//!
//! - `header`: the JSON of [`Header`];
//! - `firings.K`, u64 `[width]`: firing counts of the K-th SAE and section;
//! - `tallies.K.S`, f32 `[sequences, 16]`: sums per sequence of its S-th shard, if kept;
//! - `seal`, the last tensor: the BLAKE3 of every byte before it.

use std::path::Path;

use hayloft_results::{LatentCounts, SequenceSums, TERMS};
use hayloft_runtime::{Part, TensorBytes, safetensors};
use safetensors::{Dtype, SafeTensors};

use super::check;
use super::error::PartialError;
use super::header::Header;
use super::measurement::{Measurement, SectionMeasurement};

/// Version of the file layout and of the meaning of its numbers.
const FORMAT: &str = "1";

const FORMAT_KEY: &str = "hayloft_partial_result";

/// Size of a BLAKE3 hash in bytes.
const SEAL_BYTES: usize = 32;

/// Serialises a part's measurement to the bytes of a file.
pub(super) fn to_bytes(measurement: &Measurement, part: Part) -> std::io::Result<Vec<u8>> {
    let header = Header::of(measurement, part);
    let json = serde_json::to_vec(&header)?;
    let mut tensors = vec![("header".to_owned(), Dtype::U8, vec![json.len()], json)];
    for (place, own) in measurement.sections.iter().enumerate() {
        let width = own.latents.firings.len();
        tensors.push((format!("firings.{place}"), Dtype::U64, vec![width], own.latents.bytes()));
        for (shard, tallies) in own.sequences.iter().flatten().enumerate() {
            let values = tallies.iter().flat_map(|tally| tally.values().iter());
            let bytes = values.flat_map(|value| value.to_le_bytes()).collect();
            tensors.push((tallies_name(place, shard), Dtype::F32, vec![tallies.len(), TERMS], bytes));
        }
    }
    tensors.push(("seal".to_owned(), Dtype::U8, vec![SEAL_BYTES], vec![0; SEAL_BYTES]));
    let borrowed: Vec<TensorBytes<'_>> = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (name.clone(), *dtype, shape.clone(), bytes.as_slice()))
        .collect();
    let mut file = safetensors(&[(FORMAT_KEY, FORMAT.to_owned())], &borrowed)?;
    seal(&mut file);
    Ok(file)
}

/// Overwrites the last bytes of a file with the hash of all preceding ones.
pub(super) fn seal(file: &mut [u8]) {
    if let Some(body) = file.len().checked_sub(SEAL_BYTES) {
        let hash = blake3::hash(&file[..body]);
        file[body..].copy_from_slice(hash.as_bytes());
    }
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
    let body = bytes.len().checked_sub(SEAL_BYTES).ok_or_else(|| damaged(format!("{} bytes", bytes.len())))?;
    if blake3::hash(&bytes[..body]).as_bytes() != &bytes[body..] {
        return Err(damaged("bytes that are not those that its seal (BLAKE3) is of".to_owned()));
    }
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
    let version = metadata.metadata().as_ref().and_then(|metadata| metadata.get(FORMAT_KEY));
    match version {
        Some(version) if version == FORMAT => {}
        Some(version) => {
            let (path, expected, got) = (path.to_path_buf(), FORMAT.to_owned(), version.clone());
            return Err(PartialError::Format { path, expected, got });
        }
        None => return Err(damaged("a file of another kind".to_owned())),
    }
    let tensors = Tensors(SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?);
    let json = tensors.data("header", Dtype::U8, None).map_err(damaged)?;
    // A header of another version may have other fields, so the version is checked first.
    let version = serde_json::from_slice(json).map(|VersionOnly { hayloft_version }| hayloft_version);
    let got = version.map_err(|error| damaged(error.to_string()))?;
    if let Some(expected) = expected.filter(|expected| got != *expected) {
        return Err(PartialError::Version { path: path.to_path_buf(), expected: expected.to_owned(), got });
    }
    let header: Header = serde_json::from_slice(json).map_err(|error| damaged(error.to_string()))?;
    let part = check::header(&header).map_err(damaged)?;
    let measurement = tensors.measurement(header).map_err(damaged)?;
    check::counts(&measurement).map_err(damaged)?;
    Ok((part, measurement))
}

/// The one field of the header that every version has.
#[derive(serde::Deserialize)]
struct VersionOnly {
    hayloft_version: String,
}

/// The tensors of a file.
struct Tensors<'data>(SafeTensors<'data>);

impl Tensors<'_> {
    /// The bytes of a tensor, which must have this dtype and shape.
    fn data(&self, name: &str, dtype: Dtype, shape: Option<&[usize]>) -> Result<&[u8], String> {
        let view = self.0.tensor(name).map_err(|error| format!("no tensor {name} ({error})"))?;
        if view.dtype() != dtype || shape.is_some_and(|shape| view.shape() != shape) {
            let expected = shape.map_or_else(String::new, |shape| format!(" {shape:?}"));
            return Err(format!("{name} of {:?} {:?} in place of {dtype:?}{expected}", view.dtype(), view.shape()));
        }
        Ok(view.data())
    }

    fn measurement(&self, header: Header) -> Result<Measurement, String> {
        let sequences = header.sequences.as_slice();
        let mut sections = Vec::with_capacity(header.sections.len());
        for (place, own) in header.sections.into_iter().enumerate() {
            // The header check guarantees that the SAE exists.
            let width = header.saes.get(own.sae).map_or(0, |sae| sae.provenance.width);
            let firings = self.data(&format!("firings.{place}"), Dtype::U64, Some(&[width]))?;
            let tallies = |(shard, &sequences): (usize, &usize)| {
                let data = self.data(&tallies_name(place, shard), Dtype::F32, Some(&[sequences, TERMS]))?;
                Ok(numbers(data).map(f32::from_le_bytes).collect::<Vec<f32>>())
            };
            let keeps = header.protocol.keeps_sequences();
            let of_shards =
                keeps.then(|| sequences.iter().enumerate().map(tallies).collect::<Result<Vec<_>, String>>());
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
