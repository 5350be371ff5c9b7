//! SAEs in the form that they are trained in: leaf tensors with gradients, one file for each architecture.
//!
//! Every architecture's loss is the mean over rows of Σ (x − r)², plus a sparsity loss or an auxiliary loss or both,
//! as in SAELens 6.54.12, so that coefficients mean the same in both.

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

/// What a model is shown in a step.
#[derive(Debug)]
pub(super) struct Input<'step> {
    /// `[rows, d_model]` float32, scaled.
    pub(super) x: &'step Tensor,
    /// `[width]` bool: latents that have not fired for long; `None` where there cannot be any yet.
    pub(super) dead: Option<&'step Tensor>,
    /// What the sparsity loss is multiplied by in this step.
    pub(super) coefficient: f64,
}

/// What a model makes of it. Losses are scalars with gradients, and already multiplied by their coefficients.
#[derive(Debug)]
pub(super) struct Forward {
    /// `[rows, d_model]`.
    pub(super) reconstruction: Tensor,
    /// `[rows, width]`, never negative.
    pub(super) latents: Tensor,
    /// Mean over rows of Σ (x − r)².
    pub(super) reconstruction_loss: Tensor,
    /// Where the architecture has one.
    pub(super) sparsity_loss: Option<Tensor>,
    /// Where the architecture has one.
    pub(super) auxiliary_loss: Option<Tensor>,
}

impl Forward {
    /// The sum of all losses.
    pub(super) fn loss(&self) -> Result<Tensor, TchError> {
        let more = [&self.sparsity_loss, &self.auxiliary_loss].into_iter().flatten();
        more.into_iter().try_fold(self.reconstruction_loss.shallow_clone(), |sum, loss| sum.f_add(loss))
    }
}

/// An SAE that is trained.
pub(super) trait Model: std::fmt::Debug {
    /// The leaf tensors that are trained, by SAELens's names, always in the same order.
    fn parameters(&self) -> Vec<(&'static str, &Tensor)>;

    /// Other tensors that training changes, by SAELens's names.
    fn running(&self) -> Vec<(&'static str, &Tensor)> {
        Vec::new()
    }

    /// Brings parameters back to where they may be. Without gradients, before a forward pass.
    fn constrain(&mut self) -> Result<(), TchError> {
        Ok(())
    }

    /// Reconstruction and losses of some rows.
    fn forward(&self, input: &Input<'_>) -> Result<Forward, TchError>;

    /// Follows the latents of a step. Without gradients.
    fn follow(&mut self, _latents: &Tensor) -> Result<(), TchError> {
        Ok(())
    }

    /// How many latents a row has on average, where one threshold for all stands for that in the saved SAE: there training and
    /// saved SAE are two functions.
    fn average(&self) -> Option<f64> {
        None
    }

    /// The SAE as it is saved, with a scale folded in or not.
    fn export(&self, fold: Fold) -> Result<Exported, TchError>;

    /// The number of latents.
    fn width(&self) -> usize;
}
