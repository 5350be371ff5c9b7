//! Sums per sequence of a batch.

use hayloft_results::{RowTerms, SequenceSums, Sums};

use crate::data::batch::Batch;

/// Accumulates an SAE's sums for each sequence of a batch.
#[derive(Debug)]
pub(crate) struct BatchSums<'batch> {
    batch: &'batch Batch,
    /// One per sequence.
    sums: Vec<Sums>,
}

impl<'batch> BatchSums<'batch> {
    pub(crate) fn new(batch: &'batch Batch) -> Self {
        Self { batch, sums: vec![Sums::default(); batch.layout.sequences] }
    }

    /// Adds kept rows.
    pub(crate) fn add_activations(&mut self, rows: &[i64], terms: &[RowTerms]) {
        for (sequence, row) in self.batch.sequences_at(rows).into_iter().zip(terms) {
            self.sums[sequence].add_activation(row);
        }
    }

    /// Adds the losses of the spliced run at some rows.
    pub(crate) fn add_losses(&mut self, rows: &[i64], losses: &[f32]) {
        for (sequence, &loss) in self.batch.sequences_at(rows).into_iter().zip(losses) {
            self.sums[sequence].loss_tokens += 1;
            self.sums[sequence].sae_loss += f64::from(loss);
        }
    }

    /// Adds the divergences of the spliced run from the clean run at some rows.
    pub(crate) fn add_divergences(&mut self, rows: &[i64], kl: &[f64]) {
        for (sequence, &kl) in self.batch.sequences_at(rows).into_iter().zip(kl) {
            self.sums[sequence].kl.get_or_insert_default().add(&[kl]);
        }
    }

    /// Returns one entry per sequence, in order.
    pub(crate) fn finish(self) -> impl Iterator<Item = SequenceSums> {
        self.sums.into_iter().map(|sums| SequenceSums::of(&sums))
    }
}
