//! Evaluation of the current SAE on held-out rows.

use hayloft_results::{Columns, HeldOutFigures, LatentCounts, RowTerms, Sums};
use hayloft_sae::{Closeness, Sae, TargetMean};
use tch::{Device, Kind, Tensor};

use crate::data::HeldOutRows;
use crate::error::TrainError;
use crate::measure::threshold::threshold_below;
use crate::model::Exported;

/// Maximum number of latents materialised at once: 64 MiB of float32.
const TOGETHER: i64 = 1 << 24;

/// Held-out rows, scaled as the saved SAE's input.
#[derive(Debug)]
pub(crate) struct HeldOut<'cache> {
    rows: HeldOutRows<'cache>,
    /// Factor from a stored row to the saved SAE's input.
    scale: f64,
    /// Mean of the scaled rows.
    mean: TargetMean,
    device: Device,
}

impl<'cache> HeldOut<'cache> {
    /// Reads the rows once to compute their mean.
    pub(crate) fn open(rows: HeldOutRows<'cache>, scale: f64, device: Device) -> Result<Self, TrainError> {
        let mut sum: Option<Tensor> = None;
        rows.for_each(device, |rows| {
            let own = rows.f_to_kind(Kind::Double)?.f_sum_dim_intlist([0i64].as_slice(), false, Kind::Double)?;
            sum = Some(match &sum {
                Some(sum) => sum.f_add(&own)?,
                None => own,
            });
            Ok(())
        })?;
        let mean = sum.unwrap_or_default().f_mul_scalar(scale / rows.len() as f64)?.f_to_kind(Kind::Float)?;
        Ok(Self { rows, scale, mean: TargetMean::from(mean), device })
    }

    /// Evaluates an SAE on the held-out rows.
    pub(crate) fn figures(&self, sae: &Exported) -> Result<HeldOutFigures, TrainError> {
        let sae = sae.load(self.device)?;
        let mut sums = Sums::default();
        let mut latents = LatentCounts { rows: 0, firings: vec![0; sae.width()] };
        self.for_each(|x| add(&sae, x, &self.mean, &mut sums, &mut latents))?;
        Ok(figures(&sums, &latents))
    }

    /// Finds the common threshold at which `average` latents fire per row, rounded to a whole number over all rows. `sae`
    /// must have a threshold per latent.
    pub(crate) fn threshold(&self, sae: &Exported, average: f64) -> Result<f32, TrainError> {
        let sae = sae.with_threshold(0.0)?.load(self.device)?;
        let firings = (average * self.rows.len() as f64).round() as u64;
        let count = (TOGETHER / sae.width() as i64).max(1);
        threshold_below(firings, |look| {
            self.for_each(|x| {
                for first in (0..x.size()[0]).step_by(count as usize) {
                    let some = x.f_narrow(0, first, count.min(x.size()[0] - first))?;
                    let latents = sae.encode(&some)?.latents;
                    let values = latents.f_masked_select(&latents.f_gt(0.0)?)?.f_to_device(Device::Cpu)?;
                    look(&Vec::<f32>::try_from(values)?);
                }
                Ok(())
            })
        })
    }

    /// Calls `work` with all rows as the saved SAE's input, in pieces of `[n, d_model]` float32 on the device.
    fn for_each(&self, mut work: impl FnMut(&Tensor) -> Result<(), TrainError>) -> Result<(), TrainError> {
        self.rows.for_each(self.device, |rows| work(&rows.f_to_kind(Kind::Float)?.f_mul_scalar(self.scale)?))
    }
}

/// Evaluates an SAE on rows `[n, d_model]` float32, without scaling them.
pub(crate) fn figures_on(sae: &Exported, x: &Tensor) -> Result<HeldOutFigures, TrainError> {
    let sae = sae.load(x.device())?;
    let mean = x.f_mean_dim([0i64].as_slice(), false, Kind::Double)?.f_to_kind(Kind::Float)?;
    let mut sums = Sums::default();
    let mut latents = LatentCounts { rows: 0, firings: vec![0; sae.width()] };
    add(&sae, x, &TargetMean::from(mean), &mut sums, &mut latents)?;
    Ok(figures(&sums, &latents))
}

/// Accumulates some rows in order, as the evaluation does.
fn add(
    sae: &Sae,
    x: &Tensor,
    mean: &TargetMean,
    sums: &mut Sums,
    latents: &mut LatentCounts,
) -> Result<(), TrainError> {
    let all = vec![vec![true; x.size()[0] as usize]];
    let (reconstruction, firings) = sae.reconstruct_counting(x, &all)?;
    let close = Closeness::of(x, &reconstruction.rows)?;
    let deviations = mean.squared_deviations(x)?;
    let (fired, l1): (Vec<i64>, Vec<f32>) = (Vec::try_from(&reconstruction.fired)?, Vec::try_from(&reconstruction.l1)?);
    for (place, deviation) in deviations.into_iter().enumerate() {
        sums.add_activation(&RowTerms::new((fired[place], l1[place]), deviation, close.at(place)));
    }
    let firings = firings.into_iter().flatten().map(u64::from).collect();
    latents.merge(&LatentCounts { rows: x.size()[0] as u64, firings });
    Ok(())
}

fn figures(sums: &Sums, latents: &LatentCounts) -> HeldOutFigures {
    let Columns { l0, explained_variance, explained_variance_pooled, activation_rows, .. } = Columns::of(sums, 1.0);
    let dead = latents.firings.iter().filter(|&&firings| firings == 0).count();
    let dead_fraction = dead as f64 / latents.firings.len() as f64;
    HeldOutFigures { rows: activation_rows, l0, explained_variance, explained_variance_pooled, dead_fraction }
}
