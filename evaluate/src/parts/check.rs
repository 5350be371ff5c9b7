//! Validates partial results from untrusted files, so that no allocation, sum or file name depends on unchecked input.

use std::collections::BTreeSet;

use hayloft_results::{Bootstrap, BySubset, NORM_BINS, POSITION_BINS, SubsetSums, Sums, is_plain};
use hayloft_runtime::Part;

use super::header::Header;
use super::measurement::{Measurement, SaeIdentity};

/// Largest count allowed in one shard or part, such that [`Part::MOST`] of them still fit into 64 bits.
const LARGEST_COUNT: u64 = 1 << 43;

/// Checks the header; the error describes what was found.
pub(super) fn header(header: &Header) -> Result<Part, String> {
    let part = header.part.part_with(&header.shards, &header.cache.shards)?;
    let protocol = &header.protocol;
    let expected = if protocol.keeps_sequences() { header.shards.len() } else { 0 };
    if header.sequences.len() != expected {
        return Err(format!("sequences of {} shards in place of {expected}", header.sequences.len()));
    }
    if protocol.bootstrap.is_some_and(|resamples| !(Bootstrap::FEWEST..=Bootstrap::MOST).contains(&resamples)) {
        return Err("a number of resamples that no run has".to_owned());
    }
    let names: BTreeSet<&str> = header.saes.iter().map(|sae| sae.name.as_str()).collect();
    if header.saes.is_empty() || names.len() != header.saes.len() {
        return Err("SAEs that share a name".to_owned());
    }
    header.saes.iter().try_for_each(sae)?;
    sections(header)?;
    Ok(part)
}

/// Checks an SAE; its name becomes a file name.
fn sae(sae: &SaeIdentity) -> Result<(), String> {
    let thresholds = sae.outliers.map(|outliers| [outliers.scaled, outliers.raw]);
    let numbers = thresholds.into_iter().flatten().chain([sae.scale]);
    if sae.name.is_empty() || !sae.name.chars().all(is_plain) {
        return Err(format!("an SAE called {:?}", sae.name));
    }
    if numbers.into_iter().any(|number| !number.is_finite()) {
        return Err(format!("no number as the scale or the threshold of {}", sae.name));
    }
    Ok(())
}

/// Checks that every SAE appears once in every section.
fn sections(header: &Header) -> Result<(), String> {
    let wanted = &header.protocol.sections;
    let found: BTreeSet<_> = header.sections.iter().map(|own| (own.sae, own.section)).collect();
    let known = found.iter().all(|(sae, section)| *sae < header.saes.len() && wanted.contains(section));
    let all = wanted.len().checked_mul(header.saes.len());
    if wanted.is_empty() || !known || all != Some(found.len()) || found.len() != header.sections.len() {
        return Err("other SAEs and sections than it was to measure".to_owned());
    }
    for own in &header.sections {
        if own.sums.len() != header.shards.len() {
            return Err(format!("sums of {} shards in place of {}", own.sums.len(), header.shards.len()));
        }
        subsets(own.subsets.as_deref(), header)?;
    }
    Ok(())
}

/// Checks that every shard has each subset once, if subsets are requested.
fn subsets(shards: Option<&[BySubset<SubsetSums>]>, header: &Header) -> Result<(), String> {
    if shards.map(<[_]>::len) != header.protocol.by_subset.then_some(header.shards.len()) {
        return Err("subsets that do not go with its settings and shards".to_owned());
    }
    if !shards.unwrap_or_default().iter().all(BySubset::is_in_order) {
        return Err("subsets that are out of order".to_owned());
    }
    Ok(())
}

/// Checks that counts can be added without overflow.
pub(super) fn counts(measurement: &Measurement) -> Result<(), String> {
    for own in &measurement.sections {
        let sampled = own.sample.iter().flat_map(|sample| [&sample.low, &sample.exact]);
        for sums in own.shards.iter().chain(sampled) {
            of_sums(sums)?;
        }
        for (_, own) in own.subsets.iter().flatten().flat_map(BySubset::iter) {
            of_sums(&own.sums)?;
            within([own.sequences])?;
        }
        let latents = [own.latents.rows].into_iter().chain(own.latents.firings.iter().copied());
        within(latents)?;
    }
    within([measurement.cache.tokens])
}

fn of_sums(sums: &Sums) -> Result<(), String> {
    let positions = &sums.positions;
    let bins = [
        positions.loss_tokens.values().len(),
        positions.clean_loss.values().len(),
        positions.sae_loss.values().len(),
        positions.zero_loss.values().len(),
        positions.activation_rows.values().len(),
        positions.latents.values().len(),
        positions.squared_error.values().len(),
        positions.squared_deviation.values().len(),
    ];
    if bins.iter().any(|&bins| bins > POSITION_BINS) {
        return Err("more bins of positions than there are".to_owned());
    }
    let last = i64::from(sums.norms.first_bin) + sums.norms.counts.len() as i64;
    if !NORM_BINS.contains(&sums.norms.first_bin) || last > i64::from(NORM_BINS.end) {
        return Err("more bins of norms than there are".to_owned());
    }
    let counts = [
        sums.loss_tokens,
        sums.activation_rows,
        sums.outlier_rows,
        sums.non_finite_rows,
        sums.excluded_rows,
        sums.latents,
        sums.kl.map_or(0, |kl| kl.tokens),
    ];
    let of_positions = [&positions.loss_tokens, &positions.activation_rows, &positions.latents];
    within(counts)?;
    within(of_positions.into_iter().flat_map(|counts| counts.values().iter().copied()))?;
    within(sums.norms.counts.iter().copied())
}

fn within(counts: impl IntoIterator<Item = u64>) -> Result<(), String> {
    match counts.into_iter().find(|&count| count > LARGEST_COUNT) {
        Some(count) => Err(format!("a count of {count}")),
        None => Ok(()),
    }
}
