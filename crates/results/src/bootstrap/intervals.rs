//! Intervals of all metrics of several SAEs, and of their differences.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Bootstrap;
use super::interval::{Interval, Jackknife};
use super::resample::draw;
use crate::columns::{COLUMNS, DependsOn};
use crate::sums::sequence::{ResampledSums, SequenceSums};

/// Number of columns. Counts have no intervals.
const COUNT: usize = COLUMNS.len();

/// 95% confidence intervals of a result's metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// Number of resampled sequences: those with a token in the section.
    pub sequences: usize,
    /// Number of resamples.
    pub resamples: usize,
    /// Intervals by metric name. Metrics that are undefined in any resample are omitted.
    pub figures: BTreeMap<String, Interval>,
    /// Difference from the first SAE of the run; `None` for the first SAE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
}

/// Metrics of an SAE minus those of another SAE on the same tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The other SAE.
    pub from: String,
    /// Differences by metric name. Metrics that are undefined, or over different activations or scales, are omitted.
    pub figures: BTreeMap<String, DifferenceFigure>,
}

/// The difference of one metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DifferenceFigure {
    /// This SAE's value minus the other's.
    pub difference: f64,
    /// 95% confidence interval of the difference.
    pub interval: Interval,
}

/// One SAE in one section of the cache, as input of `uncertainty`.
#[derive(Debug, Clone, Copy)]
pub struct Uncertain<'run> {
    /// The SAE's name.
    pub name: &'run str,
    /// Sums of each sequence of the cache.
    pub sequences: &'run [SequenceSums],
    /// c, the factor on the SAE's input.
    pub scale: f64,
    /// The factor on targets and reconstructions.
    pub target_scale: f64,
    /// Whether divergences were computed.
    pub has_kl: bool,
}

impl Uncertain<'_> {
    /// The values of [`COLUMNS`]. Undefined ones are NaN.
    fn figures(&self, tally: &ResampledSums) -> [f64; COUNT] {
        let (columns, kl) = (tally.columns(self.target_scale), self.has_kl.then(|| tally.kl()));
        std::array::from_fn(|place| COLUMNS[place].value(&columns, kl.as_ref()).unwrap_or(f64::NAN))
    }

    /// Sums over the sequences in `used`, each weighted by its entry in `times`.
    fn total(&self, used: &[usize], times: impl Iterator<Item = u32>) -> ResampledSums {
        let mut total = ResampledSums::default();
        for (&sequence, times) in used.iter().zip(times) {
            if times > 0 {
                total.add(&self.sequences[sequence], f64::from(times));
            }
        }
        total
    }

    fn is_comparable(&self, other: &Self, depends_on: DependsOn) -> bool {
        let same_rows = || {
            let pairs = self.sequences.iter().zip(other.sequences);
            pairs.into_iter().all(|(own, other)| (own.activation_rows() - other.activation_rows()).abs() < 0.5)
        };
        match depends_on {
            DependsOn::Predictions => true,
            DependsOn::Activations => same_rows(),
            DependsOn::ScaledActivations => {
                let scales = |sae: &Self| (sae.scale.to_bits(), sae.target_scale.to_bits());
                scales(self) == scales(other) && same_rows()
            }
        }
    }
}

/// Computes the intervals of SAEs on one section of one cache, in their order; differences are from the first SAE. The
/// result is bitwise independent of the number of threads.
pub fn uncertainty(bootstrap: Bootstrap, saes: &[Uncertain<'_>]) -> Vec<Intervals> {
    let Some(first) = saes.first() else { return Vec::new() };
    let in_any = |&sequence: &usize| saes.iter().any(|sae| sae.sequences[sequence].is_used());
    let used: Vec<usize> = (0..first.sequences.len()).filter(in_any).collect();
    let resamples: Vec<Vec<[f64; COUNT]>> = (0..bootstrap.resamples)
        .into_par_iter()
        .map(|resample| {
            let times = draw(resample, used.len());
            saes.iter().map(|sae| sae.figures(&sae.total(&used, times.iter().copied()))).collect()
        })
        .collect();
    let totals: Vec<ResampledSums> = saes.iter().map(|sae| sae.total(&used, used.iter().map(|_| 1))).collect();
    let estimates: Vec<[f64; COUNT]> = saes.iter().zip(&totals).map(|(sae, total)| sae.figures(total)).collect();
    let jackknives = jackknives(saes, &used, &totals, &estimates);

    let intervals = |(place, sae): (usize, &Uncertain<'_>)| {
        let enough = used.len() > 1;
        let interval = |figure: usize| {
            let mut values: Vec<f64> = resamples.iter().map(|saes| saes[place][figure]).collect();
            let acceleration = jackknives[place].own[figure].acceleration();
            Interval::of(estimates[place][figure], &mut values, acceleration).filter(|_| enough)
        };
        let apart = |figure: usize| {
            let mut values: Vec<f64> = resamples.iter().map(|saes| saes[place][figure] - saes[0][figure]).collect();
            let difference = estimates[place][figure] - estimates[0][figure];
            let acceleration = jackknives[place].apart[figure].acceleration();
            let interval = Interval::of(difference, &mut values, acceleration).filter(|_| enough)?;
            Some(DifferenceFigure { difference, interval })
        };
        let metrics =
            COLUMNS.iter().enumerate().filter_map(|(figure, column)| Some((figure, column, column.depends_on?)));
        let difference = (place > 0).then(|| Difference {
            from: first.name.to_owned(),
            figures: metrics
                .clone()
                .filter(|(_, _, depends_on)| sae.is_comparable(first, *depends_on))
                .filter_map(|(figure, column, _)| Some((column.name.to_owned(), apart(figure)?)))
                .collect(),
        });
        Intervals {
            sequences: used.len(),
            resamples: bootstrap.resamples,
            figures: metrics
                .filter_map(|(figure, column, _)| Some((column.name.to_owned(), interval(figure)?)))
                .collect(),
            difference,
        }
    };
    saes.iter().enumerate().map(intervals).collect()
}

/// Jackknives of an SAE's metrics, and of their differences from the first SAE's.
#[derive(Debug, Clone, Copy, Default)]
struct Jackknives {
    own: [Jackknife; COUNT],
    apart: [Jackknife; COUNT],
}

fn jackknives(
    saes: &[Uncertain<'_>],
    used: &[usize],
    totals: &[ResampledSums],
    estimates: &[[f64; COUNT]],
) -> Vec<Jackknives> {
    let mut jackknives = vec![Jackknives::default(); saes.len()];
    for &sequence in used {
        let mut of_first = [0.0; COUNT];
        for (place, (sae, jackknives)) in saes.iter().zip(&mut jackknives).enumerate() {
            let mut rest = totals[place];
            rest.add(&sae.sequences[sequence], -1.0);
            for (figure, value) in sae.figures(&rest).into_iter().enumerate() {
                let change = value - estimates[place][figure];
                if place == 0 {
                    of_first[figure] = change;
                }
                jackknives.own[figure].add(change);
                jackknives.apart[figure].add(change - of_first[figure]);
            }
        }
    }
    jackknives
}
