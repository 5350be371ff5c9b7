//! The forward pass, in chunks of rows so that latents never take more than a budget.

use tch::{Kind, TchError, Tensor};

use super::normalisation::Undo;
use super::{Sae, SaeError};

/// The most bytes that one `[rows, width]` float32 matrix takes: 256 MiB. Encoding holds two or three of them at once.
const LATENT_BYTES: usize = 256 << 20;

/// The decoder gathers rows where fewer than one latent in so many fires; above that a matrix product is faster.
const SPARSE_RATIO: i64 = 16;

/// `Tensor::embedding_bag`'s number for a sum.
const SUM: i64 = 0;

/// Latents of some rows, with what the decoder needs to know of their input.
#[derive(Debug)]
pub struct Encoded {
    /// `[rows, width]` float32, never negative.
    pub latents: Tensor,
    undo: Undo,
}

/// What an SAE makes of some rows.
#[derive(Debug)]
pub struct Reconstruction {
    /// `[rows, d_model]` float32, in the space of the input.
    pub rows: Tensor,
    /// `[rows]` i64: latents above zero.
    pub fired: Tensor,
}

/// Some rows, encoded: what [`Sae::reconstruct_observed`] shows.
#[derive(Debug)]
pub struct Chunk<'latents> {
    /// The first of them among all rows.
    pub first_row: usize,
    /// `[rows, width]` float32, never negative.
    pub latents: &'latents Tensor,
}

impl Sae {
    /// Latents of `x` `[rows, d_model]` float32, all rows at once. The scale of `expected_average_only_in`, if there is
    /// one, is already in `x`.
    pub fn encode(&self, x: &Tensor) -> Result<Encoded, SaeError> {
        let (mut input, undo) = self.normalisation.apply(x)?;
        if let Some(bias) = &self.input_bias {
            input = input.f_sub(bias)?;
        }
        let pre = self.encoder_bias.f_addmm(&input, &self.encoder)?;
        Ok(Encoded { latents: self.activation.apply(pre)?, undo })
    }

    /// Reconstruction `[rows, d_model]` float32 of encoded rows.
    pub fn decode(&self, encoded: &Encoded) -> Result<Tensor, SaeError> {
        let fired = encoded.latents.f_count_nonzero(None)?.f_int64_value(&[])?;
        let sparse = fired.saturating_mul(SPARSE_RATIO) < encoded.latents.numel() as i64;
        self.decode_by(encoded, if sparse { Product::Sparse } else { Product::Dense })
    }

    /// Encodes and decodes `x` `[rows, d_model]` float32, chunk by chunk.
    pub fn reconstruct(&self, x: &Tensor) -> Result<Reconstruction, SaeError> {
        self.reconstruct_observed(x, |_| Ok(()))
    }

    /// The same, showing the latents of each chunk of rows before they are gone.
    pub fn reconstruct_observed(
        &self,
        x: &Tensor,
        observe: impl FnMut(Chunk<'_>) -> Result<(), TchError>,
    ) -> Result<Reconstruction, SaeError> {
        self.reconstruct_within(x, LATENT_BYTES, observe)
    }

    fn reconstruct_within(
        &self,
        x: &Tensor,
        latent_bytes: usize,
        mut observe: impl FnMut(Chunk<'_>) -> Result<(), TchError>,
    ) -> Result<Reconstruction, SaeError> {
        let chunk = (latent_bytes / (size_of::<f32>() * self.width())).max(1) as i64;
        let count = x.size()[0];
        if count == 0 {
            let fired = Tensor::f_zeros([0], (Kind::Int64, x.device()))?;
            return Ok(Reconstruction { rows: x.shallow_clone(), fired });
        }
        let (mut rows, mut fired) = (Vec::new(), Vec::new());
        for start in (0..count).step_by(chunk as usize) {
            let encoded = self.encode(&x.f_narrow(0, start, chunk.min(count - start))?)?;
            rows.push(self.decode(&encoded)?);
            observe(Chunk { first_row: start as usize, latents: &encoded.latents })?;
            fired.push(encoded.latents.f_count_nonzero_dim_intlist([-1i64].as_slice())?);
        }
        Ok(Reconstruction { rows: Tensor::f_cat(&rows, 0)?, fired: Tensor::f_cat(&fired, 0)? })
    }

    fn decode_by(&self, encoded: &Encoded, product: Product) -> Result<Tensor, SaeError> {
        let latents = &encoded.latents;
        let reconstruction = match product {
            Product::Dense => self.decoder_bias.f_addmm(latents, &self.decoder)?,
            Product::Sparse => sparse_product(latents, &self.decoder)?.f_add(&self.decoder_bias)?,
        };
        Ok(encoded.undo.apply(reconstruction)?)
    }
}

/// How latents meet the decoder.
#[derive(Debug, Clone, Copy)]
enum Product {
    Dense,
    Sparse,
}

/// `latents · decoder` by gathering the decoder rows of those latents that fire.
fn sparse_product(latents: &Tensor, decoder: &Tensor) -> Result<Tensor, TchError> {
    let places = latents.f_nonzero()?; // [fired, 2], sorted by row
    let columns = places.f_select(1, 1)?.f_contiguous()?;
    let values = latents.f_masked_select(&latents.f_ne(0.0)?)?;
    let per_row = latents.f_count_nonzero_dim_intlist([-1i64].as_slice())?;
    let starts = per_row.f_cumsum(0, Kind::Int64)?.f_sub(&per_row)?;
    let (sums, ..) = Tensor::f_embedding_bag(decoder, &columns, &starts, false, SUM, false, Some(&values), false)?;
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::sae::{Activation, Normalisation};

    fn random(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    fn sae(activation: Activation) -> Sae {
        Sae {
            encoder: random(&[8, 40]),
            encoder_bias: random(&[40]),
            decoder: random(&[40, 8]),
            decoder_bias: random(&[8]),
            input_bias: Some(random(&[8])),
            activation,
            normalisation: Normalisation::LayerNorm,
        }
    }

    fn distance(left: &Tensor, right: &Tensor) -> f64 {
        assert_eq!(left.size(), right.size());
        (left - right).abs().max().double_value(&[])
    }

    #[test]
    fn sparse_and_dense_products_agree_even_for_rows_without_latents() {
        let sae = sae(Activation::JumpRelu { threshold: Tensor::full([40], 12.0, (Kind::Float, Device::Cpu)) });
        let encoded = sae.encode(&random(&[50, 8])).unwrap();
        let per_row = encoded.latents.count_nonzero_dim_intlist([-1i64].as_slice());
        assert_eq!(per_row.min().int64_value(&[]), 0, "the test needs a row in which nothing fires");
        let sparse = sae.decode_by(&encoded, Product::Sparse).unwrap();
        let dense = sae.decode_by(&encoded, Product::Dense).unwrap();
        assert!(distance(&sparse, &dense) < 1e-5);
    }

    #[test]
    fn chunks_change_nothing() {
        let sae = sae(Activation::TopK { k: 3 });
        let x = random(&[23, 8]);
        let whole = sae.reconstruct(&x).unwrap();
        let budget_of_five_rows = 5 * 40 * 4;
        let mut seen = Vec::new();
        let observe = |chunk: Chunk<'_>| {
            seen.push((chunk.first_row, chunk.latents.size()[0]));
            Ok(())
        };
        let chunked = sae.reconstruct_within(&x, budget_of_five_rows, observe).unwrap();
        assert_eq!(seen, [(0, 5), (5, 5), (10, 5), (15, 5), (20, 3)]);
        assert!(distance(&whole.rows, &chunked.rows) < 1e-5);
        assert_eq!(whole.fired, chunked.fired);
    }

    #[test]
    fn no_rows_give_empty_tensors() {
        let reconstruction = sae(Activation::Relu).reconstruct(&random(&[0, 8])).unwrap();
        assert_eq!(reconstruction.rows.size(), [0, 8]);
        assert_eq!(reconstruction.fired.size(), [0]);
    }

    #[test]
    fn a_jump_is_strict_and_a_negative_threshold_lets_nothing_negative_through() {
        let threshold = Tensor::from_slice(&[1.0f32, 1.0, -2.0, -2.0]);
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
