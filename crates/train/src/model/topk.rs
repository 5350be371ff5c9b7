//! `TopK` (Gao et al. 2024): the k largest pre-activations of a row, with dead latents trained on the residual error.

use hayloft_sae::{Ranking, Undo};
use tch::{TchError, Tensor};

use super::body::{Body, squared_error};
use super::export::{Exported, Fold};
use super::{Forward, Input, Model};

/// A `TopK` SAE.
#[derive(Debug)]
pub(super) struct TopK {
    pub(super) ranked: Ranked,
    pub(super) k: usize,
}

/// The parts common to `TopK` and `BatchTopK`: all but the selection of latents.
#[derive(Debug)]
pub(super) struct Ranked {
    pub(super) body: Body,
    /// `[width]`.
    pub(super) bias: Tensor,
    pub(super) ranking: Ranking,
    /// Coefficient of the auxiliary loss.
    pub(super) auxiliary: f64,
}

/// Pre-activations `[rows, width]` in the ranking's scale, and the matching decoder.
pub(super) struct Ranks {
    pub(super) pre: Tensor,
    /// `[width, d_model]`: with unit rows if latents are ranked by decoder norm.
    pub(super) decoder: Tensor,
    pub(super) undo: Undo,
}

impl Ranked {
    pub(super) fn parameters(&self) -> Vec<(&'static str, &Tensor)> {
        [self.body.parameters().as_slice(), &[("b_enc", &self.bias)]].concat()
    }

    pub(super) fn ranks(&self, x: &Tensor) -> Result<Ranks, TchError> {
        let (seen, undo) = self.body.encoder_input(x)?;
        let pre = self.bias.f_addmm(&seen, &self.body.encoder)?;
        match self.ranking {
            Ranking::PreActivation => Ok(Ranks { pre, decoder: self.body.decoder.shallow_clone(), undo }),
            Ranking::DecoderNorm => {
                let norms = self.body.decoder_norms()?;
                let decoder = self.body.decoder.f_div(&norms.f_unsqueeze(-1)?)?;
                Ok(Ranks { pre: pre.f_mul(&norms)?, decoder, undo })
            }
        }
    }

    /// Computes the losses of the selected latents.
    pub(super) fn forward(&self, input: &Input<'_>, ranks: &Ranks, latents: Tensor) -> Result<Forward, TchError> {
        let reconstruction = self.body.decode(&latents, &ranks.decoder, &ranks.undo)?;
        Ok(Forward {
            reconstruction_loss: squared_error(&reconstruction, input.x)?,
            sparsity_loss: None,
            auxiliary_loss: Some(self.auxiliary_loss(input, ranks, &reconstruction)?),
            reconstruction,
            latents,
        })
    }

    /// The error of reconstructing the residual error from the largest dead latents of each row: `d_model` / 2 of them, or
    /// all if there are fewer, with proportionally less weight (Gao et al. 2024, appendix A.2, as in SAELens).
    fn auxiliary_loss(
        &self,
        input: &Input<'_>,
        Ranks { pre, decoder, undo }: &Ranks,
        reconstruction: &Tensor,
    ) -> Result<Tensor, TchError> {
        let none = || Tensor::f_zeros([0i64; 0], (pre.kind(), pre.device()));
        let Some(dead) = input.dead else { return none() };
        let count = dead.f_count_nonzero(None)?.f_int64_value(&[])?;
        if count == 0 {
            return none();
        }
        let most = input.x.size()[1] / 2;
        let weight = (count as f64 / most as f64).min(1.0);
        let living_out = pre.f_masked_fill(&dead.f_logical_not()?, f64::NEG_INFINITY)?;
        let (values, columns) = living_out.f_topk(most.min(count), -1, true, false)?;
        let latents = pre.f_zeros_like()?.f_scatter(-1, &columns, &values)?;
        // Without the decoder bias, which the error already includes.
        let guess = undo.stretch(latents.f_matmul(decoder)?)?;
        let error = input.x.f_sub(reconstruction)?.f_detach()?;
        squared_error(&guess, &error)?.f_mul_scalar(self.auxiliary * weight)
    }

    /// Exports encoder, bias and decoder. Decoder norms are folded in if latents are ranked by them.
    pub(super) fn export(&self, architecture: &'static str, fold: Fold) -> Result<Exported, TchError> {
        let mut exported = Exported::of(architecture, &self.body, fold)?;
        exported.add("b_enc", &self.bias)?;
        if self.ranking == Ranking::DecoderNorm {
            exported.fold_decoder_norms()?;
        }
        Ok(exported)
    }
}

impl Model for TopK {
    fn parameters(&self) -> Vec<(&'static str, &Tensor)> {
        self.ranked.parameters()
    }

    fn forward(&self, input: &Input<'_>) -> Result<Forward, TchError> {
        let ranks = self.ranked.ranks(input.x)?;
        let (values, columns) = ranks.pre.f_topk(self.k as i64, -1, true, false)?;
        let latents = ranks.pre.f_zeros_like()?.f_scatter(-1, &columns, &values.f_relu()?)?;
        self.ranked.forward(input, &ranks, latents)
    }

    fn export(&self, fold: Fold) -> Result<Exported, TchError> {
        let mut exported = self.ranked.export("topk", fold)?;
        exported.set("k", self.k);
        // With decoder norms folded in, both rankings agree. The field records how the SAE was trained, as in SAELens.
        exported.set("rescale_acts_by_decoder_norm", self.ranked.ranking == Ranking::DecoderNorm);
        Ok(exported)
    }

    fn width(&self) -> usize {
        self.ranked.body.width()
    }
}
