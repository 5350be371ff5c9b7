//! One pass over the cache for all SAEs.

use std::collections::BTreeMap;

use hayloft_latents::{BatchRows, Group, GroupNumbers, LatentsError, RowLabels, Statistics};
use hayloft_rows::{LeftOut, OutlierRule, SectionChoice};
use hayloft_runtime::Gauge;
use hayloft_sae::{Sae, SaeFile};
use hayloft_store::Section;

use super::delphi::{DelphiExport, Firing};
use crate::data::batch::{Activations, Batch, rows_at};
use crate::data::reader::CacheReader;
use crate::error::EvaluateError;
use crate::splice::sae_runner::multiplied;

/// An SAE and the statistics of its latents.
pub(super) struct Collector<'run> {
    pub(super) file: &'run SaeFile,
    pub(super) sae: Sae,
    /// The factor that activations are multiplied by.
    pub(super) scale: f64,
    pub(super) rule: OutlierRule,
    pub(super) statistics: Statistics,
}

/// Adds the shards at these indices to the statistics of all SAEs, and to the export. Returns the counts of rows that each
/// SAE does not read.
/// Batches are added by several threads in no order, which statistics do not depend on.
pub(super) fn pass(
    source: CacheReader<'_>,
    places: &[usize],
    collectors: &[Collector<'_>],
    sections: &[SectionChoice],
    numbers: &GroupNumbers,
    mut export: Option<&mut DelphiExport>,
    gauge: &Gauge,
) -> Result<Vec<LeftOut>, EvaluateError> {
    let mut left_out = vec![LeftOut::default(); collectors.len()];
    let lists_firings = export.is_some();
    source.for_each(
        places,
        gauge,
        |batch| {
            let activations = source.to_device(batch)?;
            let norms = activations.norms()?;
            let labels = labels(batch, numbers);
            let add = |own: &Collector<'_>| {
                let mut firings = Vec::new();
                let list = lists_firings.then_some(&mut firings);
                Ok((own.add(batch, (&activations, &norms), sections, &labels, list)?, firings))
            };
            collectors.iter().map(add).collect()
        },
        |batch, done: Vec<(LeftOut, Vec<Firing>)>| {
            let (left, firings): (Vec<LeftOut>, _) = done.into_iter().unzip();
            for (all, left) in left_out.iter_mut().zip(left) {
                all.add(left);
            }
            export.as_mut().map_or(Ok(()), |export| export.add(batch, firings))
        },
    )?;
    Ok(left_out)
}

impl Collector<'_> {
    /// Adds the rows of a batch that are in any of the sections and not left out; lists what fires there.
    fn add(
        &self,
        batch: &Batch,
        (activations, norms): (&Activations, &[f64]),
        sections: &[SectionChoice],
        labels: &RowLabels,
        mut list: Option<&mut Vec<Firing>>,
    ) -> Result<LeftOut, EvaluateError> {
        let (kept, left_out) = batch.kept_of_any(sections, norms, self.rule);
        let inputs = multiplied(&rows_at(&activations.input, &kept)?, self.scale)?;
        let rows = BatchRows::new(labels, &kept);
        let mut statistics = self.statistics.batch(&rows);
        self.sae.encode_sparsely(&inputs, |sparse| {
            if let Some(list) = &mut list {
                let fired = |(&row, fired): (&i64, &'_ [(u32, f32)])| {
                    fired.iter().map(|&(latent, activation)| Firing { row: row as u32, latent, activation }).collect()
                };
                list.extend(kept.iter().zip(sparse.rows()).flat_map::<Vec<Firing>, _>(fired));
            }
            statistics.add(sparse.latents(), sparse.rows()).map_err(|cause| self.not_finite(cause))
        })?;
        statistics.finish();
        Ok(left_out)
    }

    fn not_finite(&self, cause: LatentsError) -> EvaluateError {
        EvaluateError::NonFiniteLatent { sae: self.file.folder().to_path_buf(), cause }
    }
}

/// The places and groups of a batch's rows.
fn labels(batch: &Batch, numbers: &GroupNumbers) -> RowLabels {
    let rows: Vec<i64> = (0..batch.rows() as i64).collect();
    let mut subsets = vec![0; rows.len()];
    for (name, places) in batch.subsets.split(&rows) {
        let number = numbers.number(&Group::Subset(name.map(str::to_owned)));
        for place in places {
            subsets[place] = number;
        }
    }
    let (mut sections, mut turns): (BTreeMap<Section, u32>, BTreeMap<u32, u32>) = Default::default();
    let mut groups = Vec::new();
    for (row, subset) in subsets.into_iter().enumerate() {
        let section = batch.sections[row];
        let section = sections.entry(section).or_insert_with(|| numbers.number(&Group::Section(section.to_string())));
        groups.extend([*section, subset]);
        if let Some(&turn) = batch.turns.get(row) {
            groups.push(*turns.entry(turn).or_insert_with(|| numbers.number(&Group::Turn(turn))));
        }
    }
    RowLabels::new(batch.sequences.iter().copied(), groups)
}
