//! Divergences of the zero-ablated run's predictions from the clean run's.

use std::borrow::Cow;
use std::slice;

use hayloft_results::{BinSums, KlMethod};
use hayloft_rows::SectionChoice;
use hayloft_runtime::Dtype;
use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

use super::shard_sums::{Key, ShardSums};
use crate::data::batch::{Activations, Batch};
use crate::error::EvaluateError;
use crate::metrics::kl::BatchCleanRun;
use crate::splice::predictions::PredictionReader;
use crate::splice::upper_model::UpperModel;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DivergencesKey {
    pub(super) site: String,
    pub(super) section: SectionChoice,
    pub(super) precision: Dtype,
    pub(super) method: KlMethod,
}

impl Key for DivergencesKey {
    fn file_stem(&self) -> String {
        format!("divergences.{}.{}.{}.{}", self.site, self.section, self.precision, self.method.name())
    }
}

/// Divergences of the zero-ablated run over one shard, summed in float64 in row order; nats.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct AblatedDivergences {
    /// The shard's number in the plan.
    pub(crate) shard: usize,
    /// KL(clean ‖ ablated) at the section's tokens that have a next token.
    pub(crate) kl: f64,
    /// The same for each sequence.
    pub(crate) by_sequence: BinSums,
}

impl AblatedDivergences {
    /// Adds the divergences at the next batch's rows with a next token.
    pub(super) fn add(&mut self, batch: &Batch, rows: &[i64], kl: &[f64]) {
        self.kl += kl.iter().sum::<f64>();
        self.by_sequence.extend(batch.sums_by_sequence(rows, kl.iter().copied()));
    }
}

impl ShardSums for AblatedDivergences {
    const COUNTS: &'static [&'static str] = &["shard"];
    const LISTS: &'static [&'static str] = &["kl", "by_sequence"];

    fn counts(&self) -> Vec<u64> {
        vec![self.shard as u64]
    }

    fn lists(&self) -> Vec<Cow<'_, [f64]>> {
        vec![slice::from_ref(&self.kl).into(), self.by_sequence.values().into()]
    }

    fn of(counts: &[u64], lists: Vec<Vec<f64>>, _: &[Option<String>]) -> Option<Self> {
        let &[shard] = counts else { return None };
        let [kl, by_sequence] = lists.try_into().ok()?;
        let &[kl] = kl.as_slice() else { return None };
        Some(Self { shard: usize::try_from(shard).ok()?, kl, by_sequence: BinSums::of(by_sequence) })
    }
}

/// State for the divergences of the zero-ablated run that is the same for all batches.
#[derive(Debug)]
pub(super) struct AblatedRun<'run> {
    reading: PredictionReader<'run>,
    upper_model: &'run UpperModel,
    sections: Vec<SectionChoice>,
}

impl<'run> AblatedRun<'run> {
    pub(super) fn new(
        reading: PredictionReader<'run>,
        upper_model: &'run UpperModel,
        sections: Vec<SectionChoice>,
    ) -> Self {
        Self { reading, upper_model, sections }
    }

    /// Returns, for each section, the divergences over one batch at its rows with a next token.
    pub(super) fn measure(&self, batch: &Batch, activations: &Activations) -> Result<Vec<Vec<f64>>, EvaluateError> {
        let Some(clean_run) = self.reading.clean_run(batch, activations, &self.sections)? else {
            return Ok(Vec::new());
        };
        let measure = |&section: &SectionChoice| self.measure_section(&clean_run, batch, activations, section);
        self.sections.iter().map(measure).collect()
    }

    fn measure_section(
        &self,
        clean_run: &BatchCleanRun<'_>,
        batch: &Batch,
        activations: &Activations,
        section: SectionChoice,
    ) -> Result<Vec<f64>, EvaluateError> {
        let (counted, members) = (batch.counted(section), batch.members(section));
        if counted.is_empty() {
            return Ok(Vec::new());
        }
        let end = if members.len() == batch.rows() && self.reading.is_same_everywhere_when_zero() {
            repeated(&self.upper_model.all_zero_end()?, counted.len())?
        } else {
            self.reading.ablated_end(self.upper_model, batch, activations, &members, &counted)?
        };
        let read = clean_run.divergences(&[end], &counted)?;
        Ok(read.into_iter().flat_map(|divergences| divergences.kl).collect())
    }
}

/// `[1, d]` → `[count, d]`.
fn repeated(row: &Tensor, count: usize) -> Result<Tensor, TchError> {
    row.f_expand([count as i64, -1], false)?.f_contiguous()
}
