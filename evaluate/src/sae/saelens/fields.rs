//! Fields that both layouts of `cfg.json` have, from text to types.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

use super::config::{Architecture, InputBias, Ranking};
use crate::sae::{Normalisation, SaeError};

/// Wider than any residual stream or SAE; keeps products of the two within 64 bits.
const MAX_SIZE: u64 = 1 << 30;

/// Training and bookkeeping fields that checkpoints of either layout may carry. None changes what an SAE computes.
const INERT: &[&str] = &[
    "aux_loss_coefficient",
    "decoder_init_norm",
    "device",
    "jumprelu_bandwidth",
    "jumprelu_init_threshold",
    "jumprelu_sparsity_loss_mode",
    "jumprelu_ste_to_input",
    "jumprelu_tanh_scale",
    "l0_coefficient",
    "l0_warm_up_steps",
    "l1_coefficient",
    "l1_warm_up_steps",
    "lp_norm",
    "matryoshka_widths",
    "noise_scale",
    "pre_act_loss_coefficient",
    "sae_lens_training_version",
    "sae_lens_version",
    "target_l0",
    "topk_threshold_lr",
    "use_matryoshka_aux_loss",
    "use_sparse_activations",
];

/// The configuration file, for messages that name it.
pub(super) struct Source<'path> {
    pub(super) path: &'path Path,
}

impl Source<'_> {
    pub(super) fn json(&self, bytes: &[u8]) -> Result<Value, SaeError> {
        serde_json::from_slice(bytes).map_err(|error| self.problem(&error))
    }

    pub(super) fn fields<T: DeserializeOwned>(&self, value: Value) -> Result<T, SaeError> {
        serde_json::from_value(value).map_err(|error| self.problem(&error))
    }

    pub(super) fn field(&self, field: &str, expected: impl Display, got: impl Display) -> SaeError {
        let (field, expected) = (field.to_owned(), expected.to_string());
        SaeError::Field { path: self.path.to_path_buf(), field, expected, got: got.to_string() }
    }

    /// Refuses fields that are neither in `also` nor known to change nothing.
    pub(super) fn refuse_unknown(&self, rest: &BTreeMap<String, Value>, also: &[&str]) -> Result<(), SaeError> {
        let unknown = || rest.keys().filter(|name| !INERT.contains(&name.as_str()) && !also.contains(&name.as_str()));
        match unknown().next() {
            None => Ok(()),
            Some(field) => Err(SaeError::UnknownField {
                path: self.path.to_path_buf(),
                field: field.clone(),
                count: unknown().count(),
            }),
        }
    }

    pub(super) fn size(&self, field: &str, size: u64) -> Result<usize, SaeError> {
        match usize::try_from(size) {
            Ok(small) if (1..=MAX_SIZE).contains(&size) => Ok(small),
            _ => Err(self.field(field, format!("a size from 1 to {MAX_SIZE}"), size)),
        }
    }

    /// The type that the SAE was saved in. Weights are widened from the type that they are stored in, so the name is
    /// checked and then of no further use.
    pub(super) fn check_dtype(&self, dtype: Option<&str>) -> Result<(), SaeError> {
        let Some(dtype) = dtype else { return Ok(()) };
        match dtype.strip_prefix("torch.").unwrap_or(dtype) {
            "float32" | "float64" | "float16" | "bfloat16" => Ok(()),
            _ => Err(self.field("dtype", "float32, float64, float16 or bfloat16", dtype)),
        }
    }

    pub(super) fn check_reshape(&self, reshape: &str) -> Result<(), SaeError> {
        match reshape {
            "none" => Ok(()),
            other => Err(self.field(
                "reshape_activations",
                "none",
                format!("{other}: SAEs of reshaped activations are not read"),
            )),
        }
    }

    pub(super) fn check_head(&self, head: Option<&Value>) -> Result<(), SaeError> {
        match head.filter(|head| !head.is_null()) {
            None => Ok(()),
            Some(head) => Err(self.field("hook_head_index", "null: a whole residual stream", head)),
        }
    }

    pub(super) fn normalisation(&self, name: &str) -> Result<Normalisation, SaeError> {
        let known = [
            Normalisation::None,
            Normalisation::ExpectedAverageOnlyIn,
            Normalisation::ConstantNormRescale,
            Normalisation::LayerNorm,
        ];
        known
            .into_iter()
            .find(|known| known.as_str() == name)
            .ok_or_else(|| self.field("normalize_activations", known.map(Normalisation::as_str).join(", "), name))
    }

    /// The architecture, with those fields that belong to some architectures only.
    pub(super) fn architecture(&self, name: &str, options: &Options<'_>) -> Result<Architecture, SaeError> {
        let ranking = if options.rescale_by_decoder_norm { Ranking::DecoderNorm } else { Ranking::PreActivation };
        let architecture = match name {
            "standard" => Architecture::Standard,
            "topk" => Architecture::TopK { k: self.k(options)?, ranking },
            "jumprelu" => Architecture::JumpRelu,
            "gated" => Architecture::Gated,
            "batchtopk" => Architecture::BatchTopK { name: "batchtopk", k: options.average_k(), ranking },
            "matryoshka_batchtopk" => {
                Architecture::BatchTopK { name: "matryoshka_batchtopk", k: options.average_k(), ranking }
            }
            other => {
                let known = "standard, topk, jumprelu, gated, batchtopk or matryoshka_batchtopk";
                return Err(self.field("architecture", known, format!("{other:?}")));
            }
        };
        // A TopK file read as a plain ReLU is the mistake that users meet most: L0 of 600 in place of 80.
        if let (Architecture::Standard | Architecture::Gated, Some(k)) = (architecture, options.k) {
            return Err(self.field("k", format!("none in a {name} SAE"), format!("{k}. Is this a topk SAE?")));
        }
        let ranks = matches!(architecture, Architecture::TopK { .. } | Architecture::BatchTopK { .. });
        if ranking == Ranking::DecoderNorm && !ranks {
            return Err(self.field("rescale_acts_by_decoder_norm", format!("false in a {name} SAE"), true));
        }
        Ok(architecture)
    }

    fn k(&self, options: &Options<'_>) -> Result<usize, SaeError> {
        let expected = format!("a whole number from 1 to d_sae = {}", options.d_sae);
        let Some(k) = options.k else { return Err(self.field("k", expected, "none")) };
        // SAELens writes 32.0 as readily as 32.
        let whole = k.as_u64().or_else(|| k.as_f64().filter(|k| k.fract() == 0.0 && *k >= 0.0).map(|k| k as u64));
        match whole.and_then(|k| usize::try_from(k).ok()) {
            Some(k) if (1..=options.d_sae).contains(&k) => Ok(k),
            _ => Err(self.field("k", expected, k)),
        }
    }

    fn problem(&self, error: &serde_json::Error) -> SaeError {
        SaeError::Config { path: self.path.to_path_buf(), problem: error.to_string() }
    }
}

/// Fields that belong to some architectures only.
pub(super) struct Options<'config> {
    pub(super) d_sae: usize,
    pub(super) k: Option<&'config Number>,
    pub(super) rescale_by_decoder_norm: bool,
}

impl Options<'_> {
    fn average_k(&self) -> Option<f64> {
        self.k.and_then(Number::as_f64).filter(|&k| k > 0.0 && k <= self.d_sae as f64)
    }
}

impl InputBias {
    /// From `apply_b_dec_to_input`, which is true where it is absent.
    pub(super) fn from_field(apply: Option<bool>) -> Self {
        if apply.unwrap_or(true) { Self::DecoderBias } else { Self::None }
    }
}
