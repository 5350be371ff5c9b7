//! Reconstruction on a CPU, in tiles of rows × latents.
//!
//! If few latents of a tile fire, their decoder rows are added to the sums; otherwise the tile goes through a second matrix
//! product.

use hayloft_runtime::Phase;
use tch::Tensor;

use crate::error::SaeError;
use crate::forward::activation::Activation;
use crate::forward::block::{BLOCK_ROWS, RowBlock, tiles};
use crate::forward::fired::{Fired, add_decoder_rows};
use crate::forward::{Firings, Reconstruction, Sae, tensor_slice};

/// A tile is decoded densely if at least one latent in this many fires (`cargo bench -p hayloft-evaluate`).
const DENSE_RATIO: usize = 4;

pub(super) fn reconstruct(
    sae: &Sae,
    x: &Tensor,
    groups: &[Vec<bool>],
) -> Result<(Reconstruction, Vec<Firings>), SaeError> {
    let (rows, d_out) = (x.size()[0], sae.d_out());
    let (input, back) = sae.input(x)?;
    let mut sums: Vec<f32> = tensor_slice::floats(&sae.decoder_bias)?.repeat(rows as usize);
    let mut fired_counts = vec![0i64; rows as usize];
    let mut l1 = vec![0f32; rows as usize];
    let mut firings = vec![vec![0; sae.width()]; groups.len()];
    for first_row in (0..rows).step_by(BLOCK_ROWS as usize) {
        let count = BLOCK_ROWS.min(rows - first_row);
        let range = first_row as usize..(first_row + count) as usize;
        let mut piece = Piece {
            sae,
            block: RowBlock::new(sae, &input, first_row, count)?,
            sums: &mut sums[range.start * d_out..range.end * d_out],
            fired_counts: &mut fired_counts[range.clone()],
            l1: &mut l1[range.clone()],
            groups: groups.iter().map(|members| &members[range.clone()]).collect(),
            firings: &mut firings,
        };
        match &sae.activation {
            Activation::TopK { k } => piece.reconstruct_top(*k)?,
            activation => piece.reconstruct_each(activation)?,
        }
    }
    let rows = Tensor::f_from_slice(&sums)?.f_view([rows, d_out as i64])?;
    let (fired, l1) = (Tensor::f_from_slice(&fired_counts)?, Tensor::f_from_slice(&l1)?);
    Ok((Reconstruction { rows: back.apply(rows)?, fired, l1 }, firings))
}

/// One block of rows, processed over all tiles of latents.
struct Piece<'run> {
    sae: &'run Sae,
    block: RowBlock<'run>,
    /// `[rows, d_out]`: the partial reconstruction.
    sums: &'run mut [f32],
    /// `[rows]`: active latents so far.
    fired_counts: &'run mut [i64],
    /// `[rows]`: the sum of the latents so far.
    l1: &'run mut [f32],
    /// `[groups][rows]`.
    groups: Vec<&'run [bool]>,
    /// `[groups][width]`.
    firings: &'run mut [Firings],
}

impl Piece<'_> {
    /// Reconstructs with an elementwise activation function.
    fn reconstruct_each(&mut self, activation: &Activation) -> Result<(), SaeError> {
        let mut fired = Fired::default();
        for (first, count) in tiles(self.sae.width()) {
            fired.clear();
            self.block.encode_tile(activation, (first, count), &mut fired)?;
            self.count(&fired);
            if fired.len() * DENSE_RATIO < self.fired_counts.len() * count as usize {
                self.add(&fired)?;
            } else {
                self.add_densely(&fired, first, count)?;
            }
        }
        Ok(())
    }

    /// Reconstructs from the `k` largest latents of each row.
    fn reconstruct_top(&mut self, k: usize) -> Result<(), SaeError> {
        let mut fired = Fired::default();
        self.block.encode_top(k, &mut fired)?;
        self.count(&fired);
        self.add(&fired)
    }

    fn count(&mut self, fired: &Fired) {
        for (row, latents) in fired.rows().enumerate() {
            self.fired_counts[row] += latents.len() as i64;
            self.l1[row] += latents.iter().map(|(_, value)| value).sum::<f32>();
            for (members, firings) in self.groups.iter().zip(self.firings.iter_mut()) {
                if members[row] {
                    for &(latent, _) in latents {
                        firings[latent as usize] += 1;
                    }
                }
            }
        }
    }

    fn add(&mut self, fired: &Fired) -> Result<(), SaeError> {
        let _phase = Phase::Reconstruct.begin(2 * fired.len() as u64 * self.sae.d_out() as u64);
        let decoder = tensor_slice::floats(&self.sae.decoder)?;
        for (row, sums) in fired.rows().zip(self.sums.chunks_exact_mut(self.sae.d_out())) {
            add_decoder_rows(row, decoder, sums);
        }
        Ok(())
    }

    fn add_densely(&mut self, fired: &Fired, first: i64, count: i64) -> Result<(), SaeError> {
        let _phase = Phase::Reconstruct.begin(2 * self.sums.len() as u64 * count as u64);
        let mut latents = vec![0.0; self.fired_counts.len() * count as usize];
        for (row, latents) in fired.rows().zip(latents.chunks_exact_mut(count as usize)) {
            for &(latent, value) in row {
                latents[latent as usize - first as usize] = value;
            }
        }
        let latents = Tensor::f_from_slice(&latents)?.f_view([-1, count])?;
        let product = latents.f_mm(&self.sae.decoder.f_narrow(0, first, count)?)?;
        for (sum, product) in self.sums.iter_mut().zip(tensor_slice::floats(&product)?) {
            *sum += product;
        }
        Ok(())
    }
}
