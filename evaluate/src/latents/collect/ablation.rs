//! What single latents do for the model's loss.

use std::collections::BTreeMap;

use hayloft_latents::AblationSums;
use hayloft_rows::SectionChoice;
use hayloft_runtime::Gauge;
use tch::Kind;

use super::pass::Collector;
use crate::data::batch::{Activations, Batch, rows_at};
use crate::data::reader::CacheReader;
use crate::error::EvaluateError;
use crate::splice::sae_runner::{multiplied, target_scale};
use crate::splice::upper_model::UpperModel;

/// For each ablated latent of an SAE its sums on each shard, by the shard's number.
pub(super) type Ablations = BTreeMap<u32, BTreeMap<usize, AblationSums>>;

/// For each SAE, ablates some of its latents on the shards at these indices: takes the latent's contribution out of the
/// residual at the tokens at which it fires, and everything else, the SAE's error too, stays. Each latent is a run of the model
/// above the site over the sequences in which it fires.
pub(super) fn ablate(
    source: CacheReader<'_>,
    places: &[usize],
    (collectors, chosen): (&[Collector<'_>], &[Vec<u32>]),
    sections: &[SectionChoice],
    upper_model: &UpperModel,
    gauge: &Gauge,
) -> Result<Vec<Ablations>, EvaluateError> {
    let empty = |chosen: &Vec<u32>| chosen.iter().map(|&latent| (latent, BTreeMap::new())).collect();
    let mut ablations: Vec<Ablations> = chosen.iter().map(empty).collect();
    source.for_each(
        places,
        gauge,
        |batch| {
            let activations = source.to_device(batch)?;
            let norms = activations.norms()?;
            let of_sae = |(own, chosen): (&Collector<'_>, &Vec<u32>)| {
                own.ablate(batch, (&activations, &norms), sections, chosen, upper_model)
            };
            collectors.iter().zip(chosen).map(of_sae).collect()
        },
        |batch, of_saes: Vec<Vec<(u32, AblationSums)>>| {
            for (all, own) in ablations.iter_mut().zip(of_saes) {
                for (latent, AblationSums { tokens, ce_deltas }) in own {
                    let sums = all.entry(latent).or_default().entry(batch.shard).or_default();
                    sums.tokens += tokens;
                    sums.ce_deltas += ce_deltas;
                }
            }
            Ok(())
        },
    )?;
    Ok(ablations)
}

impl Collector<'_> {
    /// Ablates latents, which are in ascending order, on the rows of a batch that are in any of the sections and not left out.
    fn ablate(
        &self,
        batch: &Batch,
        (activations, norms): (&Activations, &[f64]),
        sections: &[SectionChoice],
        chosen: &[u32],
        upper_model: &UpperModel,
    ) -> Result<Vec<(u32, AblationSums)>, EvaluateError> {
        let (kept, _) = batch.kept_of_any(sections, norms, self.rule);
        let inputs = multiplied(&rows_at(&activations.input, &kept)?, self.scale)?;
        // Indices into the kept rows, and activations there.
        let mut firings: BTreeMap<u32, (Vec<i64>, Vec<f32>)> = BTreeMap::new();
        self.sae.encode_sparsely::<EvaluateError>(&inputs, |sparse| {
            for (place, fired) in (0..).zip(sparse.rows()) {
                for &(latent, activation) in fired {
                    if chosen.binary_search(&latent).is_ok() {
                        let (places, activations) = firings.entry(latent).or_default();
                        places.push(place);
                        activations.push(activation);
                    }
                }
            }
            Ok(())
        })?;
        let clean = upper_model.clean(activations)?;
        let mut ablations = Vec::new();
        for (latent, (places, values)) in firings {
            let contribution = self.sae.contribution(&rows_at(&inputs, &places)?, latent as usize, &values)?;
            let contribution = contribution.f_div_scalar(target_scale(self.file, self.scale))?;
            let rows: Vec<i64> = places.iter().map(|&place| kept[place as usize]).collect();
            let without = rows_at(&activations.in_model, &rows)?.f_to_kind(Kind::Float)?.f_sub(&contribution)?;
            let labels = batch.labels_at(&rows);
            let counted: Vec<i64> =
                rows.iter().zip(labels).filter(|(_, label)| *label >= 0).map(|(row, _)| *row).collect();
            if counted.is_empty() {
                continue;
            }
            let before = upper_model.losses(batch, &clean, &counted)?;
            let after = upper_model.losses(batch, &upper_model.spliced(activations, &rows, &without)?, &counted)?;
            let ce_deltas = before.iter().zip(after).map(|(before, after)| f64::from(after) - f64::from(*before)).sum();
            ablations.push((latent, AblationSums { tokens: counted.len() as u64, ce_deltas }));
        }
        Ok(ablations)
    }
}
