//! Screens latents in bf16 without missing any that fires.
//!
//! On processors that multiply bf16 twice as fast as float32, pre-activations are first computed in bf16 with an error bound.
//! Only latents that may exceed their threshold within the bound are recomputed in float32, one by one. The resulting latents
//! are therefore those of float32. Typically fewer than one in a hundred of an SAE's thousands of latents fire.

use tch::{Device, Kind, Tensor};

use crate::error::SaeError;
use crate::forward::activation::Activation;
use crate::forward::ragged::Ragged;
use crate::forward::shared_tensor::SharedTensor;
use crate::forward::{Sae, tensor_slice};

/// Half a unit in the last place of bf16, relative.
const ROUNDING: f32 = 1.0 / 256.0;

/// Error bound of a product relative to the factors' norms (by Cauchy–Schwarz): 2u + u² for rounding both factors to bf16,
/// and 2⁻¹² for summation in float32.
const SLACK: f32 = 2.0 * ROUNDING + ROUNDING * ROUNDING + 1.0 / 4096.0;

/// If more than one latent in this many may fire, computing all of them in float32 is faster.
const DENSE_RATIO: usize = 16;

/// Pre-activations tested at once.
const LANES: usize = 16;

/// An encoder in bf16, with its error bounds.
#[derive(Debug)]
pub(crate) struct Screen {
    /// `[width, d_model]` bf16.
    encoder: SharedTensor,
    /// `[width]`: bias minus threshold. A latent may fire if product + error > −offset.
    offset: Vec<f32>,
    /// `[width]`: the error bound of a product for an input of norm one.
    slack: Vec<f32>,
}

/// Input rows, prepared for a screen.
#[derive(Debug)]
pub(super) struct ScreenInput {
    /// `[rows, d_model]` bf16.
    rows: Tensor,
    /// `[rows]`.
    norms: Vec<f32>,
}

impl Screen {
    /// Returns a screen if it is useful: on a CPU with bf16 multiplication, for an elementwise activation function.
    pub(crate) fn new(sae: &Sae) -> Result<Option<Self>, SaeError> {
        let floor = match &sae.activation {
            Activation::TopK { .. } => return Ok(None),
            Activation::Relu | Activation::Gated { .. } => None,
            Activation::JumpRelu { threshold } => Some(threshold.f_clamp_min(0)?),
        };
        if sae.encoder.device() != Device::Cpu || !multiplies_bf16() {
            return Ok(None);
        }
        Self::on_any_machine(sae, floor).map(Some)
    }

    fn on_any_machine(sae: &Sae, floor: Option<Tensor>) -> Result<Self, SaeError> {
        let offset = match floor {
            Some(floor) => sae.encoder_bias.f_sub(&floor)?,
            None => sae.encoder_bias.shallow_clone(),
        };
        let norms = sae.encoder.f_linalg_norm(2.0, [-1i64].as_slice(), false, Kind::Float)?;
        Ok(Self {
            encoder: sae.encoder.f_to_kind(Kind::BFloat16)?.into(),
            offset: tensor_slice::floats(&offset)?.to_vec(),
            slack: tensor_slice::floats(&norms)?.iter().map(|norm| norm * SLACK).collect(),
        })
    }

    /// Prepares rows `[rows, d_model]` float32.
    pub(super) fn input(rows: &Tensor) -> Result<ScreenInput, SaeError> {
        let norms = rows.f_linalg_norm(2.0, [-1i64].as_slice(), false, Kind::Float)?;
        Ok(ScreenInput { rows: rows.f_to_kind(Kind::BFloat16)?, norms: tensor_slice::floats(&norms)?.to_vec() })
    }

    /// Lists, per row, the latents among `count` from `first` on that may fire. Returns `None` if there are too many for
    /// screening to pay off.
    pub(super) fn candidates(
        &self,
        input: &ScreenInput,
        first: usize,
        count: usize,
    ) -> Result<Option<Candidates>, SaeError> {
        let encoder = self.encoder.f_narrow(0, first as i64, count as i64)?;
        let products = input.rows.f_linear(&encoder, None::<&Tensor>)?.f_to_kind(Kind::Float)?;
        let products = tensor_slice::floats(&products)?;
        let own = first..first + count;
        let (offset, slack) = (&self.offset[own.clone()], &self.slack[own]);
        let mut candidates = Candidates::default();
        let most = products.len() / DENSE_RATIO;
        Ok(pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for (row, &norm) in products.chunks_exact(count).zip(&input.norms) {
                    candidates.add_products(row, norm, offset, slack, first as u32);
                    if candidates.len() > most {
                        return None;
                    }
                }
                Some(candidates)
            },
        ))
    }
}

/// Latents that may fire, per row.
pub(super) type Candidates = Ragged<u32>;

impl Candidates {
    #[inline(always)]
    fn add_products(&mut self, products: &[f32], norm: f32, offset: &[f32], slack: &[f32], first: u32) {
        let (chunks, rest) = products.as_chunks::<LANES>();
        let (offsets, last_offsets) = offset.as_chunks::<LANES>();
        let (slacks, last_slacks) = slack.as_chunks::<LANES>();
        for (index, ((chunk, offset), slack)) in chunks.iter().zip(offsets).zip(slacks).enumerate() {
            let mut may = [false; LANES];
            for lane in 0..LANES {
                may[lane] = may_fire(chunk[lane], norm, offset[lane], slack[lane]);
            }
            // A count instead of a search, so that the loop vectorises.
            if may.iter().fold(0u32, |count, &may| count + u32::from(may)) > 0 {
                let start = first + (index * LANES) as u32;
                self.entries.extend((start..).zip(may).filter_map(|(latent, may)| may.then_some(latent)));
            }
        }
        let start = first + (chunks.len() * LANES) as u32;
        for (latent, ((&product, &offset), &slack)) in (start..).zip(rest.iter().zip(last_offsets).zip(last_slacks)) {
            if may_fire(product, norm, offset, slack) {
                self.entries.push(latent);
            }
        }
        self.end_row();
    }
}

/// Whether a bf16 product may correspond to a pre-activation above the threshold. NaN may.
#[expect(clippy::neg_cmp_op_on_partial_ord, reason = "what is not a number must not get lost")]
#[inline(always)]
fn may_fire(product: f32, norm: f32, offset: f32, slack: f32) -> bool {
    !(product + product.abs() * ROUNDING + norm * slack + offset <= 0.0)
}

/// Σ left · right in float32, accumulated in lanes.
#[inline(always)]
pub(super) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 2 * LANES];
    let (left_chunks, left_rest) = left.as_chunks::<{ 2 * LANES }>();
    let (right_chunks, right_rest) = right.as_chunks::<{ 2 * LANES }>();
    for (left, right) in left_chunks.iter().zip(right_chunks) {
        for lane in 0..2 * LANES {
            lanes[lane] += left[lane] * right[lane];
        }
    }
    let mut width = LANES;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0] + left_rest.iter().zip(right_rest).map(|(left, right)| left * right).sum::<f32>()
}

/// Whether the processor has bf16 product instructions. Without them, bf16 products are slower than float32.
fn multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    let has = false;
    has
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalisation::Normalisation;

    fn random(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    /// Uses thresholds that rarely fire and inputs of very different norms.
    #[test]
    fn no_latent_that_fires_is_missed() {
        let (width, d_model) = (1100, 48);
        let sae = Sae {
            encoder: random(&[width, d_model]).into(),
            encoder_bias: random(&[width]).into(),
            decoder: random(&[width, d_model]).into(),
            decoder_bias: random(&[d_model]).into(),
            skip: None,
            input_bias: None,
            activation: Activation::Relu,
            normalisation: Normalisation::None,
            screen: None,
        };
        let threshold = random(&[width]).abs() + 20.0;
        let screen = Screen::on_any_machine(&sae, Some(threshold.shallow_clone())).unwrap();
        let x = random(&[600, d_model]) * random(&[600, 1]);
        let exact = x.to_kind(Kind::Double).matmul(&sae.encoder.to_kind(Kind::Double).tr()) + &*sae.encoder_bias;
        let truly: Vec<Vec<i64>> = Vec::try_from(exact.gt_tensor(&threshold).to_kind(Kind::Int64)).unwrap();
        let found = screen.candidates(&Screen::input(&x).unwrap(), 0, width as usize).unwrap().unwrap();
        let (mut fired, mut listed) = (0, 0);
        for (row, candidates) in truly.iter().zip(found.rows()) {
            listed += candidates.len();
            for (latent, _) in row.iter().enumerate().filter(|(_, truly)| **truly == 1) {
                fired += 1;
                assert!(candidates.contains(&(latent as u32)), "latent {latent} fires and is missed");
            }
        }
        assert!(fired > 100 && listed < 4 * fired, "{fired} fire, {listed} are listed");
    }

    #[test]
    fn where_most_fire_there_is_no_screening() {
        let sae = Sae {
            encoder: random(&[64, 8]).into(),
            encoder_bias: random(&[64]).into(),
            decoder: random(&[64, 8]).into(),
            decoder_bias: random(&[8]).into(),
            skip: None,
            input_bias: None,
            activation: Activation::Relu,
            normalisation: Normalisation::None,
            screen: None,
        };
        let screen = Screen::on_any_machine(&sae, None).unwrap();
        assert!(screen.candidates(&Screen::input(&random(&[50, 8])).unwrap(), 0, 64).unwrap().is_none());
    }

    #[test]
    fn a_dot_product_is_one_at_any_length() {
        for length in [0, 1, 31, 32, 33, 500] {
            let (left, right) = (random(&[length]), random(&[length]));
            let expected = (&left * &right).sum(Kind::Double).double_value(&[]);
            let got = f64::from(dot(tensor_slice::floats(&left).unwrap(), tensor_slice::floats(&right).unwrap()));
            assert!((got - expected).abs() < 1e-4, "{length}: {got}, {expected}");
        }
    }
}
