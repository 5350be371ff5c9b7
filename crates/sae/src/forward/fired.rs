//! Sparse lists of active latents, and the sparse decoder product.

use hayloft_model::ModelError;

use crate::forward::activation::Activation;
use crate::forward::ragged::Ragged;
use crate::forward::tensor_slice;

/// Pre-activations tested at once. A group without active latents costs a few vector instructions.
const LANES: usize = 16;

/// Active latents and their values, per row. NaN counts as active.
pub(super) type Fired = Ragged<(u32, f32)>;

impl Fired {
    /// Adds a row of selected latents, dropping those not above zero.
    #[inline(always)]
    pub(super) fn add_row(&mut self, latents: impl Iterator<Item = (u32, f32)>) {
        self.entries.extend(latents.filter(|(_, value)| fires(*value)));
        self.end_row();
    }

    /// Adds a row of latents given their pre-activations. The activation function must be elementwise.
    #[inline(always)]
    pub(super) fn add_computed_row(
        &mut self,
        activation: &Activation,
        latents: impl Iterator<Item = (u32, f32)>,
    ) -> Result<(), ModelError> {
        match activation {
            Activation::Relu | Activation::TopK { .. } => self.add_row(latents),
            Activation::JumpRelu { threshold } => {
                let threshold = tensor_slice::floats(threshold)?;
                let jumped = |(latent, pre): (u32, f32)| (latent, jump(pre, threshold[latent as usize]));
                self.add_row(latents.map(jumped));
            }
            Activation::Gated { scale, bias } => {
                let (scale, bias) = (tensor_slice::floats(scale)?, tensor_slice::floats(bias)?);
                let gated = |(latent, pre): (u32, f32)| {
                    let place = latent as usize;
                    (latent, gate(pre, scale[place], bias[place]))
                };
                self.add_row(latents.map(gated));
            }
        }
        Ok(())
    }

    /// Adds rows of pre-activations `[rows, count]` for the latents starting at `first`. The activation function must be
    /// elementwise.
    pub(super) fn read(
        &mut self,
        activation: &Activation,
        first: usize,
        pre: &[f32],
        count: usize,
    ) -> Result<(), ModelError> {
        let own = first..first + count;
        match activation {
            Activation::Relu | Activation::TopK { .. } => self.scan(first, pre, count, |pre, _| pre),
            Activation::JumpRelu { threshold } => {
                let threshold = &tensor_slice::floats(threshold)?[own];
                self.scan(first, pre, count, |pre, latent| jump(pre, threshold[latent]));
            }
            Activation::Gated { scale, bias } => {
                let (scale, bias) = (&tensor_slice::floats(scale)?[own.clone()], &tensor_slice::floats(bias)?[own]);
                self.scan(first, pre, count, |pre, latent| gate(pre, scale[latent], bias[latent]));
            }
        }
        Ok(())
    }

    /// Lists the active latents. `latent` maps a pre-activation and its column to the latent's value.
    fn scan(&mut self, first: usize, pre: &[f32], count: usize, latent: impl Fn(f32, usize) -> f32) {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for row in pre.chunks_exact(count) {
                    let (chunks, rest) = row.as_chunks::<LANES>();
                    for (index, chunk) in chunks.iter().enumerate() {
                        let start = index * LANES;
                        let mut values = [0.0; LANES];
                        for lane in 0..LANES {
                            values[lane] = latent(chunk[lane], start + lane);
                        }
                        // A count instead of a search, so that the loop vectorises.
                        if values.iter().fold(0u32, |count, &value| count + u32::from(fires(value))) > 0 {
                            self.list(first + start, &values);
                        }
                    }
                    for (offset, &pre) in (chunks.len() * LANES..).zip(rest) {
                        self.list(first + offset, &[latent(pre, offset)]);
                    }
                    self.end_row();
                }
            },
        );
    }

    fn list(&mut self, first: usize, values: &[f32]) {
        let numbered = (first as u32..).zip(values.iter().copied());
        self.entries.extend(numbered.filter(|(_, value)| fires(*value)));
    }
}

/// Adds value times decoder row to `sums` `[d_model]` for each latent of a row; `decoder` is `[width, d_model]`.
pub(super) fn add_decoder_rows(latents: &[(u32, f32)], decoder: &[f32], sums: &mut [f32]) {
    let d_model = sums.len();
    let row = |latent: u32| &decoder[latent as usize * d_model..][..d_model];
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            // Four rows at a time, so that the sums are loaded and stored once per group.
            let (fours, rest) = latents.as_chunks::<4>();
            for four in fours {
                let rows = four.map(|(latent, _)| row(latent));
                let values = four.map(|(_, value)| value);
                add_four(rows, values, sums);
            }
            for &(latent, value) in rest {
                for (sum, element) in sums.iter_mut().zip(row(latent)) {
                    *sum += value * element;
                }
            }
        },
    );
}

#[inline(always)]
fn add_four([a, b, c, d]: [&[f32]; 4], values: [f32; 4], sums: &mut [f32]) {
    for ((((sum, a), b), c), d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *sum += (values[0] * a + values[1] * b) + (values[2] * c + values[3] * d);
    }
}

/// The pre-activation if it is above the threshold, otherwise 0.
#[inline(always)]
fn jump(pre: f32, threshold: f32) -> f32 {
    if pre <= threshold { 0.0 } else { pre }
}

/// The scaled and shifted pre-activation if it is above zero, otherwise 0.
#[inline(always)]
fn gate(pre: f32, scale: f32, bias: f32) -> f32 {
    if pre <= 0.0 { 0.0 } else { pre * scale + bias }
}

#[expect(clippy::neg_cmp_op_on_partial_ord, reason = "what is not a number must not get lost")]
#[inline(always)]
fn fires(latent: f32) -> bool {
    !(latent <= 0.0)
}
