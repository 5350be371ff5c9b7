//! Conversion and validation of the fields common to both layouts of `cfg.json`.

use std::collections::BTreeMap;

use serde_json::{Number, Value};

use crate::config::{Architecture, Conventions, InputBias, Ranking, Role, SaeConfig, Skip};
use crate::error::SaeError;
use crate::formats::source::Source;
use crate::normalisation::Normalisation;

/// Training and bookkeeping fields that may occur in either layout. None affects what an SAE computes.
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
    "sparse_intermediate",
    "target_l0",
    "topk_threshold_lr",
    "use_matryoshka_aux_loss",
    "use_sparse_activations",
];

/// The fields common to both layouts.
pub(super) struct CommonFields<'config> {
    pub(super) architecture: &'config str,
    pub(super) options: Options<'config>,
    pub(super) normalisation: Normalisation,
    pub(super) d_in: u64,
    pub(super) d_out: Option<u64>,
    pub(super) apply_b_dec_to_input: Option<bool>,
    pub(super) site: Option<String>,
    pub(super) output_site: Option<String>,
    pub(super) model_name: Option<String>,
    pub(super) conventions: Conventions,
    pub(super) remarks: Vec<String>,
}

impl Source<'_> {
    /// Builds the configuration, checking that the fields are consistent.
    pub(super) fn sae(&self, fields: CommonFields<'_>) -> Result<SaeConfig, SaeError> {
        let normalisation = fields.normalisation;
        let (architecture, role) = self.architecture(fields.architecture, &fields.options)?;
        self.check_transcoder(role, normalisation)?;
        let d_in = self.size("d_in", fields.d_in)?;
        Ok(SaeConfig {
            architecture,
            role,
            d_in,
            d_out: self.d_out(role, d_in, fields.d_out)?,
            d_sae: fields.options.d_sae,
            input_bias: self.input_bias(fields.apply_b_dec_to_input, role)?,
            normalisation,
            site: fields.site,
            output_site: fields.output_site.filter(|_| role != Role::Autoencoder),
            model_name: fields.model_name,
            conventions: fields.conventions,
            remarks: fields.remarks,
        })
    }

    /// Rejects fields that are neither in `also` nor known to have no effect.
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

    /// Checks the dtype in which the SAE was saved. Weights are converted from their stored dtype, so the name has no further
    /// use.
    pub(super) fn check_dtype(&self, dtype: Option<&str>) -> Result<(), SaeError> {
        let Some(dtype) = dtype else { return Ok(()) };
        match dtype.strip_prefix("torch.").unwrap_or(dtype) {
            "float32" | "float64" | "float16" | "bfloat16" => Ok(()),
            _ => Err(self.field("dtype", "float32, float64, float16 or bfloat16", dtype)),
        }
    }

    pub(super) fn check_reshape(&self, reshape: &str) -> Result<(), SaeError> {
        match reshape {
            // Concatenated heads, the layout that caches store.
            "none" | "hook_z" => Ok(()),
            other => Err(self.field("reshape_activations", "none or hook_z", other)),
        }
    }

    pub(super) fn check_head(&self, head: Option<&Value>) -> Result<(), SaeError> {
        match head.filter(|head| !head.is_null()) {
            None => Ok(()),
            Some(head) => Err(self.field("hook_head_index", "null: all heads, or a whole residual stream", head)),
        }
    }

    pub(super) fn normalisation(&self, name: &str) -> Result<Normalisation, SaeError> {
        Normalisation::ALL.into_iter().find(|known| known.as_str() == name).ok_or_else(|| {
            self.field("normalize_activations", Normalisation::ALL.map(Normalisation::as_str).join(", "), name)
        })
    }

    /// Parses the architecture and role, using the architecture-specific options.
    fn architecture(&self, name: &str, options: &Options<'_>) -> Result<(Architecture, Role), SaeError> {
        let transcoders = [
            ("transcoder", Skip::None, "standard"),
            ("skip_transcoder", Skip::Matrix, "standard"),
            ("jumprelu_transcoder", Skip::None, "jumprelu"),
            ("jumprelu_skip_transcoder", Skip::Matrix, "jumprelu"),
        ];
        match transcoders.into_iter().find(|(transcoder, ..)| *transcoder == name) {
            Some((_, skip, of)) => Ok((self.autoencoder(of, options)?, Role::Transcoder(skip))),
            None => Ok((self.autoencoder(name, options)?, Role::Autoencoder)),
        }
    }

    /// Width of the output.
    fn d_out(&self, role: Role, d_in: usize, d_out: Option<u64>) -> Result<usize, SaeError> {
        match (role, d_out) {
            (Role::Autoencoder, None) => Ok(d_in),
            (Role::Autoencoder, Some(d_out)) if d_out == d_in as u64 => Ok(d_in),
            (Role::Autoencoder, Some(d_out)) => {
                Err(self.field("d_out", format!("d_in, {d_in}, of an autoencoder"), d_out))
            }
            (Role::Transcoder(_), Some(d_out)) => self.size("d_out", d_out),
            (Role::Transcoder(_), None) => Err(self.field("d_out", "the width of what the transcoder gives", "none")),
        }
    }

    /// Whether the decoder bias is subtracted from the input: `apply_b_dec_to_input`, true by default.
    fn input_bias(&self, apply: Option<bool>, role: Role) -> Result<InputBias, SaeError> {
        match (role, apply) {
            (Role::Autoencoder, apply) => {
                Ok(if apply.unwrap_or(true) { InputBias::DecoderBias } else { InputBias::None })
            }
            (Role::Transcoder(_), None | Some(false)) => Ok(InputBias::None),
            (Role::Transcoder(_), Some(true)) => {
                Err(self.field("apply_b_dec_to_input", "false in a transcoder, whose bias is of another site", true))
            }
        }
    }

    /// Rejects normalisations that are undone on the output, because a transcoder's output is another site.
    fn check_transcoder(&self, role: Role, normalisation: Normalisation) -> Result<(), SaeError> {
        let plain = matches!(normalisation, Normalisation::None | Normalisation::ExpectedAverageOnlyIn);
        if role == Role::Autoencoder || plain {
            return Ok(());
        }
        Err(self.field(
            "normalize_activations",
            "none or expected_average_only_in in a transcoder",
            normalisation.as_str(),
        ))
    }

    fn autoencoder(&self, name: &str, options: &Options<'_>) -> Result<Architecture, SaeError> {
        let ranking = if options.rescale_by_decoder_norm { Ranking::DecoderNorm } else { Ranking::PreActivation };
        let architecture = match name {
            "standard" => Architecture::Standard,
            "topk" => Architecture::TopK { k: self.whole_k(options.k, options.d_sae)?, ranking },
            "jumprelu" => Architecture::JumpRelu,
            "gated" => Architecture::Gated,
            "batchtopk" => Architecture::BatchTopK { name: "batchtopk", k: options.average_k(), ranking },
            "matryoshka_batchtopk" => {
                Architecture::BatchTopK { name: "matryoshka_batchtopk", k: options.average_k(), ranking }
            }
            other => {
                let known = "standard, topk, jumprelu, gated, batchtopk, matryoshka_batchtopk, transcoder, \
                             skip_transcoder, jumprelu_transcoder or jumprelu_skip_transcoder";
                return Err(self.field("architecture", known, format!("\"{other}\"")));
            }
        };
        // Reading a TopK file as a plain ReLU is the most common user error: L0 of 600 instead of 80.
        if let (Architecture::Standard | Architecture::Gated, Some(k)) = (architecture, options.k) {
            return Err(self.field("k", format!("none in a {name} SAE"), format!("{k}. Is this a topk SAE?")));
        }
        let ranks = matches!(architecture, Architecture::TopK { .. } | Architecture::BatchTopK { .. });
        if ranking == Ranking::DecoderNorm && !ranks {
            return Err(self.field("rescale_acts_by_decoder_norm", format!("false in a {name} SAE"), true));
        }
        Ok(architecture)
    }
}

/// Architecture-specific fields.
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
