//! Intervals of all figures of several SAEs, and of their differences.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Bootstrap;
use super::figures::{About, COUNT, FIGURES, figures};
use super::interval::{Interval, Jackknife};
use super::resample::draw;
use crate::sums::sequence::{ResampledSums, SequenceSums};

/// Where the figures of a result lie, with a confidence of 95%.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// Sequences that were resampled: those with a token in the section.
    pub sequences: usize,
    /// How many times.
    pub resamples: usize,
    /// By the figure's name; those that are undefined in any resample are left out.
    pub figures: BTreeMap<String, Interval>,
    /// What it is more or less than the first SAE of the run; `None` for that one itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
}

/// The figures of an SAE less those of another on the same tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The other SAE.
    pub from: String,
    /// By the figure's name; those that are undefined, or of different activations or scales, are left out.
    pub figures: BTreeMap<String, DifferenceFigure>,
}

/// The difference of one figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DifferenceFigure {
    /// The figure of this SAE less that of the other.
    pub difference: f64,
    /// Where the difference lies, with a confidence of 95%.
    pub interval: Interval,
}

/// An SAE in a section of the cache, whose figures are to have intervals.
#[derive(Debug, Clone, Copy)]
pub struct Uncertain<'run> {
    /// The SAE's name.
    pub name: &'run str,
    /// One for each sequence of the cache.
    pub sequences: &'run [SequenceSums],
    /// c, by which what the SAE is given is multiplied.
    pub scale: f64,
    /// What targets and reconstructions are multiplied by.
    pub target_scale: f64,
    /// Whether divergences were summed.
    pub has_kl: bool,
}

impl Uncertain<'_> {
    fn figures(&self, tally: &ResampledSums) -> [f64; COUNT] {
        figures(tally, self.target_scale, self.has_kl)
    }

    /// Sums over these sequences, each so many times.
    fn total(&self, used: &[usize], times: impl Iterator<Item = u32>) -> ResampledSums {
        let mut total = ResampledSums::default();
        for (&sequence, times) in used.iter().zip(times) {
            if times > 0 {
                total.add(&self.sequences[sequence], f64::from(times));
            }
        }
        total
    }

    fn is_comparable(&self, other: &Self, about: About) -> bool {
        let same_rows = || {
            let pairs = self.sequences.iter().zip(other.sequences);
            pairs.into_iter().all(|(own, other)| (own.activation_rows() - other.activation_rows()).abs() < 0.5)
        };
        match about {
            About::Predictions => true,
            About::Activations => same_rows(),
            About::ScaledActivations => {
                let scales = |sae: &Self| (sae.scale.to_bits(), sae.target_scale.to_bits());
                scales(self) == scales(other) && same_rows()
            }
        }
    }
}

/// Intervals for SAEs on the same section of the same cache, in their order; the differences are from the first. The same
/// SAEs give the same bits on any number of threads.
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
        let named = FIGURES.iter().enumerate();
        let difference = (place > 0).then(|| Difference {
            from: first.name.to_owned(),
            figures: named
                .clone()
                .filter(|(_, (_, about))| sae.is_comparable(first, *about))
                .filter_map(|(figure, (name, _))| Some(((*name).to_owned(), apart(figure)?)))
                .collect(),
        });
        Intervals {
            sequences: used.len(),
            resamples: bootstrap.resamples,
            figures: named.filter_map(|(figure, (name, _))| Some(((*name).to_owned(), interval(figure)?))).collect(),
            difference,
        }
    };
    saes.iter().enumerate().map(intervals).collect()
}

/// What leaving out each sequence does to the figures of an SAE, and to their difference from the first SAE's.
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
