//! The measurements of parts as one of all shards.

use std::ops::Range;
use std::path::PathBuf;

use hayloft_terminal::Part;

use super::differences::first_difference;
use super::error::PartialError;
use super::measurement::{Measurement, SaeIdentity, SectionMeasurement};
use crate::measures::LatentCounts;
use crate::numbers::in_words;
use crate::section_choice::SectionChoice;

/// A part's measurement, and where it was read.
#[derive(Debug, Clone)]
pub(super) struct ReadPart {
    pub(super) path: PathBuf,
    pub(super) part: Part,
    pub(super) measurement: Measurement,
}

impl ReadPart {
    /// The places of its shards in the cache's list.
    fn places(&self) -> Range<usize> {
        self.part.range(self.measurement.cache.shards.len())
    }

    /// The place of an SAE in its own list.
    fn sae(&self, name: &str) -> Option<usize> {
        self.measurement.saes.iter().position(|sae| sae.name == name)
    }

    fn section(&self, name: &str, section: SectionChoice) -> Option<&SectionMeasurement> {
        let sae = self.sae(name)?;
        self.measurement.sections.iter().find(|own| own.sae == sae && own.section == section)
    }
}

/// Puts parts together, which must be of one cache and one protocol and have every shard once for every SAE. SAEs come in the
/// order in which the parts, as they are given, name them first.
pub(super) fn combine(parts: &[ReadPart]) -> Result<Measurement, PartialError> {
    let Some(first) = parts.first() else { return Err(PartialError::None { path: PathBuf::new() }) };
    for other in &parts[1..] {
        is_of_one_run(first, other)?;
    }
    let saes = saes(parts)?;
    let mut tiles = Vec::with_capacity(saes.len());
    for sae in &saes {
        tiles.push(tile(parts, &sae.name)?);
    }
    same_sequences(parts)?;
    let Measurement { cache, protocol, .. } = &first.measurement;
    let section = |sae: usize, section| of_all_shards(&tiles[sae], &saes[sae].name, sae, section);
    let sections: Vec<SectionMeasurement> = if protocol.splice_together {
        let pairs = protocol.sections.iter().flat_map(|own| (0..saes.len()).map(move |sae| (sae, *own)));
        pairs.map(|(sae, own)| section(sae, own)).collect()
    } else {
        let pairs = (0..saes.len()).flat_map(|sae| protocol.sections.iter().map(move |own| (sae, *own)));
        pairs.map(|(sae, own)| section(sae, own)).collect()
    };
    let of_first_sae = tiles.first().map(Vec::as_slice).unwrap_or_default();
    let has_first = of_first_sae.first().map(|part| &part.measurement);
    let subsets = of_first_sae.iter().map(|part| part.measurement.subsets.clone());
    Ok(Measurement {
        shards: cache.shards.clone(),
        clean_check: has_first.and_then(|own| own.clean_check),
        stored_rounding: has_first.and_then(|own| own.stored_rounding),
        subsets: subsets.collect::<Option<Vec<_>>>().map(|shards| shards.into_iter().flatten().collect()),
        saes: saes.iter().zip(&tiles).map(|(sae, tiles)| of_lowest_shard(sae, tiles)).collect(),
        sections,
        cache: cache.clone(),
        protocol: protocol.clone(),
    })
}

/// Refuses a part of another cache, or one that was measured otherwise.
fn is_of_one_run(first: &ReadPart, other: &ReadPart) -> Result<(), PartialError> {
    let (expected, got) = (&first.measurement, &other.measurement);
    let (path, first) = (other.path.clone(), first.path.clone());
    if let Some(difference) = first_difference(&expected.cache, &got.cache) {
        let what = difference.field;
        return Err(PartialError::OtherCache { path, first, what, expected: difference.expected, got: difference.got });
    }
    if let Some(difference) = first_difference(&expected.protocol, &got.protocol) {
        let setting = difference.field;
        let (expected, got) = (difference.expected, difference.got);
        return Err(PartialError::OtherSetting { path, first, setting, expected, got });
    }
    let names = |own: &Measurement| own.saes.iter().map(|sae| sae.name.as_str()).collect::<Vec<_>>().join(", ");
    if expected.protocol.splice_together && names(expected) != names(got) {
        let (setting, expected, got) = ("the SAEs in place at once".to_owned(), names(expected), names(got));
        return Err(PartialError::OtherSetting { path, first, setting, expected, got });
    }
    Ok(())
}

/// The SAEs of all parts, each once, in the order in which they are first named.
fn saes(parts: &[ReadPart]) -> Result<Vec<SaeIdentity>, PartialError> {
    let mut found: Vec<(SaeIdentity, &ReadPart)> = Vec::new();
    for part in parts {
        for sae in &part.measurement.saes {
            let Some((known, first)) = found.iter().find(|(known, _)| known.name == sae.name) else {
                found.push((sae.clone(), part));
                continue;
            };
            // Machines may have it in different places.
            let mut here = sae.clone();
            here.provenance.folder.clone_from(&known.provenance.folder);
            if let Some(difference) = first_difference(known, &here) {
                return Err(PartialError::OtherSae {
                    path: part.path.clone(),
                    first: first.path.clone(),
                    sae: sae.name.clone(),
                    what: difference.field,
                    expected: difference.expected,
                    got: difference.got,
                });
            }
        }
    }
    Ok(found.into_iter().map(|(sae, _)| sae).collect())
}

/// The parts that have an SAE, in the order of their shards, without those that have none. Between them they have every shard once.
fn tile<'part>(parts: &'part [ReadPart], sae: &str) -> Result<Vec<&'part ReadPart>, PartialError> {
    let own = parts.iter().filter(|part| part.sae(sae).is_some());
    let mut tiles: Vec<&ReadPart> = own.clone().filter(|part| !part.places().is_empty()).collect();
    tiles.sort_by_key(|part| (part.places().start, part.places().end));
    // The same cache for all, as was seen.
    let all = parts.first().map_or(&[][..], |part| part.measurement.cache.shards.as_slice());
    let numbers = |places: Range<usize>| all.get(places).unwrap_or_default();
    let mut reached = 0;
    let mut last: Option<&ReadPart> = None;
    let mut missing = Vec::new();
    for &part in &tiles {
        let places = part.places();
        if let Some(last) = last.filter(|_| places.start < reached) {
            return Err(PartialError::Doubled {
                first: last.path.clone(),
                second: part.path.clone(),
                sae: sae.to_owned(),
                shards: in_words(numbers(places.start..places.end.min(reached))),
            });
        }
        missing.extend(reached..places.start);
        (reached, last) = (places.end, Some(part));
    }
    missing.extend(reached..all.len());
    let Some(&place) = missing.first() else { return Ok(tiles) };
    let of = own.map(|part| part.part.of()).next().unwrap_or(1);
    let parts = (0..of).filter_map(|index| Part::new(index, of));
    let part = parts.into_iter().find(|part| part.range(all.len()).contains(&place));
    Err(PartialError::Missing {
        sae: sae.to_owned(),
        count: all.len(),
        shards: in_words(&missing.iter().filter_map(|&place| all.get(place).copied()).collect::<Vec<_>>()),
        place,
        part: part.map_or_else(String::new, |part| part.to_string()),
    })
}

/// Refuses parts that do not have the same sequences in a shard that they both have, for different SAEs.
fn same_sequences(parts: &[ReadPart]) -> Result<(), PartialError> {
    let count = parts.first().map_or(0, |part| part.measurement.cache.shards.len());
    let mut known: Vec<Option<(usize, Option<&[Option<String>]>, &ReadPart)>> = vec![None; count];
    for part in parts {
        let Some(lengths) = part.measurement.sections.iter().find_map(|own| own.sequences.as_deref()) else { continue };
        for (shard, place) in part.places().enumerate() {
            let sequences = lengths.get(shard).map_or(0, Vec::len);
            let subsets = part.measurement.subsets.as_ref().and_then(|shards| shards.get(shard)).map(Vec::as_slice);
            match known[place] {
                None => known[place] = Some((sequences, subsets, part)),
                Some((expected, of_first, first)) if (expected, of_first) != (sequences, subsets) => {
                    let number = part.measurement.cache.shards[place];
                    let (path, first) = (part.path.clone(), first.path.clone());
                    let what = format!("list of sequences in shard {number}");
                    let (expected, got) = (format!("{expected} long"), format!("{sequences} long, or of other subsets"));
                    return Err(PartialError::OtherCache { path, first, what, expected, got });
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

/// What was measured of an SAE in a section, of the parts that tile the cache.
fn of_all_shards(tiles: &[&ReadPart], name: &str, sae: usize, section: SectionChoice) -> SectionMeasurement {
    let mut all = SectionMeasurement {
        sae,
        section,
        shards: Vec::new(),
        latents: LatentCounts { rows: 0, firings: Vec::new() },
        sequences: None,
        sample: None,
    };
    for own in tiles.iter().filter_map(|part| part.section(name, section)) {
        all.shards.extend(own.shards.iter().cloned());
        // All of one SAE, and so of one width.
        all.latents.firings.resize(own.latents.firings.len(), 0);
        all.latents.merge(&own.latents);
        if let Some(sequences) = &own.sequences {
            all.sequences.get_or_insert_default().extend(sequences.iter().cloned());
        }
        all.sample = all.sample.or_else(|| own.sample.clone());
    }
    all
}

/// The SAE as the part with the lowest shard has it: its folder is that of this part's machine.
fn of_lowest_shard(sae: &SaeIdentity, tiles: &[&ReadPart]) -> SaeIdentity {
    let lowest = tiles.first().and_then(|part| part.measurement.saes.get(part.sae(&sae.name)?));
    lowest.unwrap_or(sae).clone()
}
