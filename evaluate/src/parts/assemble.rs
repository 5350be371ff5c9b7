//! Computes results from a measurement of all shards.

use hayloft_results::{
    Bootstrap, Columns, ComputeEffect, Kl, LatentCounts, Provenance, ResultConventions, Results, RowCounts, SaeResult,
    SequenceSums, ShardResult, Sums, Uncertain, subset_figures, uncertainty,
};
use hayloft_rows::LeftOut;

use crate::parts::{Measurement, Protocol, SaeIdentity, SectionMeasurement};

/// Computes the results of a measurement of all shards. Every metric is computed here, however the shards were split.
pub(crate) fn assemble(measurement: Measurement) -> Results {
    let mut measurement = measurement;
    let (mut results, mut latents) = (Vec::new(), Vec::<LatentCounts>::new());
    let mut sequences: Vec<Vec<SequenceSums>> = Vec::new();
    for mut own in std::mem::take(&mut measurement.sections) {
        if let Some(of_shards) = own.sequences.take() {
            sequences.push(of_shards.into_iter().flatten().collect());
        }
        if let Some(sae) = measurement.saes.get(own.sae) {
            results.push(result(&measurement, sae, &own));
            latents.push(own.latents);
        }
    }
    let Measurement { cache, protocol, clean_check, .. } = &measurement;
    add_intervals(&mut results, &sequences, protocol);
    warn_of_non_finite(&results);
    warn_of_left_out(&results, &measurement.saes);
    Results { results, latents, clean_check: *clean_check, tokens: cache.tokens }
}

fn result(measurement: &Measurement, sae: &SaeIdentity, own: &SectionMeasurement) -> SaeResult {
    let Measurement { cache, protocol, .. } = measurement;
    let sums = Sums::total(&own.shards);
    let counts = (sums.loss_tokens, sums.activation_rows);
    let kl = protocol.kl.map(|kl| Kl::of(sums.kl, counts, kl.method, (kl.clean_precision, kl.spliced_precision)));
    let numbers = measurement.shards.iter().copied();
    let target_scale = sae.provenance.target_scale(sae.scale);
    SaeResult {
        sae: sae.name.clone(),
        section: own.section,
        site: sae.site.clone(),
        columns: Columns::of(&sums, target_scale),
        scale: sae.scale,
        scale_source: sae.scale_source,
        scale_rows: sae.scale_rows.clone(),
        outlier_norm: sae.outliers.map(|outliers| outliers.scaled),
        outlier_norm_raw: sae.outliers.map(|outliers| outliers.raw),
        outlier_rule: sae.outliers.map(|outliers| outliers.rule),
        conventions: ResultConventions { spliced_with: sae.spliced_with.clone(), ..protocol.conventions.clone() },
        precision: protocol.precision,
        clean_loss_source: protocol.clean_loss_source,
        compute_effect: own.sample.as_ref().map(|sample| ComputeEffect::of(sample, sae.scale, &own.shards)),
        kl,
        intervals: None,
        subsets: own.subsets.as_deref().map_or_else(Vec::new, |shards| subset_figures(shards, target_scale)),
        stored_rounding: measurement.stored_rounding,
        definitions: protocol.definitions.clone(),
        latents: own.latents.summary(),
        shards: numbers.zip(&own.shards).map(|(shard, sums)| ShardResult { shard, sums: sums.clone() }).collect(),
        sums,
        provenance: Provenance {
            hayloft_version: env!("CARGO_PKG_VERSION").to_owned(),
            corpus: cache.corpus.clone(),
            manifest_blake3: cache.manifest_blake3.clone(),
            model: cache.model.clone(),
            sae: sae.provenance.clone(),
        },
    }
}

/// Adds the intervals, if requested; `sequences` are those of each result, or empty if not requested.
fn add_intervals(results: &mut [SaeResult], sequences: &[Vec<SequenceSums>], protocol: &Protocol) {
    let Some(resamples) = protocol.bootstrap else { return };
    for &section in &protocol.sections {
        let own: Vec<usize> = (0..results.len()).filter(|&place| results[place].section == section).collect();
        let uncertain = |&place: &usize| Uncertain {
            name: &results[place].sae,
            sequences: &sequences[place],
            scale: results[place].scale,
            target_scale: results[place].target_scale(),
            has_kl: results[place].kl.is_some(),
        };
        // SAEs that are spliced together share one run, so no differences between them are taken.
        let compared = if protocol.splice_together { 1 } else { own.len().max(1) };
        let groups = own.chunks(compared).map(|group| group.iter().map(uncertain).collect::<Vec<_>>());
        let intervals: Vec<_> = groups.flat_map(|group| uncertainty(Bootstrap { resamples }, &group)).collect();
        for (place, intervals) in own.into_iter().zip(intervals) {
            results[place].intervals = Some(intervals);
        }
    }
}

/// Warns if an outlier rule appears to have left out more than outliers.
fn warn_of_left_out(results: &[SaeResult], saes: &[SaeIdentity]) {
    for SaeResult { sae, section, sums, .. } in results {
        let Some(of) = saes.iter().find(|own| own.name == *sae) else { continue };
        let Sums { outlier_rows, non_finite_rows, excluded_rows, .. } = *sums;
        let left = LeftOut { outliers: outlier_rows, non_finite: non_finite_rows, excluded: excluded_rows };
        let counts = RowCounts { kept: sums.activation_rows, left, norms: &sums.norms };
        if let Some(said) = counts.warning(of.outliers.as_ref(), of.scale_source, of.other_outliers()) {
            tracing::warn!(%sae, %section, "{said}");
        }
    }
}

fn warn_of_non_finite(results: &[SaeResult]) {
    for SaeResult { sae, section, sums, .. } in results {
        if sums.non_finite_rows > 0 {
            let rows = sums.non_finite_rows;
            tracing::warn!(%sae, %section, rows, "activations with NaN or infinity count as outliers");
        }
    }
}
