//! From the form that is trained to the form that is saved: SAELens's tensors and the fields of its `cfg.json`.

use serde_json::{Map, Value};
use tch::{Device, Kind, TchError, Tensor};

use super::Body;
use crate::sae::{InputBias, Normalisation};

/// SAELens divides by no decoder norm smaller than this.
const SMALLEST_NORM: f64 = 1e-8;

/// What becomes of the scale c that activations were multiplied by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::train) enum Fold {
    /// Weights take c times the residual as they were trained on it; `expected_average_only_in` if it is the model's.
    Keep(Normalisation),
    /// Weights are changed so that they take the residual itself.
    Scale(f64),
}

/// An SAE, ready to be saved.
#[derive(Debug)]
pub(in crate::train) struct Exported {
    /// By SAELens's names, contiguous float32 on the CPU.
    pub(in crate::train) tensors: Vec<(&'static str, Tensor)>,
    /// Fields of `cfg.json`, `metadata` apart.
    pub(in crate::train) config: Map<String, Value>,
}

impl Exported {
    pub(super) fn of(architecture: &'static str, body: &Body, fold: Fold) -> Result<Self, TchError> {
        let (scale, normalisation) = match fold {
            Fold::Keep(normalisation) => (1.0, normalisation),
            Fold::Scale(scale) => (scale, body.normalisation),
        };
        let sizes = body.encoder.size();
        let mut exported = Self { tensors: Vec::new(), config: Map::new() };
        exported.set("architecture", architecture);
        exported.set("d_in", sizes[0]);
        exported.set("d_sae", sizes[1]);
        exported.set("dtype", "float32");
        exported.set("device", "cpu");
        exported.set("apply_b_dec_to_input", body.input_bias == InputBias::DecoderBias);
        exported.set("normalize_activations", normalisation.as_str());
        exported.set("reshape_activations", "none");
        exported.add("W_enc", &body.encoder.f_mul_scalar(scale)?)?;
        exported.add("W_dec", &body.decoder.f_div_scalar(scale)?)?;
        exported.add("b_dec", &body.decoder_bias.f_div_scalar(scale)?)?;
        Ok(exported)
    }

    pub(super) fn add(&mut self, name: &'static str, tensor: &Tensor) -> Result<(), TchError> {
        let plain = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
        self.tensors.push((name, plain));
        Ok(())
    }

    pub(super) fn set(&mut self, field: &str, value: impl Into<Value>) {
        self.config.insert(field.to_owned(), value.into());
    }

    /// Multiplies encoder and bias by the norms of the decoder's rows, and makes those unit vectors.
    pub(super) fn fold_decoder_norms(&mut self) -> Result<(), TchError> {
        let named = |name| self.tensors.iter().find(|(own, _)| *own == name).map(|(_, tensor)| tensor);
        let Some(decoder) = named("W_dec") else { return Ok(()) };
        let norms = decoder.f_linalg_norm(2.0, [-1i64].as_slice(), false, Kind::Float)?.f_clamp_min(SMALLEST_NORM)?;
        for (name, tensor) in &mut self.tensors {
            match *name {
                "W_enc" | "b_enc" => *tensor = tensor.f_mul(&norms)?,
                "W_dec" => *tensor = tensor.f_div(&norms.f_unsqueeze(-1)?)?,
                _ => {}
            }
        }
        Ok(())
    }
}
