//! The forward pass. Reconstruction uses the implementation that suits the device.

pub(crate) mod activation;
mod block;
pub(crate) mod closeness;
mod fired;
pub(crate) mod load;
mod matrices;
pub(crate) mod nearest;
mod ragged;
pub(crate) mod screen;
pub(crate) mod shared_tensor;
pub(crate) mod sparse;
mod tensor_slice;
mod tiles;

use hayloft_model::kind;
use hayloft_runtime::Dtype;
use tch::{Device, Kind, TchError, Tensor};

use crate::error::SaeError;
use crate::forward::activation::Activation;
use crate::forward::screen::Screen;
use crate::forward::shared_tensor::SharedTensor;
use crate::normalisation::{Normalisation, Undo};

/// A sparse autoencoder on a device, in float32. It may be shared between threads.
///
/// ```text
/// x [rows, d_in] ── normalise ── − input bias ── · encoder + bias ── activation ── latents [rows, width]
/// latents ── · decoder + bias ── undo the normalisation ── + x · skip ── reconstruction [rows, d_out]
/// ```
///
/// Loading folds format-specific details, such as decoder norms or gate biases, into these tensors.
#[derive(Debug)]
pub struct Sae {
    /// `[width, d_in]`: float32, or the dtype of the encoder's matrix products.
    pub(crate) encoder: SharedTensor,
    /// `[width]`.
    pub(crate) encoder_bias: SharedTensor,
    /// `[width, d_out]`.
    pub(crate) decoder: SharedTensor,
    /// `[d_out]`.
    pub(crate) decoder_bias: SharedTensor,
    /// `[d_out, d_in]`: the skip connection of a transcoder.
    pub(crate) skip: Option<SharedTensor>,
    /// `[d_in]`: subtracted from the normalised input.
    pub(crate) input_bias: Option<SharedTensor>,
    pub(crate) activation: Activation,
    pub(crate) normalisation: Normalisation,
    /// Excludes latents that cannot fire; without it, all latents are computed.
    pub(crate) screen: Option<Screen>,
}

impl Sae {
    /// Width of the input activations.
    pub fn d_model(&self) -> usize {
        self.encoder.size()[1] as usize
    }

    /// Width of the reconstructions. It equals the input width except for transcoders.
    pub fn d_out(&self) -> usize {
        self.decoder.size()[1] as usize
    }

    /// Number of latents.
    pub fn width(&self) -> usize {
        self.encoder.size()[0] as usize
    }

    /// The decoder directions, `[width, d_out]` float32: what a unit of each latent adds to the reconstruction, before the
    /// normalisation is undone.
    pub fn decoder(&self) -> &Tensor {
        &self.decoder
    }

    /// Sets the precision of the encoder's matrix products. Latents, sums and the decoder stay float32. With float32, latents
    /// that cannot fire may first be excluded in bf16.
    pub fn computing_in(mut self, precision: Dtype) -> Result<Self, SaeError> {
        if precision == Dtype::F32 {
            self.screen = Screen::new(&self)?;
        } else {
            self.encoder = self.encoder.f_to_kind(kind(precision))?.into();
        }
        Ok(self)
    }

    /// The normalisation applied to the input.
    pub fn normalisation(&self) -> Normalisation {
        self.normalisation
    }
}

/// Encoded rows, with the state that decoding needs.
#[derive(Debug)]
pub struct Encoded {
    /// `[rows, width]` float32, never negative.
    pub latents: Tensor,
    pub(crate) back: WayBack,
}

/// Maps the decoder's output to the space of the target.
#[derive(Debug)]
pub(crate) struct WayBack {
    undo: Undo,
    /// `[rows, d_out]`: the contribution of the skip connection.
    skipped: Option<Tensor>,
}

impl WayBack {
    pub(crate) fn apply(&self, decoded: Tensor) -> Result<Tensor, TchError> {
        let undone = self.undo.apply(decoded)?;
        match &self.skipped {
            Some(skipped) => undone.f_add(skipped),
            None => Ok(undone),
        }
    }
}

/// The reconstruction of some rows.
#[derive(Debug)]
pub struct Reconstruction {
    /// `[rows, d_out]` float32, in the space of the input, or of a transcoder's output site.
    pub rows: Tensor,
    /// `[rows]` i64: number of latents above zero.
    pub fired: Tensor,
    /// `[rows]` float32: sum of the latents.
    pub l1: Tensor,
}

/// Number of rows of a group in which each latent fires, `[width]`.
pub type Firings = Vec<u32>;

impl Sae {
    /// Encodes `x` `[rows, d_model]` float32, all rows at once. The caller has already applied the scale of
    /// `expected_average_only_in`, if any.
    pub fn encode(&self, x: &Tensor) -> Result<Encoded, SaeError> {
        let (input, back) = self.input(x)?;
        Ok(Encoded { latents: self.activation.apply(self.pre_activations(&input, 0, self.width() as i64)?)?, back })
    }

    /// Decodes to reconstructions `[rows, d_model]` float32.
    pub fn decode(&self, encoded: &Encoded) -> Result<Tensor, SaeError> {
        Ok(encoded.back.apply(self.decoder_bias.f_addmm(&encoded.latents, &self.decoder)?)?)
    }

    /// What a latent with activations `[rows]` adds to the reconstructions of `x` `[rows, d_model]` float32: `[rows, d_out]`.
    pub fn contribution(&self, x: &Tensor, latent: usize, activations: &[f32]) -> Result<Tensor, SaeError> {
        let (_, undo) = self.normalisation.apply(x)?;
        let activations = Tensor::f_from_slice(activations)?.f_to_device(x.device())?.f_unsqueeze(1)?;
        let added = activations.f_mm(&self.decoder.f_narrow(0, latent as i64, 1)?)?;
        Ok(undo.stretch(added)?)
    }

    /// Encodes and decodes `x` `[rows, d_model]` float32 in pieces, without materialising `[rows, width]`.
    pub fn reconstruct(&self, x: &Tensor) -> Result<Reconstruction, SaeError> {
        Ok(self.reconstruct_counting(x, &[])?.0)
    }

    /// Like `Self::reconstruct`, and counts each latent's firings per group of rows. `groups[g][row]` says whether a row
    /// belongs to group g.
    pub fn reconstruct_counting(
        &self,
        x: &Tensor,
        groups: &[Vec<bool>],
    ) -> Result<(Reconstruction, Vec<Firings>), SaeError> {
        if x.size()[0] == 0 {
            let fired = Tensor::f_zeros([0], (Kind::Int64, x.device()))?;
            let firings = vec![vec![0; self.width()]; groups.len()];
            let l1 = Tensor::f_zeros([0], (Kind::Float, x.device()))?;
            let rows = Tensor::f_zeros([0, self.d_out() as i64], (Kind::Float, x.device()))?;
            return Ok((Reconstruction { rows, fired, l1 }, firings));
        }
        match x.device() {
            Device::Cpu => tiles::reconstruct(self, x, groups),
            _ => matrices::reconstruct(self, x, groups),
        }
    }

    /// Returns the encoder's input `[rows, d_in]` float32 and the mapping of the decoder's output.
    pub(crate) fn input(&self, x: &Tensor) -> Result<(Tensor, WayBack), TchError> {
        let (input, undo) = self.encoder_input(x)?;
        let skipped = self.skip.as_ref().map(|skip| x.f_linear(skip, None::<&Tensor>)).transpose()?;
        Ok((input, WayBack { undo, skipped }))
    }

    /// Returns the encoder's input `[rows, d_in]` float32 and the inverse of the normalisation.
    fn encoder_input(&self, x: &Tensor) -> Result<(Tensor, Undo), TchError> {
        let (input, undo) = self.normalisation.apply(x)?;
        match &self.input_bias {
            Some(bias) => Ok((input.f_sub(bias)?, undo)),
            None => Ok((input, undo)),
        }
    }

    /// Pre-activations `[rows, count]` float32 of the latents starting at `first`, for rows from [`Self::input`]. The product
    /// uses the encoder's dtype; the bias is added in float32.
    pub(crate) fn pre_activations(&self, input: &Tensor, first: i64, count: i64) -> Result<Tensor, TchError> {
        let bias = self.encoder_bias.f_narrow(0, first, count)?;
        let encoder = self.encoder.f_narrow(0, first, count)?;
        match encoder.f_kind()? {
            Kind::Float => input.f_linear(&encoder, Some(&bias)),
            kind => input.f_to_kind(kind)?.f_linear(&encoder, None::<&Tensor>)?.f_to_kind(Kind::Float)?.f_add_(&bias),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::activation::Activation;
    use crate::normalisation::Normalisation;

    fn random(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    fn sae(activation: Activation) -> Sae {
        Sae {
            encoder: random(&[2600, 8]).into(),
            encoder_bias: random(&[2600]).into(),
            decoder: random(&[2600, 8]).into(),
            decoder_bias: random(&[8]).into(),
            skip: None,
            input_bias: Some(random(&[8]).into()),
            activation,
            normalisation: Normalisation::LayerNorm,
            screen: None,
        }
    }

    fn full(value: f64) -> Tensor {
        Tensor::full([2600], value, (Kind::Float, Device::Cpu))
    }

    fn distance(left: &Tensor, right: &Tensor) -> f64 {
        assert_eq!(left.size(), right.size());
        (left - right).abs().max().double_value(&[])
    }

    #[test]
    fn a_screen_changes_no_latent() {
        for activation in [
            Activation::Relu,
            Activation::JumpRelu { threshold: full(7.5).into() },
            Activation::Gated { scale: full(0.5).into(), bias: full(-1.0).into() },
        ] {
            let mut plain = sae(activation);
            let rarely = &*plain.encoder_bias - 6.0;
            plain.encoder_bias = rarely.into();
            let x = random(&[700, 8]);
            let expected = plain.reconstruct(&x).unwrap();
            let screened = plain.computing_in(Dtype::F32).unwrap();
            let got = screened.reconstruct(&x).unwrap();
            // Rounding may move a latent near its threshold to either side.
            let apart = (&got.fired - &expected.fired).abs().sum(Kind::Int64).int64_value(&[]);
            assert!(apart <= 2, "{:?}: {apart} latents", screened.activation);
            assert!(distance(&got.rows, &expected.rows) < 2e-3, "{:?}", screened.activation);
        }
    }

    /// Covers rare to frequent firing, both decoders, and more rows and latents than one tile.
    #[test]
    fn tiles_and_matrices_agree_with_the_whole_at_any_density() {
        let activations = [
            Activation::Relu,
            Activation::JumpRelu { threshold: full(7.5).into() },
            Activation::JumpRelu { threshold: full(2.0).into() },
            Activation::JumpRelu { threshold: full(-1.0).into() },
            Activation::TopK { k: 40 },
            Activation::TopK { k: 1300 },
            Activation::Gated { scale: full(0.5).into(), bias: full(-1.0).into() },
        ];
        for activation in activations {
            let sae = sae(activation);
            let x = random(&[700, 8]);
            let encoded = sae.encode(&x).unwrap();
            let whole = sae.decode(&encoded).unwrap();
            let members: Vec<bool> = (0..700).map(|row| row % 3 == 0).collect();
            let every_third = encoded.latents.slice(0, 0, 700, 3).gt(0.0);
            let firings = every_third.sum_dim_intlist([0i64].as_slice(), false, Kind::Int64);
            let fired = encoded.latents.gt(0.0).sum_dim_intlist([-1i64].as_slice(), false, Kind::Int64);
            let l1 = encoded.latents.sum_dim_intlist([-1i64].as_slice(), false, Kind::Float);
            for way in [tiles::reconstruct, matrices::reconstruct] {
                let (got, counted) = way(&sae, &x, std::slice::from_ref(&members)).unwrap();
                assert!(distance(&got.rows, &whole) < 2e-3, "{:?}: {}", sae.activation, distance(&got.rows, &whole));
                assert_eq!(got.fired, fired, "{:?}", sae.activation);
                let apart = distance(&got.l1, &l1) / l1.max().double_value(&[]);
                assert!(apart < 1e-5, "{:?}: {apart}", sae.activation);
                let counted: Vec<i64> = counted[0].iter().map(|&count| i64::from(count)).collect();
                assert_eq!(Tensor::from_slice(&counted), firings, "{:?}", sae.activation);
            }
        }
    }

    #[test]
    fn no_rows_give_empty_tensors() {
        let reconstruction = sae(Activation::Relu).reconstruct(&random(&[0, 8])).unwrap();
        assert_eq!(reconstruction.rows.size(), [0, 8]);
        assert_eq!((reconstruction.fired.size(), reconstruction.l1.size()), (vec![0], vec![0]));
    }

    #[test]
    fn nothing_that_is_not_a_number_gets_lost() {
        for activation in [
            Activation::Relu,
            Activation::JumpRelu { threshold: full(1.0).into() },
            Activation::TopK { k: 3 },
            Activation::Gated { scale: full(1.0).into(), bias: full(0.0).into() },
        ] {
            let sae = sae(activation);
            let spoilt = sae.encoder_bias.shallow_clone();
            let _ = spoilt.get(2000).fill_(f64::NAN);
            let rows = sae.reconstruct(&random(&[2, 8])).unwrap().rows;
            assert_eq!(rows.isnan().sum(Kind::Int64).int64_value(&[]), 16, "{:?}", sae.activation);
        }
    }

    #[test]
    fn a_jump_is_strict_and_a_negative_threshold_lets_nothing_negative_through() {
        let threshold = Tensor::from_slice(&[1.0f32, 1.0, -2.0, -2.0]).into();
        let pre = Tensor::from_slice(&[1.0f32, 1.5, -1.0, 0.5]).unsqueeze(0);
        let latents = Activation::JumpRelu { threshold }.apply(pre).unwrap();
        assert_eq!(Vec::<f32>::try_from(latents.squeeze_dim(0)).unwrap(), [0.0, 1.5, 0.0, 0.5]);
    }

    #[test]
    fn top_k_is_rectified_after_the_choice() {
        let pre = Tensor::from_slice(&[-3.0f32, -1.0, 2.0, -2.0]).unsqueeze(0);
        let latents = Activation::TopK { k: 2 }.apply(pre).unwrap();
        assert_eq!(Vec::<f32>::try_from(latents.squeeze_dim(0)).unwrap(), [0.0, 0.0, 2.0, 0.0]);
    }
}
