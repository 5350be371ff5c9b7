//! A block of rows on a CPU, encoded in tiles of latents.
//!
//! One matrix product computes a tile of pre-activations, which is read once while it is in cache. The active latents are
//! listed. The `[rows, width]` latents are never materialised.

use hayloft_model::Largest;
use hayloft_runtime::Phase;
use tch::Tensor;

use crate::error::SaeError;
use crate::forward::activation::Activation;
use crate::forward::fired::Fired;
use crate::forward::screen::{Candidates, Screen, ScreenInput, dot};
use crate::forward::{Sae, tensor_slice};

/// Rows of a block and latents of a tile: 2 MiB of float32. Matrix products of this size run at full speed.
pub(super) const BLOCK_ROWS: i64 = 512;
const TILE_LATENTS: i64 = 1024;

/// Some rows of the encoder's input.
#[derive(Debug)]
pub(super) struct RowBlock<'run> {
    sae: &'run Sae,
    /// `[rows, d_in]`.
    input: Tensor,
    /// The screen, while tiles are sparse enough for it.
    screen: Option<(&'run Screen, ScreenInput)>,
}

/// First latent and number of latents of each tile.
pub(super) fn tiles(width: usize) -> impl Iterator<Item = (i64, i64)> {
    let width = width as i64;
    (0..width).step_by(TILE_LATENTS as usize).map(move |first| (first, TILE_LATENTS.min(width - first)))
}

impl<'run> RowBlock<'run> {
    /// The block of `count` rows from `first` on of `input` `[rows, d_in]`.
    pub(super) fn new(sae: &'run Sae, input: &Tensor, first: i64, count: i64) -> Result<Self, SaeError> {
        let input = input.f_narrow(0, first, count)?.f_contiguous()?;
        let screen = match &sae.screen {
            Some(screen) => Some((screen, Screen::input(&input)?)),
            None => None,
        };
        Ok(Self { sae, input, screen })
    }

    /// Adds a row for each row of the block: the active latents of one tile, in ascending order. The activation function must
    /// be elementwise.
    pub(super) fn encode_tile(
        &mut self,
        activation: &Activation,
        (first, count): (i64, i64),
        fired: &mut Fired,
    ) -> Result<(), SaeError> {
        let candidates = match &self.screen {
            Some((screen, input)) => {
                let _phase = Phase::Screen.begin(2 * self.input.numel() as u64 * count as u64);
                screen.candidates(input, first as usize, count as usize)?
            }
            None => None,
        };
        if let Some(candidates) = candidates {
            self.compute_exactly(activation, &candidates, fired)
        } else {
            self.screen = None; // if this tile is dense, the following ones will be too
            let tile = self.pre_activations(first, count)?;
            Ok(fired.read(activation, first as usize, tensor_slice::floats(&tile)?, count as usize)?)
        }
    }

    /// Adds a row for each row of the block: those of its `k` largest latents that are active, the largest first.
    pub(super) fn encode_top(&self, k: usize, fired: &mut Fired) -> Result<(), SaeError> {
        let mut rows = vec![Largest::new(k); self.input.size()[0] as usize];
        for (first, count) in tiles(self.sae.width()) {
            let tile = self.pre_activations(first, count)?;
            let tile = tensor_slice::floats(&tile)?;
            pulp::Arch::new().dispatch(|| {
                for (row, pre) in rows.iter_mut().zip(tile.chunks_exact(count as usize)) {
                    row.add(first as u32, pre);
                }
            });
        }
        for row in rows {
            fired.add_row(row.finish().into_iter().map(|(pre, latent)| (latent, pre)));
        }
        Ok(())
    }

    fn pre_activations(&self, first: i64, count: i64) -> Result<Tensor, SaeError> {
        let _phase = Phase::Encode.begin(2 * self.input.numel() as u64 * count as u64);
        Ok(self.sae.pre_activations(&self.input, first, count)?)
    }

    /// Computes the candidates' pre-activations in float32.
    fn compute_exactly(
        &self,
        activation: &Activation,
        candidates: &Candidates,
        fired: &mut Fired,
    ) -> Result<(), SaeError> {
        let d_model = self.sae.d_model();
        let _phase = Phase::Encode.begin(2 * candidates.len() as u64 * d_model as u64);
        let (input, encoder) = (tensor_slice::floats(&self.input)?, tensor_slice::floats(&self.sae.encoder)?);
        let bias = tensor_slice::floats(&self.sae.encoder_bias)?;
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for (x, latents) in input.chunks_exact(d_model).zip(candidates.rows()) {
                    let pre = latents.iter().map(
                        #[inline(always)]
                        |&latent| {
                            let place = latent as usize;
                            (latent, dot(x, &encoder[place * d_model..][..d_model]) + bias[place])
                        },
                    );
                    fired.add_computed_row(activation, pre)?;
                }
                Ok(())
            },
        )
    }
}
