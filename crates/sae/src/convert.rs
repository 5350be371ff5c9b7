//! Converts any format to SAELens's layout, or to the normalised form. Reconstructions are unchanged.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tch::{Device, TchError, Tensor};

use crate::config::{InputBias, PositionSlice, Ranking, Role, WithoutTokens};
use crate::error::SaeError;
use crate::file::SaeFile;
use crate::formats::SaeOptions;
use crate::forward::activation::Activation;
use crate::forward::load::fold_decoder_norms;
use crate::tensors::{ArchitectureTensors, SaeTensors};

/// The SAELens version whose layout is written. Readers detect the layout from the major version.
pub const LAYOUT_VERSION: &str = "6.54.12";

/// Converts an SAE to SAELens's layout: `cfg.json` and `sae_weights.safetensors` in float32, in a new folder. The folder
/// appears complete or not at all.
///
/// # Errors
/// [`SaeError::NotInSaelens`] for a transcoder with an activation function that SAELens's transcoders do not have;
/// [`SaeError::Write`] if `out` exists or cannot be written.
pub fn convert(path: &Path, options: &SaeOptions, out: &Path) -> Result<(), SaeError> {
    let place = NewFolder::check(out)?;
    let file = SaeFile::open_with(path, options)?;
    let Saelens { architecture, tensors, options } = Saelens::of(&file)?;
    let config = file.config();
    let mut fields = json!({
        "architecture": architecture,
        "d_in": config.d_in,
        "d_sae": config.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": config.input_bias == InputBias::DecoderBias,
        "normalize_activations": config.normalisation.as_str(),
        "reshape_activations": "none",
        "metadata": metadata(&file),
    });
    if let Value::Object(fields) = &mut fields {
        fields.extend(options);
    }
    place.write(("sae_weights.safetensors", &tensors), ("cfg.json", &fields))
}

/// Writes an SAE in the normalised form: the tensors of [`crate::Sae`], into which the particulars of each format are folded, as
/// `sae.safetensors` in float32, and `sae.json`, in a new folder. The folder appears complete or not at all.
///
/// | tensor | shape | |
/// |---|---|---|
/// | `encoder`, `encoder_bias` | `[width, d_in]`, `[width]` | |
/// | `decoder`, `decoder_bias` | `[width, d_out]`, `[d_out]` | |
/// | `input_bias` | `[d_in]` | subtracted from the normalised input, if there is one |
/// | `skip` | `[d_out, d_in]` | of a transcoder, if there is one |
/// | `threshold` | `[width]` | with `"activation": "jumprelu"` |
/// | `gate_scale`, `gate_bias` | `[width]` | with `"activation": "gated"`: latents are `max(pre · scale + bias, 0)` where `pre > 0` |
///
/// # Errors
/// [`SaeError::Write`] if `out` exists or cannot be written.
pub fn convert_to_normalised(path: &Path, options: &SaeOptions, out: &Path) -> Result<(), SaeError> {
    let place = NewFolder::check(out)?;
    let file = SaeFile::open_with(path, options)?;
    let sae = file.load(Device::Cpu)?;
    let mut tensors = vec![
        ("encoder", sae.encoder.shallow_clone()),
        ("encoder_bias", sae.encoder_bias.shallow_clone()),
        ("decoder", sae.decoder.shallow_clone()),
        ("decoder_bias", sae.decoder_bias.shallow_clone()),
    ];
    tensors.extend(sae.input_bias.as_ref().map(|bias| ("input_bias", bias.shallow_clone())));
    tensors.extend(sae.skip.as_ref().map(|skip| ("skip", skip.shallow_clone())));
    let (activation, k) = match &sae.activation {
        Activation::Relu => ("relu", None),
        Activation::TopK { k } => ("topk", Some(k)),
        Activation::JumpRelu { threshold } => {
            tensors.push(("threshold", threshold.shallow_clone()));
            ("jumprelu", None)
        }
        Activation::Gated { scale, bias } => {
            tensors.extend([("gate_scale", scale.shallow_clone()), ("gate_bias", bias.shallow_clone())]);
            ("gated", None)
        }
    };
    let fields = json!({
        "activation": activation,
        "k": k,
        "normalisation": sae.normalisation.as_str(),
        "architecture": file.config().kind(),
        "metadata": metadata(&file),
    });
    place.write(("sae.safetensors", &tensors), ("sae.json", &fields))
}

/// A folder to be written whole.
struct NewFolder<'a> {
    out: &'a Path,
}

impl<'a> NewFolder<'a> {
    fn failed(&self, cause: io::Error) -> SaeError {
        SaeError::Write { path: self.out.to_path_buf(), cause }
    }

    /// Refuses a folder that exists.
    fn check(out: &'a Path) -> Result<Self, SaeError> {
        let new = Self { out };
        if out.exists() {
            let cause = io::Error::new(io::ErrorKind::AlreadyExists, "it exists already; choose another folder");
            return Err(new.failed(cause));
        }
        Ok(new)
    }

    /// Writes the tensors and the configuration.
    fn write(&self, tensors: (&str, &[(&str, Tensor)]), fields: (&str, &Value)) -> Result<(), SaeError> {
        let (out, failed) = (self.out, |cause| self.failed(cause));
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
        fs::create_dir_all(&parent).map_err(failed)?;
        let staged = tempfile::Builder::new().prefix(".hayloft-").tempdir_in(&parent).map_err(failed)?;
        Tensor::write_safetensors(tensors.1, staged.path().join(tensors.0))?;
        let text = serde_json::to_vec_pretty(fields.1).map_err(|error| failed(error.into()))?;
        fs::write(staged.path().join(fields.0), [text, b"\n".to_vec()].concat()).map_err(failed)?;
        for name in [tensors.0, fields.0] {
            fs::File::open(staged.path().join(name)).and_then(|file| file.sync_all()).map_err(failed)?;
        }
        set_usual_permissions(staged.path()).map_err(failed)?;
        fs::rename(staged.path(), out).map_err(failed)?;
        let _ = staged.keep(); // the folder was renamed
        Ok(())
    }
}

/// Temporary folders are created private to their owner. Sets the permissions of an ordinary folder.
fn set_usual_permissions(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// An SAE in SAELens's representation.
struct Saelens {
    architecture: &'static str,
    tensors: Vec<(&'static str, Tensor)>,
    /// Architecture-specific fields.
    options: Map<String, Value>,
}

impl Saelens {
    fn of(file: &SaeFile) -> Result<Self, SaeError> {
        let SaeTensors { encoder, decoder, decoder_bias, skip, own, .. } = file.tensors()?;
        let config = file.config();
        let mut options = Map::new();
        let (mut encoder, mut decoder) = (encoder, decoder);
        let (architecture, own) = match own {
            ArchitectureTensors::Standard { bias } => ("standard", vec![("b_enc", bias)]),
            ArchitectureTensors::TopK { bias, k, ranking } => {
                options.insert("k".to_owned(), k.into());
                options.insert("rescale_acts_by_decoder_norm".to_owned(), (ranking == Ranking::DecoderNorm).into());
                ("topk", vec![("b_enc", bias)])
            }
            ArchitectureTensors::JumpRelu { mut bias, threshold, ranking } => {
                fold(ranking, &mut encoder, &mut bias, &mut decoder)?;
                ("jumprelu", vec![("b_enc", bias), ("threshold", threshold)])
            }
            // SAELens exports it as a JumpReLU with one threshold.
            ArchitectureTensors::BatchTopK { mut bias, threshold, ranking, .. } => {
                fold(ranking, &mut encoder, &mut bias, &mut decoder)?;
                ("jumprelu", vec![("b_enc", bias), ("threshold", threshold.f_repeat([config.d_sae as i64])?)])
            }
            ArchitectureTensors::Gated { gate_bias, magnitude_bias, magnitude_log_scale } => {
                ("gated", vec![("b_gate", gate_bias), ("b_mag", magnitude_bias), ("r_mag", magnitude_log_scale)])
            }
        };
        let architecture = match config.role {
            Role::Autoencoder => architecture,
            Role::Transcoder(_)
                if matches!(architecture, "standard" | "jumprelu") && config.input_bias == InputBias::None =>
            {
                options.insert("d_out".to_owned(), config.d_out.into());
                config.kind()
            }
            Role::Transcoder(_) => {
                let what = match architecture {
                    "topk" => "TopK transcoder",
                    "gated" => "gated transcoder",
                    _ => "transcoder that subtracts its decoder bias",
                };
                return Err(SaeError::NotInSaelens { path: file.folder().to_path_buf(), what: what.to_owned() });
            }
        };
        let mut tensors = vec![("W_enc", encoder), ("W_dec", decoder), ("b_dec", decoder_bias)];
        tensors.extend(own);
        tensors.extend(skip.map(|skip| ("W_skip", skip)));
        for (_, tensor) in &mut tensors {
            *tensor = tensor.f_contiguous()?;
        }
        Ok(Self { architecture, tensors, options })
    }
}

fn fold(ranking: Ranking, encoder: &mut Tensor, bias: &mut Tensor, decoder: &mut Tensor) -> Result<(), TchError> {
    if ranking == Ranking::DecoderNorm {
        (*encoder, *bias, *decoder) = fold_decoder_norms(encoder, bias, decoder)?;
    }
    Ok(())
}

/// Returns the `metadata` object. SAELens reads `hook_name`, `model_name` and the model's loading options, and preserves
/// other fields.
fn metadata(file: &SaeFile) -> Map<String, Value> {
    let mut metadata = Map::new();
    let mut say = |name: &str, value: Value| metadata.insert(name.to_owned(), value);
    say("sae_lens_version", LAYOUT_VERSION.into());
    for (name, value) in
        [("hook_name", file.site()), ("hook_name_out", file.output_site()), ("model_name", file.model_name())]
    {
        if let Some(value) = value {
            say(name, value.into());
        }
    }
    let conventions = file.conventions();
    if let Some(first) = conventions.prepend_bos {
        say("prepend_bos", first.into());
    }
    if let Some(tokens) = conventions.context_size {
        say("context_size", tokens.into());
    }
    let positions = conventions.positions;
    if positions != PositionSlice::default() {
        say("seqpos_slice", json!([positions.start, positions.stop, positions.step]));
    }
    match &conventions.without {
        WithoutTokens::None => None,
        WithoutTokens::Bos => say("trained_without", "bos".into()),
        WithoutTokens::Special => say("exclude_special_tokens", true.into()),
        WithoutTokens::Ids(ids) => say("exclude_special_tokens", json!(ids)),
    };
    if conventions.center_writing_weights {
        say("model_from_pretrained_kwargs", json!({"center_writing_weights": true}));
    }
    if let Some(training) = file.training_record() {
        say("hayloft", training.clone());
    }
    let files = serde_json::to_value(file.hashes()).unwrap_or_default();
    say("converted_from", json!({"format": file.format().as_str(), "files": files}));
    metadata
}
