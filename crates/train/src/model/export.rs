//! Converts a model to SAELens's tensors and `cfg.json` fields.

use hayloft_runtime::Dtype;
use hayloft_sae::{ArchitectureTensors, InputBias, Normalisation, Ranking, Sae, SaeError, SaeTensors};
use serde_json::{Map, Value};
use tch::{Device, Kind, TchError, Tensor};

use super::Body;

/// Lower bound on decoder norms used as divisors, as in SAELens.
const SMALLEST_NORM: f64 = 1e-8;

/// How to save the scale c that activations were multiplied by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fold {
    /// Keep the weights, which expect c · residual (`expected_average_only_in` if c is the model's scale).
    Keep(Normalisation),
    /// Fold the scale into the weights, so that they expect the residual.
    Scale(f64),
}

/// An SAE in the form in which it is saved.
#[derive(Debug)]
pub(crate) struct Exported {
    /// Contiguous float32 CPU tensors, by SAELens's names.
    pub(crate) tensors: Vec<(&'static str, Tensor)>,
    /// Fields of `cfg.json` except `metadata`.
    pub(crate) config: Map<String, Value>,
    input_bias: InputBias,
    normalisation: Normalisation,
}

impl Exported {
    pub(super) fn of(architecture: &'static str, body: &Body, fold: Fold) -> Result<Self, TchError> {
        let (scale, normalisation) = match fold {
            Fold::Keep(normalisation) => (1.0, normalisation),
            Fold::Scale(scale) => (scale, body.normalisation),
        };
        let sizes = body.encoder.size();
        let input_bias = body.input_bias;
        let mut exported = Self { tensors: Vec::new(), config: Map::new(), input_bias, normalisation };
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

    /// The threshold common to all latents, if there is one.
    pub(crate) fn threshold(&self) -> Result<Option<f64>, TchError> {
        let Some(thresholds) = self.find("threshold") else { return Ok(None) };
        let (least, most) = (thresholds.f_min()?.f_double_value(&[])?, thresholds.f_max()?.f_double_value(&[])?);
        Ok((least.to_bits() == most.to_bits()).then_some(least))
    }

    /// Returns a copy with one threshold for all latents.
    pub(crate) fn with_threshold(&self, threshold: f32) -> Result<Self, TchError> {
        let with = |(name, tensor): &(&'static str, Tensor)| {
            let is_threshold = *name == "threshold";
            let tensor = if is_threshold { tensor.f_full_like(f64::from(threshold))? } else { tensor.shallow_clone() };
            Ok((*name, tensor))
        };
        let tensors = self.tensors.iter().map(with).collect::<Result<_, TchError>>()?;
        let (input_bias, normalisation) = (self.input_bias, self.normalisation);
        Ok(Self { tensors, config: self.config.clone(), input_bias, normalisation })
    }

    /// Loads the SAE onto a device, as if read from its files.
    pub(crate) fn load(&self, device: Device) -> Result<Sae, SaeError> {
        let tensor = |name| self.find(name).map(Tensor::shallow_clone).unwrap_or_default();
        let flag = |field| self.config.get(field) == Some(&Value::Bool(true));
        let own = if self.find("b_gate").is_some() {
            ArchitectureTensors::Gated {
                gate_bias: tensor("b_gate"),
                magnitude_bias: tensor("b_mag"),
                magnitude_log_scale: tensor("r_mag"),
            }
        } else if self.find("threshold").is_some() {
            let (bias, threshold) = (tensor("b_enc"), tensor("threshold"));
            ArchitectureTensors::JumpRelu { bias, threshold, ranking: Ranking::PreActivation }
        } else if let Some(k) = self.config.get("k").and_then(Value::as_u64) {
            let by_norm = flag("rescale_acts_by_decoder_norm");
            let ranking = if by_norm { Ranking::DecoderNorm } else { Ranking::PreActivation };
            ArchitectureTensors::TopK { bias: tensor("b_enc"), k: k as usize, ranking }
        } else {
            ArchitectureTensors::Standard { bias: tensor("b_enc") }
        };
        let parts = SaeTensors {
            encoder: tensor("W_enc"),
            decoder: tensor("W_dec"),
            decoder_bias: tensor("b_dec"),
            skip: None,
            input_bias: self.input_bias,
            normalisation: self.normalisation,
            own,
        };
        Sae::new(parts, device, Dtype::F32)
    }

    fn find(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|(own, _)| *own == name).map(|(_, tensor)| tensor)
    }

    /// Multiplies encoder and bias by the decoder norms, and scales decoder rows to unit norm.
    pub(super) fn fold_decoder_norms(&mut self) -> Result<(), TchError> {
        let Some(decoder) = self.find("W_dec") else { return Ok(()) };
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
