//! `BatchTopK` (Bussmann et al. 2024): the largest latents of the whole batch, k per row on average.

use hayloft_sae::Ranking;
use tch::{Kind, TchError, Tensor};

use super::export::{Exported, Fold};
use super::topk::Ranked;
use super::{Forward, Input, Model};

/// Rate at which the threshold moves towards the smallest active latent of a batch, as in SAELens.
const THRESHOLD_RATE: f64 = 0.01;

/// A `BatchTopK` SAE. It is saved as a `JumpReLU` with one threshold for all latents: the running mean, starting at 0, of
/// each batch's smallest active latent.
#[derive(Debug)]
pub(super) struct BatchTopK {
    pub(super) ranked: Ranked,
    pub(super) k: f64,
    /// `[]` float64.
    pub(super) threshold: Tensor,
}

impl Model for BatchTopK {
    fn parameters(&self) -> Vec<(&'static str, &Tensor)> {
        self.ranked.parameters()
    }

    fn running(&self) -> Vec<(&'static str, &Tensor)> {
        vec![("topk_threshold", &self.threshold)]
    }

    fn forward(&self, input: &Input<'_>) -> Result<Forward, TchError> {
        let ranks = self.ranked.ranks(input.x)?;
        let rectified = ranks.pre.f_relu()?.f_flatten(0, -1)?;
        let rows = input.x.size()[0] as f64;
        let (values, places) = rectified.f_topk((self.k * rows) as i64, -1, true, false)?;
        let latents = rectified.f_zeros_like()?.f_scatter(-1, &places, &values)?.f_view_as(&ranks.pre)?;
        self.ranked.forward(input, &ranks, latents)
    }

    fn follow(&mut self, latents: &Tensor) -> Result<(), TchError> {
        let silent = latents.f_le(0.0)?;
        let smallest = latents.f_masked_fill(&silent, f64::INFINITY)?.f_min()?.f_to_kind(Kind::Double)?;
        let moved = self.threshold.f_lerp(&smallest, THRESHOLD_RATE)?;
        // A batch without active latents leaves the threshold unchanged.
        self.threshold = moved.f_where_self(&smallest.f_isfinite()?, &self.threshold)?;
        Ok(())
    }

    fn average(&self) -> Option<f64> {
        Some(self.k)
    }

    fn export(&self, fold: Fold) -> Result<Exported, TchError> {
        let mut exported = self.ranked.export("jumprelu", fold)?;
        // With unit decoder rows, latents and the threshold have the units of the reconstruction.
        let scale = match (self.ranked.ranking, fold) {
            (Ranking::DecoderNorm, Fold::Scale(scale)) => scale,
            _ => 1.0,
        };
        let threshold = self.threshold.f_div_scalar(scale)?.f_to_kind(Kind::Float)?;
        exported.add("threshold", &threshold.f_repeat([self.width() as i64])?)?;
        Ok(exported)
    }

    fn width(&self) -> usize {
        self.ranked.body.width()
    }
}
