//! The forward pass over one step: tokens to activations and predictions.

use hayloft_model::{Decoder, Positions, Predictions, Residual, Site, Stop};
use hayloft_runtime::Phase;
use hayloft_store::{KeptPredictions, SiteName};
use tch::{Device, Tensor};

use super::steps::Step;
use crate::error::HarvestError;

/// A model and the sites to record.
#[derive(Debug)]
pub(super) struct Forward {
    decoder: Decoder,
    /// The sites, in forward-pass order.
    sites: Vec<(Site, SiteName)>,
    kept: Option<KeptPredictions>,
}

/// The result of one step.
#[derive(Debug)]
pub(super) struct StepDone {
    pub(super) step: Step,
    /// Activations of each site, in the order of [`Forward::sites`]: `[rows, width]` in the decoder's precision,
    /// without padding, on the CPU.
    pub(super) activations: Vec<Tensor>,
    /// Predictions for the same rows, if kept.
    pub(super) predictions: Option<Predictions>,
    /// All logits of the same rows, `[rows, vocab]` words in the decoder's precision; empty if not kept.
    pub(super) logits: Vec<u8>,
}

impl Forward {
    pub(super) fn new(decoder: Decoder, mut sites: Vec<(Site, SiteName)>, kept: Option<KeptPredictions>) -> Self {
        sites.sort_by_key(|(site, _)| *site);
        Self { decoder, sites, kept }
    }

    /// Returns the sites, in forward-pass order.
    pub(super) fn sites(&self) -> impl Iterator<Item = &SiteName> {
        self.sites.iter().map(|(_, name)| name)
    }

    /// Returns the model's device.
    pub(super) fn device(&self) -> Device {
        self.decoder.device()
    }

    /// Returns which predictions are kept.
    pub(super) fn kept(&self) -> Option<KeptPredictions> {
        self.kept
    }

    /// Runs the model on a step.
    pub(super) fn step(&self, step: Step) -> Result<StepDone, HarvestError> {
        let device = self.decoder.device();
        let vocabulary = self.decoder.spec().vocab_size;
        // On a GPU, an index out of range would end the process.
        if let Some(id) = step.tokens().iter().find(|id| **id as usize >= vocabulary) {
            return Err(HarvestError::Vocabulary { id: *id, vocabulary });
        }
        let padded = Padded::new(&step);
        let rows = match &padded.rows {
            Some(rows) => Some(Tensor::f_from_slice(rows)?.f_to_device(device)?),
            None => None,
        };
        let positions = Positions::from_start(padded.width);
        let sequences = step.lengths.len();
        let embedded = {
            let _phase = Phase::Embed.begin(0);
            let tokens = Tensor::f_from_slice(&padded.tokens)?.f_view([sequences as i64, padded.width as i64])?;
            self.decoder.embed(&tokens.f_to_device(device)?)?
        };
        let mut activations = Vec::with_capacity(self.sites.len());
        let mut at = Reached::Between(embedded);
        for (site, _) in &self.sites {
            let reached = self.reach(at, *site, sequences, positions)?;
            activations.push(gather(&reached.value, rows.as_ref())?.f_to_device(Device::Cpu)?.f_contiguous()?);
            at = Reached::At(reached);
        }
        let mut logits = Vec::new();
        let predictions = match self.kept {
            None => None,
            Some(kept) => {
                let end = self.finish(at, sequences, positions)?;
                let _phase = Phase::Loss.begin(self.decoder.head_operations(step.rows));
                let rows = gather(&end.stream, rows.as_ref())?;
                let (labels, top_k) = (labels(&step), kept.top_k as usize);
                Some(if kept.full_logits {
                    self.decoder.predictions_and_logits(&rows, &labels, top_k, &mut logits)?
                } else {
                    self.decoder.predictions(&rows, &labels, top_k)?
                })
            }
        };
        Ok(StepDone { step, activations, predictions, logits })
    }

    /// Advances the forward pass to a site.
    fn reach(
        &self,
        from: Reached,
        site: Site,
        sequences: usize,
        positions: Positions<'_>,
    ) -> Result<Stop, HarvestError> {
        let blocks = site.layer() + 1 - from.block().min(site.layer() + 1);
        let _phase = Phase::Advance.begin(self.decoder.advance_operations(sequences, positions.length(), blocks));
        Ok(match from {
            Reached::Between(residual) => self.decoder.reach(&residual, site, &positions)?,
            Reached::At(stop) => self.decoder.go_on(&stop, site, &positions)?,
        })
    }

    /// Advances the forward pass to the final norm.
    fn finish(&self, from: Reached, sequences: usize, positions: Positions<'_>) -> Result<Residual, HarvestError> {
        let end = self.decoder.spec().n_blocks;
        let blocks = end - from.block().min(end);
        let _phase = Phase::Advance.begin(self.decoder.advance_operations(sequences, positions.length(), blocks));
        let residual = match from {
            Reached::Between(residual) => residual,
            Reached::At(stop) => self.decoder.leave(&stop, &positions)?,
        };
        Ok(self.decoder.advance(&residual, end, &positions)?)
    }
}

/// The position of the forward pass.
enum Reached {
    /// Between two blocks.
    Between(Residual),
    /// At a site.
    At(Stop),
}

impl Reached {
    /// Returns the first block not yet run. For the operation count, a partly run block counts as done.
    fn block(&self) -> usize {
        match self {
            Self::Between(residual) => residual.block,
            Self::At(stop) => stop.site.block().unwrap_or(stop.site.layer() + 1),
        }
    }
}

/// A step as model input, `[batch, pos]`, padded on the right.
struct Padded {
    /// `[batch * pos]`. The causal mask hides the padding from real tokens, so any token will do.
    tokens: Vec<i64>,
    width: usize,
    /// Indices of the rows in `tokens`; `None` without padding.
    rows: Option<Vec<i64>>,
}

impl Padded {
    fn new(step: &Step) -> Self {
        let width = step.lengths.iter().copied().max().unwrap_or(0);
        let mut tokens = vec![0; step.lengths.len() * width];
        let mut rows = Vec::with_capacity(step.tokens().len());
        let mut rest = step.tokens();
        for (index, length) in step.lengths.iter().enumerate() {
            let (sequence, later) = rest.split_at(*length);
            let start = index * width;
            for (place, token) in tokens[start..].iter_mut().zip(sequence) {
                *place = i64::from(*token);
            }
            rows.extend((start..start + length).map(|row| row as i64));
            rest = later;
        }
        let padding = rows.len() < tokens.len();
        Self { tokens, width, rows: padding.then_some(rows) }
    }
}

/// Returns the next token of each row, `[rows]`; -1 at the end of each sequence.
fn labels(step: &Step) -> Vec<i64> {
    let mut labels = Vec::with_capacity(step.tokens().len());
    let mut rest = step.tokens();
    for length in &step.lengths {
        let (sequence, later) = rest.split_at(*length);
        labels.extend(sequence.iter().skip(1).map(|token| i64::from(*token)));
        labels.push(-1);
        rest = later;
    }
    labels
}

/// Removes the padding of activations `[batch, pos, width]`, giving `[rows, width]`.
fn gather(activations: &Tensor, rows: Option<&Tensor>) -> Result<Tensor, HarvestError> {
    let all = activations.f_flatten(0, 1)?;
    Ok(match rows {
        Some(rows) => all.f_index_select(0, rows)?,
        None => all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_padded_on_the_right() {
        let padded = Padded::new(&Step::of(&[1, 2, 3, 4, 5, 6], &[3, 2, 1]));
        assert_eq!(padded.tokens, [1, 2, 3, 4, 5, 0, 6, 0, 0]);
        assert_eq!(padded.rows.unwrap(), [0, 1, 2, 3, 4, 6]);
        let padded = Padded::new(&Step::of(&[1, 2, 3, 4], &[2, 2]));
        assert_eq!((padded.width, padded.rows), (2, None));
    }

    #[test]
    fn labels_are_the_next_tokens() {
        assert_eq!(labels(&Step::of(&[1, 2, 3, 4, 5, 6], &[3, 2, 1])), [2, 3, -1, 5, -1, -1]);
    }
}
