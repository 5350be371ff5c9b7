//! What an SAE does in each sequence of a batch.

use hayloft_results::{RowTerms, SequenceSums, Sums};

use crate::data::batch::Batch;

/// What an SAE does in each sequence of a batch, while it is added up.
#[derive(Debug)]
pub(crate) struct BatchSums<'batch> {
    batch: &'batch Batch,
    /// Of each sequence.
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

    /// Adds how far the spliced run is from the clean one at some rows.
    pub(crate) fn add_divergences(&mut self, rows: &[i64], kl: &[f64]) {
        for (sequence, &kl) in self.batch.sequences_at(rows).into_iter().zip(kl) {
            self.sums[sequence].kl.get_or_insert_default().add(&[kl]);
        }
    }

    /// One for each sequence, in order.
    pub(crate) fn finish(self) -> impl Iterator<Item = SequenceSums> {
        self.sums.into_iter().map(|sums| SequenceSums::of(&sums))
    }
}
