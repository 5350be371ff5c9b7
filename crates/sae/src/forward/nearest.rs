//! Latents with similar decoder directions.

use std::ops::Range;

use hayloft_model::{Jobs, Largest, in_order};
use tch::{Device, Kind};

use crate::error::SaeError;
use crate::forward::Sae;
use crate::forward::tensor_slice;

/// Latents whose decoder rows are worked on at once. Ranges of latents that begin at multiples of it give, put together, the
/// same numbers as all latents at once.
pub const TILE_LATENTS: usize = 512;

/// Rows of the decoder compared at once with as many columns: 2 MiB of float32.
const TILE_ROWS: i64 = TILE_LATENTS as i64;
const TILE_COLUMNS: i64 = 1024;

/// Other latents and the cosines between their decoder rows and that of one latent, the largest first.
pub type NearestLatents = Vec<(u32, f32)>;

impl Sae {
    /// For each of a range of latents, the `count` other latents whose decoder rows have the largest cosine with its own; ties go to the lower
    /// latent. A decoder row of zeros has no cosines: its latent has no neighbours and is none. `told` is given the number of
    /// latents that were compared, as they are.
    ///
    /// It takes as many operations as encoding one token per latent of the range.
    pub fn nearest_latents(
        &self,
        latents: Range<usize>,
        count: usize,
        told: impl FnMut(u64),
    ) -> Result<Vec<NearestLatents>, SaeError> {
        let norms = self.decoder_norms()?;
        self.nearest_among(latents, self, [&norms; 2], true, count, told)
    }

    /// As `nearest_latents`, the latents of another SAE of the same `d_model`.
    pub fn nearest_latents_of(
        &self,
        other: &Self,
        count: usize,
        told: impl FnMut(u64),
    ) -> Result<Vec<NearestLatents>, SaeError> {
        let norms = [&self.decoder_norms()?[..], &other.decoder_norms()?];
        self.nearest_among(0..self.width(), other, norms, false, count, told)
    }

    fn decoder_norms(&self) -> Result<Vec<f32>, SaeError> {
        let norms = self.decoder.f_linalg_norm(2.0, [-1i64].as_slice(), false, Kind::Float)?;
        Ok(Vec::try_from(norms.f_to_device(Device::Cpu)?)?)
    }

    /// `norms` are those of both decoders' rows; `is_itself` says that both are one.
    fn nearest_among(
        &self,
        latents: Range<usize>,
        other: &Self,
        norms: [&[f32]; 2],
        is_itself: bool,
        count: usize,
        mut told: impl FnMut(u64),
    ) -> Result<Vec<NearestLatents>, SaeError> {
        let mut nearest = Vec::with_capacity(latents.len());
        let (start, end) = (latents.start as i64, latents.end as i64);
        in_order(
            self.decoder.device(),
            |jobs: &mut Jobs<i64>| {
                for first in (start..end).step_by(TILE_LATENTS) {
                    if jobs.send(first).is_err() {
                        return Ok(()); // the caller reports the error
                    }
                }
                Ok(())
            },
            |first| self.nearest_of(first..end.min(first + TILE_ROWS), other, norms, is_itself, count),
            |found: Vec<NearestLatents>| {
                told(found.len() as u64);
                nearest.extend(found);
                Ok(())
            },
        )?;
        Ok(nearest)
    }

    /// The neighbours of some latents.
    fn nearest_of(
        &self,
        latents: Range<i64>,
        other: &Self,
        [own_norms, norms]: [&[f32]; 2],
        is_itself: bool,
        count: usize,
    ) -> Result<Vec<NearestLatents>, SaeError> {
        let width = other.width() as i64;
        let first = latents.start;
        let rows = latents.end - first;
        let own = self.decoder.f_narrow(0, first, rows)?;
        let own_norms = &own_norms[first as usize..][..rows as usize];
        let mut largest = vec![Largest::new(count); rows as usize];
        for start in (0..width).step_by(TILE_COLUMNS as usize) {
            let columns = TILE_COLUMNS.min(width - start);
            let products = own.f_mm(&other.decoder.f_narrow(0, start, columns)?.f_tr()?)?;
            let products = products.f_to_device(Device::Cpu)?.f_contiguous()?;
            let products = tensor_slice::floats(&products)?;
            let mut cosines = vec![0.0; columns as usize];
            let other_norms = &norms[start as usize..][..columns as usize];
            for (row, products) in products.chunks_exact(columns as usize).enumerate() {
                let latent = first as usize + row;
                for ((cosine, product), norm) in cosines.iter_mut().zip(products).zip(other_norms) {
                    *cosine = if *norm > 0.0 { product / (norm * own_norms[row]) } else { f32::NEG_INFINITY };
                }
                if is_itself
                    && let Some(itself) = latent.checked_sub(start as usize).and_then(|place| cosines.get_mut(place))
                {
                    *itself = f32::NEG_INFINITY;
                }
                largest[row].add(start as u32, &cosines);
            }
        }
        let found = largest.into_iter().zip(own_norms);
        Ok(found.map(|(largest, norm)| if *norm > 0.0 { listed(largest) } else { Vec::new() }).collect())
    }
}

fn listed(largest: Largest) -> NearestLatents {
    let found = largest.finish().into_iter().filter(|(cosine, _)| cosine.is_finite());
    found.map(|(cosine, latent)| (latent, cosine)).collect()
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::*;
    use crate::forward::activation::Activation;
    use crate::normalisation::Normalisation;

    fn sae(decoder: Tensor) -> Sae {
        let (width, d_model) = (decoder.size()[0], decoder.size()[1]);
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        Sae {
            encoder: zeros(&[width, d_model]).into(),
            encoder_bias: zeros(&[width]).into(),
            decoder: decoder.into(),
            decoder_bias: zeros(&[d_model]).into(),
            skip: None,
            input_bias: None,
            activation: Activation::Relu,
            normalisation: Normalisation::None,
            screen: None,
        }
    }

    /// More latents than a tile has rows and columns.
    #[test]
    fn neighbours_are_those_of_the_matrix_of_cosines() {
        let decoder = Tensor::randn([1300, 6], (Kind::Float, Device::Cpu)) * 3.0;
        let mut compared = 0;
        let nearest = sae(decoder.copy()).nearest_latents(0..1300, 3, |latents| compared += latents).unwrap();
        assert_eq!((nearest.len(), compared), (1300, 1300));
        let range = |latents| sae(decoder.copy()).nearest_latents(latents, 3, |_| ()).unwrap();
        assert_eq!([range(0..TILE_LATENTS), range(TILE_LATENTS..1300)].concat(), nearest);
        let wide = decoder.to_kind(Kind::Double);
        let unit = &wide / wide.linalg_norm(2.0, [-1i64].as_slice(), true, Kind::Double);
        let cosines = unit.matmul(&unit.tr()) - Tensor::eye(1300, (Kind::Double, Device::Cpu)) * 2.0;
        let (expected, _) = cosines.topk(3, -1, true, true);
        for (latent, found) in nearest.iter().enumerate() {
            for (rank, &(other, cosine)) in found.iter().enumerate() {
                let place = [latent as i64, rank as i64];
                assert!((expected.double_value(&place) - f64::from(cosine)).abs() < 1e-5, "{latent}: {found:?}");
                let pair = [latent as i64, i64::from(other)];
                assert!((cosines.double_value(&pair) - f64::from(cosine)).abs() < 1e-5, "{latent}: {found:?}");
            }
        }
    }

    #[test]
    fn neighbours_in_another_sae_are_those_of_the_matrix_of_cosines() {
        let [own, other] = [700, 1100].map(|width| Tensor::randn([width, 6], (Kind::Float, Device::Cpu)) * 3.0);
        let nearest = sae(own.copy()).nearest_latents_of(&sae(other.copy()), 1, |_| ()).unwrap();
        let unit = |decoder: &Tensor| {
            let wide = decoder.to_kind(Kind::Double);
            &wide / wide.linalg_norm(2.0, [-1i64].as_slice(), true, Kind::Double)
        };
        let (cosines, latents) = unit(&own).matmul(&unit(&other).tr()).topk(1, -1, true, true);
        assert_eq!(nearest.len(), 700);
        for (latent, found) in nearest.iter().enumerate() {
            let place = [latent as i64, 0];
            assert_eq!(i64::from(found[0].0), latents.int64_value(&place));
            assert!((f64::from(found[0].1) - cosines.double_value(&place)).abs() < 1e-5, "{latent}: {found:?}");
        }
    }

    #[test]
    fn a_row_of_zeros_has_no_neighbours_and_is_none() {
        let decoder = Tensor::from_slice(&[1f32, 0.0, 0.0, 0.0, -2.0, 0.0]).view([3, 2]);
        assert_eq!(sae(decoder).nearest_latents(0..3, 5, |_| {}).unwrap(), [vec![(2, -1.0)], vec![], vec![(0, -1.0)]]);
        let one = Tensor::from_slice(&[1f32, 0.0]).view([1, 2]);
        assert_eq!(sae(one).nearest_latents(0..1, 5, |_| {}).unwrap(), [vec![]]);
    }
}
