//! The latents that fire, as lists: found in pre-activations, and put through the decoder.

use hayloft_model::{ModelError, host};

use super::Activation;

/// Pre-activations looked at together: where none of them fires, they cost a few vector instructions.
const LANES: usize = 16;

/// Latents above zero and their values, row by row; NaN counts as above.
#[derive(Debug, Default)]
pub(super) struct Fired {
    /// Latent and value.
    entries: Vec<(u32, f32)>,
    /// Where each row's entries end.
    ends: Vec<usize>,
}

impl Fired {
    /// Forgets all rows and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.ends.clear();
    }

    /// How many there are in all rows.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entries of each row.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[(u32, f32)]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.entries[start..end])
    }

    /// Adds a row of chosen latents; those that are not above zero do not fire.
    #[inline(always)]
    pub(super) fn add_row(&mut self, latents: impl Iterator<Item = (u32, f32)>) {
        self.entries.extend(latents.filter(|(_, value)| fires(*value)));
        self.ends.push(self.entries.len());
    }

    /// Adds a row of latents with their pre-activations, by an activation that treats each latent by itself.
    #[inline(always)]
    pub(super) fn add_computed_row(
        &mut self,
        activation: &Activation,
        latents: impl Iterator<Item = (u32, f32)>,
    ) -> Result<(), ModelError> {
        match activation {
            Activation::Relu | Activation::TopK { .. } => self.add_row(latents),
            Activation::JumpRelu { threshold } => {
                let threshold = host::floats(threshold)?;
                let jump =
                    |(latent, pre): (u32, f32)| (latent, if pre <= threshold[latent as usize] { 0.0 } else { pre });
                self.add_row(latents.map(jump));
            }
            Activation::Gated { scale, bias } => {
                let (scale, bias) = (host::floats(scale)?, host::floats(bias)?);
                let gate = |(latent, pre): (u32, f32)| {
                    let place = latent as usize;
                    (latent, if pre <= 0.0 { 0.0 } else { pre * scale[place] + bias[place] })
                };
                self.add_row(latents.map(gate));
            }
        }
        Ok(())
    }

    /// Adds rows of pre-activations `[rows, count]` of the latents from `first` on, by an activation that treats each
    /// latent by itself.
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
                let threshold = &host::floats(threshold)?[own];
                self.scan(first, pre, count, |pre, latent| if pre <= threshold[latent] { 0.0 } else { pre });
            }
            Activation::Gated { scale, bias } => {
                let (scale, bias) = (&host::floats(scale)?[own.clone()], &host::floats(bias)?[own]);
                let latent =
                    |pre: f32, latent: usize| if pre <= 0.0 { 0.0 } else { pre * scale[latent] + bias[latent] };
                self.scan(first, pre, count, latent);
            }
        }
        Ok(())
    }

    /// Lists what `latent` makes of pre-activations and their place in the row, where it fires.
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
                        // Counted and not searched for, so that it is vector code.
                        if values.iter().fold(0u32, |count, &value| count + u32::from(fires(value))) > 0 {
                            self.list(first + start, &values);
                        }
                    }
                    for (offset, &pre) in (chunks.len() * LANES..).zip(rest) {
                        self.list(first + offset, &[latent(pre, offset)]);
                    }
                    self.ends.push(self.entries.len());
                }
            },
        );
    }

    fn list(&mut self, first: usize, values: &[f32]) {
        let numbered = (first as u32..).zip(values.iter().copied());
        self.entries.extend(numbered.filter(|(_, value)| fires(*value)));
    }
}

/// Adds value times decoder row, for each latent of a row, to `sums` `[d_model]`; `decoder` is `[width, d_model]`.
pub(super) fn add_decoder_rows(latents: &[(u32, f32)], decoder: &[f32], sums: &mut [f32]) {
    let d_model = sums.len();
    let row = |latent: u32| &decoder[latent as usize * d_model..][..d_model];
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            // Four at a time: the sums are loaded and stored once for them all.
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

#[expect(clippy::neg_cmp_op_on_partial_ord, reason = "what is not a number must not get lost")]
#[inline(always)]
fn fires(latent: f32) -> bool {
    !(latent <= 0.0)
}
