//! Combines the measurements of parts into one of all shards.

use std::ops::Range;
use std::path::PathBuf;

use hayloft_rows::SectionChoice;
use hayloft_runtime::Part;

use super::differences::{Difference, first_difference};
use super::error::{Mismatch, PartialError};
use super::measurement::{Measurement, SaeIdentity, SectionMeasurement};
use super::tile::{Tile, tile};

/// A part's measurement and the file it was read from.
#[derive(Debug, Clone)]
pub(super) struct ReadPart {
    pub(super) path: PathBuf,
    pub(super) part: Part,
    pub(super) measurement: Measurement,
}

impl ReadPart {
    /// Indices of the part's shards in the cache's list.
    fn places(&self) -> Range<usize> {
        self.part.range(self.measurement.cache.shards.len())
    }

    /// Index of an SAE in the part's list.
    fn sae(&self, name: &str) -> Option<usize> {
        self.measurement.saes.iter().position(|sae| sae.name == name)
    }

    /// Takes the measurement of an SAE in a section out of the part.
    fn take(&mut self, name: &str, section: SectionChoice) -> Option<SectionMeasurement> {
        let sae = self.sae(name)?;
        let sections = &mut self.measurement.sections;
        let place = sections.iter().position(|own| own.sae == sae && own.section == section)?;
        Some(sections.swap_remove(place))
    }
}

/// Combines parts of one cache and one protocol that cover every shard once for every SAE. SAEs are ordered by their
/// first appearance in the given parts.
pub(super) fn combine(mut parts: Vec<ReadPart>) -> Result<Measurement, PartialError> {
    let Some(first) = parts.first() else { return Err(PartialError::None { path: PathBuf::new() }) };
    for other in &parts[1..] {
        is_of_one_run(first, other)?;
    }
    let saes = saes(&parts)?;
    let tiles: Vec<Vec<usize>> = saes.iter().map(|sae| tiles_of(&parts, &sae.name)).collect::<Result<_, _>>()?;
    same_sequences(&parts)?;
    let (cache, protocol) = (first.measurement.cache.clone(), first.measurement.protocol.clone());
    let pairs: Vec<(usize, SectionChoice)> = if protocol.splice_together {
        protocol.sections.iter().flat_map(|own| (0..saes.len()).map(move |sae| (sae, *own))).collect()
    } else {
        (0..saes.len()).flat_map(|sae| protocol.sections.iter().map(move |own| (sae, *own))).collect()
    };
    let sections = pairs.into_iter().map(|(sae, section)| {
        let mut all = SectionMeasurement::none(sae, section);
        for &place in &tiles[sae] {
            if let Some(own) = parts[place].take(&saes[sae].name, section) {
                all.append(own);
            }
        }
        all
    });
    let sections = sections.collect();
    let of_first_sae = tiles.first().map(Vec::as_slice).unwrap_or_default();
    let with_first = of_first_sae.first().and_then(|&place| parts.get(place)).map(|part| &part.measurement);
    let (clean_check, stored_rounding) = with_first.map_or((None, None), |own| (own.clean_check, own.stored_rounding));
    let of_lowest_shard = |(sae, tiles): (&SaeIdentity, &Vec<usize>)| {
        // The folder is as recorded by this part.
        let lowest = tiles.first().and_then(|&place| parts.get(place));
        lowest.and_then(|part| part.measurement.saes.get(part.sae(&sae.name)?)).unwrap_or(sae).clone()
    };
    let identities = saes.iter().zip(&tiles).map(of_lowest_shard).collect();
    Ok(Measurement {
        shards: cache.shards.clone(),
        clean_check,
        stored_rounding,
        saes: identities,
        sections,
        cache,
        protocol,
    })
}

/// Returns an error if a part has another cache or other settings.
fn is_of_one_run(first: &ReadPart, other: &ReadPart) -> Result<(), PartialError> {
    let (expected, got) = (&first.measurement, &other.measurement);
    if let Some(difference) = first_difference(&expected.cache, &got.cache) {
        return Err(PartialError::OtherCache(Box::new(mismatch(first, other, difference))));
    }
    if let Some(difference) = first_difference(&expected.protocol, &got.protocol) {
        return Err(PartialError::OtherSetting(Box::new(mismatch(first, other, difference))));
    }
    let names = |own: &Measurement| own.saes.iter().map(|sae| sae.name.as_str()).collect::<Vec<_>>().join(", ");
    if expected.protocol.splice_together && names(expected) != names(got) {
        let (field, expected, got) = ("the SAEs in place at once".to_owned(), names(expected), names(got));
        return Err(PartialError::OtherSetting(Box::new(mismatch(first, other, Difference { field, expected, got }))));
    }
    Ok(())
}

fn mismatch(first: &ReadPart, other: &ReadPart, difference: Difference) -> Mismatch {
    let Difference { field, expected, got } = difference;
    Mismatch { path: other.path.clone(), first: first.path.clone(), what: field, expected, got }
}

/// The SAEs of all parts without duplicates, ordered by first appearance.
fn saes(parts: &[ReadPart]) -> Result<Vec<SaeIdentity>, PartialError> {
    let mut found: Vec<(SaeIdentity, &ReadPart)> = Vec::new();
    for part in parts {
        for sae in &part.measurement.saes {
            let Some((known, first)) = found.iter().find(|(known, _)| known.name == sae.name) else {
                found.push((sae.clone(), part));
                continue;
            };
            // Machines may have it in different folders.
            let mut here = sae.clone();
            here.provenance.folder.clone_from(&known.provenance.folder);
            if let Some(difference) = first_difference(known, &here) {
                return Err(PartialError::OtherSae(Box::new(mismatch(first, part, difference)), sae.name.clone()));
            }
        }
    }
    Ok(found.into_iter().map(|(sae, _)| sae).collect())
}

/// Indices of the non-empty parts with an SAE, in the order of their shards. Together they must cover every shard once.
fn tiles_of(parts: &[ReadPart], sae: &str) -> Result<Vec<usize>, PartialError> {
    let own = parts.iter().enumerate().filter(|(_, part)| part.sae(sae).is_some());
    let own: Vec<Tile<'_>> = own.map(|(place, part)| Tile { place, path: &part.path, part: part.part }).collect();
    // The cache is known to be the same for all parts.
    let all = parts.first().map_or(&[][..], |part| part.measurement.cache.shards.as_slice());
    tile(own, all, sae)
}

/// Returns an error if parts with different SAEs have different numbers of sequences in a common shard.
fn same_sequences(parts: &[ReadPart]) -> Result<(), PartialError> {
    let count = parts.first().map_or(0, |part| part.measurement.cache.shards.len());
    let mut known: Vec<Option<(usize, &ReadPart)>> = vec![None; count];
    for part in parts {
        let Some(lengths) = part.measurement.sections.iter().find_map(|own| own.sequences.as_deref()) else { continue };
        for (shard, place) in part.places().enumerate() {
            let sequences = lengths.get(shard).map_or(0, Vec::len);
            match known[place] {
                None => known[place] = Some((sequences, part)),
                Some((expected, first)) if expected != sequences => {
                    let field = format!("list of sequences in shard {}", part.measurement.cache.shards[place]);
                    let (expected, got) = (format!("{expected} long"), format!("{sequences} long"));
                    let difference = Difference { field, expected, got };
                    return Err(PartialError::OtherCache(Box::new(mismatch(first, part, difference))));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}
