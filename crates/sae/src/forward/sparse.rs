//! Encoding to lists of active latents.

use std::ops::Range;

use tch::{Device, Kind, TchError, Tensor};

use crate::error::SaeError;
use crate::forward::Sae;
use crate::forward::activation::Activation;
use crate::forward::block::{BLOCK_ROWS, RowBlock, tiles};
use crate::forward::fired::Fired;
use crate::forward::matrices::LATENT_BYTES;

/// The active latents of some rows, among a range of latents.
#[derive(Debug)]
pub struct SparseLatents {
    latents: Range<usize>,
    fired: Fired,
}

impl SparseLatents {
    /// The range of latents.
    pub fn latents(&self) -> Range<usize> {
        self.latents.clone()
    }

    /// For each row, the latents of the range that are above zero and their values, in ascending order of latents. NaN counts
    /// as above zero.
    pub fn rows(&self) -> impl Iterator<Item = &[(u32, f32)]> + Clone {
        self.fired.rows()
    }
}

impl Sae {
    /// Encodes `x` `[rows, d_model]` float32, and passes on the active latents of all rows, a range of latents at a time. The
    /// ranges follow each other and cover all latents. The latents are those that [`Self::reconstruct`] counts.
    ///
    /// Memory is bounded by rows × 1024 latents, or by rows × k for `TopK`, whose latents come in one range.
    pub fn encode_sparsely<E: From<SaeError> + From<TchError>>(
        &self,
        x: &Tensor,
        mut take: impl FnMut(&SparseLatents) -> Result<(), E>,
    ) -> Result<(), E> {
        if x.size()[0] == 0 {
            return Ok(());
        }
        let (input, _) = self.encoder_input(x)?;
        let mut sparse = SparseLatents { latents: 0..self.width(), fired: Fired::default() };
        match (&self.activation, x.device()) {
            (Activation::TopK { k }, device) => {
                match device {
                    Device::Cpu => {
                        for block in self.blocks(&input)? {
                            block.encode_top(*k, &mut sparse.fired)?;
                        }
                    }
                    _ => self.list_top(&input, *k, &mut sparse.fired)?,
                }
                sparse.fired.sort_rows_by_key(|(latent, _)| *latent);
                take(&sparse)
            }
            (activation, Device::Cpu) => {
                let mut blocks = self.blocks(&input)?;
                for (first, count) in tiles(self.width()) {
                    sparse.fired.clear();
                    sparse.latents = first as usize..(first + count) as usize;
                    for block in &mut blocks {
                        block.encode_tile(activation, (first, count), &mut sparse.fired)?;
                    }
                    take(&sparse)?;
                }
                Ok(())
            }
            (activation, _) => {
                let width = self.width();
                let most = (LATENT_BYTES / (size_of::<f32>() * x.size()[0] as usize)).clamp(1, width);
                for first in (0..width).step_by(most) {
                    let count = most.min(width - first);
                    sparse.fired.clear();
                    sparse.latents = first..first + count;
                    let (first, count) = (first as i64, count as i64);
                    let latents =
                        activation.narrow(first, count)?.apply(self.pre_activations(&input, first, count)?)?;
                    list_matrix(&latents, first as u32, &mut sparse.fired)?;
                    take(&sparse)?;
                }
                Ok(())
            }
        }
    }

    fn blocks(&self, input: &Tensor) -> Result<Vec<RowBlock<'_>>, SaeError> {
        let rows = input.size()[0];
        let block = |first: i64| RowBlock::new(self, input, first, BLOCK_ROWS.min(rows - first));
        (0..rows).step_by(BLOCK_ROWS as usize).map(block).collect()
    }

    /// Lists the active ones of the `k` largest latents of each row of `input` `[rows, d_in]`, on any device.
    fn list_top(&self, input: &Tensor, k: usize, fired: &mut Fired) -> Result<(), SaeError> {
        let (rows, width) = (input.size()[0], self.width());
        let most = (LATENT_BYTES / (size_of::<f32>() * width)).max(1) as i64;
        for first in (0..rows).step_by(most as usize) {
            let input = input.f_narrow(0, first, most.min(rows - first))?;
            let pre = self.pre_activations(&input, 0, width as i64)?;
            let (values, latents) = pre.f_topk(k as i64, -1, true, false)?;
            let (values, latents) = (host::<f32>(&values)?, host::<i64>(&latents)?);
            for (values, latents) in values.chunks_exact(k).zip(latents.chunks_exact(k)) {
                fired.add_row(latents.iter().zip(values).map(|(&latent, &value)| (latent as u32, value)));
            }
        }
        Ok(())
    }
}

/// Lists what is not zero of latents `[rows, count]`, the first of which has number `first`, on any device.
fn list_matrix(latents: &Tensor, first: u32, fired: &mut Fired) -> Result<(), TchError> {
    let is_active = latents.f_ne(0.0)?;
    let per_row = host::<i64>(&is_active.f_sum_dim_intlist([-1i64].as_slice(), false, Kind::Int64)?)?;
    let columns = host::<i64>(&is_active.f_nonzero()?.f_select(1, 1)?)?; // sorted by row
    let values = host::<f32>(&latents.f_masked_select(&is_active)?)?;
    let mut listed = columns.into_iter().zip(values);
    for count in per_row {
        let row = listed.by_ref().take(count as usize);
        fired.add_row(row.map(|(column, value)| (first + column as u32, value)));
    }
    Ok(())
}

/// The elements of a tensor of any shape and device.
fn host<T: tch::kind::Element>(tensor: &Tensor) -> Result<Vec<T>, TchError>
where
    Vec<T>: TryFrom<Tensor, Error = TchError>,
{
    Vec::try_from(tensor.f_to_device(Device::Cpu)?.f_contiguous()?.f_view([-1])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalisation::Normalisation;

    fn random(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    fn sae(activation: Activation, width: i64) -> Sae {
        Sae {
            encoder: random(&[width, 8]).into(),
            encoder_bias: random(&[width]).into(),
            decoder: random(&[width, 8]).into(),
            decoder_bias: random(&[8]).into(),
            skip: None,
            input_bias: None,
            activation,
            normalisation: Normalisation::None,
            screen: None,
        }
    }

    fn full(value: f64, width: i64) -> Tensor {
        Tensor::full([width], value, (Kind::Float, Device::Cpu))
    }

    /// `[rows, width]`.
    fn dense(sae: &Sae, x: &Tensor) -> Tensor {
        let (rows, width) = (x.size()[0] as usize, sae.width());
        let mut latents = vec![0f32; rows * width];
        let mut next = 0;
        sae.encode_sparsely::<SaeError>(x, |sparse| {
            assert_eq!((sparse.latents().start, sparse.rows().count()), (next, rows));
            next = sparse.latents().end;
            for (row, listed) in sparse.rows().enumerate() {
                assert!(listed.is_sorted_by_key(|(latent, _)| *latent));
                for &(latent, value) in listed {
                    assert!(sparse.latents().contains(&(latent as usize)));
                    latents[row * width + latent as usize] = value;
                }
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(next, width);
        Tensor::from_slice(&latents).view([rows as i64, width as i64])
    }

    /// More rows than a block, more latents than a tile, rare to frequent firing.
    #[test]
    fn sparse_latents_are_those_of_the_whole() {
        let width = 2600;
        for activation in [
            Activation::Relu,
            Activation::JumpRelu { threshold: full(7.5, width).into() },
            Activation::JumpRelu { threshold: full(-1.0, width).into() },
            Activation::TopK { k: 40 },
            Activation::Gated { scale: full(0.5, width).into(), bias: full(-1.0, width).into() },
        ] {
            let sae = sae(activation, width).computing_in(hayloft_runtime::Dtype::F32).unwrap();
            let x = random(&[700, 8]);
            let whole = sae.encode(&x).unwrap().latents;
            let difference = (dense(&sae, &x) - whole).abs().max().double_value(&[]);
            assert!(difference < 1e-4, "{:?}: {difference}", sae.activation);
        }
        let mut calls = 0;
        let counted = |_: &SparseLatents| -> Result<(), SaeError> {
            calls += 1;
            Ok(())
        };
        sae(Activation::Relu, 30).encode_sparsely(&random(&[0, 8]), counted).unwrap();
        assert_eq!(calls, 0);
    }

    /// What runs on GPUs.
    #[test]
    fn lists_of_matrices_are_those_of_tiles() {
        let width = 30;
        let threshold = full(1.0, width);
        let sae = sae(Activation::JumpRelu { threshold: threshold.into() }, width);
        let x = random(&[50, 8]);
        let mut fired = Fired::default();
        for first in [0, 20] {
            let count = 20.min(width - first);
            let pre = sae.pre_activations(&x, first, count).unwrap();
            let latents = sae.activation.narrow(first, count).unwrap().apply(pre).unwrap();
            fired.clear();
            list_matrix(&latents, first as u32, &mut fired).unwrap();
            let mut matrix = vec![0f32; 50 * count as usize];
            for (row, listed) in fired.rows().enumerate() {
                for &(latent, value) in listed {
                    matrix[row * count as usize + (latent as usize - first as usize)] = value;
                }
            }
            assert_eq!(Tensor::from_slice(&matrix).view([50, count]), latents);
        }
        let top = Sae { activation: Activation::TopK { k: 4 }, ..sae };
        fired.clear();
        top.list_top(&x, 4, &mut fired).unwrap();
        fired.sort_rows_by_key(|(latent, _)| *latent);
        let listed: Vec<(u32, f32)> = fired.rows().flatten().copied().collect();
        let mut expected = Vec::new();
        top.encode_sparsely::<SaeError>(&x, |sparse| {
            expected.extend(sparse.rows().flatten().copied());
            Ok(())
        })
        .unwrap();
        assert_eq!(listed, expected);
    }
}
