//! Trainable SAEs: leaf tensors with gradients, one file per architecture.
//!
//! Every architecture's loss is the mean over rows of Σ (x − r)² plus a sparsity loss, an auxiliary loss, or both, as in
//! SAELens 6.54.12, so that coefficients have the same meaning.

mod batch_topk;
mod body;
mod export;
mod gated;
mod jumprelu;
mod open;
mod standard;
mod topk;

#[cfg(test)]
mod tests;

use tch::{TchError, Tensor};

pub(super) use self::body::Body;
pub(super) use self::export::{Exported, Fold};
pub(super) use self::open::{FRESH_DECODER_NORM, fresh, reopen};

/// The input of a training step.
#[derive(Debug)]
pub(super) struct Input<'step> {
    /// `[rows, d_model]` float32, scaled.
    pub(super) x: &'step Tensor,
    /// `[width]` bool: dead latents; `None` while there cannot be any.
    pub(super) dead: Option<&'step Tensor>,
    /// Coefficient of the sparsity loss in this step.
    pub(super) coefficient: f64,
}

/// The output of a forward pass. Losses are scalars with gradients, already multiplied by their coefficients.
#[derive(Debug)]
pub(super) struct Forward {
    /// `[rows, d_model]`.
    pub(super) reconstruction: Tensor,
    /// `[rows, width]`, never negative.
    pub(super) latents: Tensor,
    /// Mean over rows of Σ (x − r)².
    pub(super) reconstruction_loss: Tensor,
    /// If the architecture has one.
    pub(super) sparsity_loss: Option<Tensor>,
    /// If the architecture has one.
    pub(super) auxiliary_loss: Option<Tensor>,
}

impl Forward {
    /// The sum of all losses.
    pub(super) fn loss(&self) -> Result<Tensor, TchError> {
        let more = [&self.sparsity_loss, &self.auxiliary_loss].into_iter().flatten();
        more.into_iter().try_fold(self.reconstruction_loss.shallow_clone(), |sum, loss| sum.f_add(loss))
    }
}

/// A trainable SAE.
pub(super) trait Model: std::fmt::Debug {
    /// The trained leaf tensors by SAELens's names, in a fixed order.
    fn parameters(&self) -> Vec<(&'static str, &Tensor)>;

    /// Other tensors that training updates, by SAELens's names.
    fn running(&self) -> Vec<(&'static str, &Tensor)> {
        Vec::new()
    }

    /// Projects parameters onto their valid range. Called before the forward pass, without gradients.
    fn constrain(&mut self) -> Result<(), TchError> {
        Ok(())
    }

    /// Computes the reconstruction and losses of some rows.
    fn forward(&self, input: &Input<'_>) -> Result<Forward, TchError>;

    /// Updates running tensors from the latents of a step. Called without gradients.
    fn follow(&mut self, _latents: &Tensor) -> Result<(), TchError> {
        Ok(())
    }

    /// Mean number of active latents per row, if the saved SAE approximates it by one threshold. The trained and saved SAEs
    /// then compute different functions.
    fn average(&self) -> Option<f64> {
        None
    }

    /// Converts the SAE to its saved form. `fold` decides whether the scale is folded in.
    fn export(&self, fold: Fold) -> Result<Exported, TchError>;

    /// Number of latents.
    fn width(&self) -> usize;
}
