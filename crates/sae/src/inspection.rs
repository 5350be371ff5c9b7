//! The description printed by `evaluate inspect`, as text or JSON.

use std::fmt;
use std::path::Path;

use hayloft_runtime::{FileHash, TextTable};
use serde::Serialize;
use tch::{TchError, Tensor};

use crate::config::{InputBias, PositionSlice, Ranking, Role, Skip, WithoutTokens};
use crate::error::SaeError;
use crate::file::SaeFile;
use crate::formats::{SaeFormat, SaeOptions};
use crate::normalisation::Normalisation;
use crate::tensors::{ArchitectureTensors, SaeTensors};

/// Hexadecimal digits of a hash in the text.
const SHORT_HASH: usize = 12;

/// A description of an SAE.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SaeInspection {
    /// The folder or file as given by the caller.
    pub path: String,
    /// The format.
    pub format: SaeFormat,
    /// The architecture, by SAELens's name where one exists.
    pub architecture: &'static str,
    /// The training site.
    pub site: Option<String>,
    /// The output site of a transcoder.
    pub output_site: Option<String>,
    /// The model it was trained on.
    pub model_name: Option<String>,
    /// SHA-256 of the identity of that model, if Hayloft trained the SAE and its cache knew the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_sha256: Option<String>,
    /// Width of the input.
    pub d_in: usize,
    /// Width of the output.
    pub d_out: usize,
    /// Number of latents.
    pub width: usize,
    /// Active latents per row of a `TopK`.
    pub k: Option<usize>,
    /// The thresholds of a `JumpReLU` or batch `TopK`.
    pub threshold: Option<Spread>,
    /// The input normalisation, by SAELens's name.
    pub normalisation: &'static str,
    /// What is subtracted from the input: `decoder_bias` or `nothing`.
    pub subtracted: &'static str,
    /// The skip connection: `none` or `matrix`.
    pub skip: &'static str,
    /// Whether latents are ranked by pre-activation times decoder norm.
    pub ranks_by_decoder_norm: bool,
    /// Norms of the decoder rows.
    pub decoder_norms: Spread,
    /// Dtypes of the stored tensors.
    pub types: Vec<String>,
    /// Whether the model's writing weights were centred.
    pub center_writing_weights: bool,
    /// Whether sequences began with BOS, if known.
    pub prepend_bos: Option<bool>,
    /// Context length in tokens, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_size: Option<u64>,
    /// The sequence positions used for training, if not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positions: Option<String>,
    /// The tokens excluded from training, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained_without: Option<String>,
    /// Remarks on unusual files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    /// The SAE's files with their hashes.
    pub files: Vec<FileHash>,
}

/// Minimum, mean and maximum.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The minimum.
    pub least: f64,
    /// The mean.
    pub mean: f64,
    /// The maximum.
    pub largest: f64,
}

impl Spread {
    fn of(values: &Tensor) -> Result<Self, TchError> {
        let [least, mean, largest] = [values.f_min()?, values.f_mean(tch::Kind::Double)?, values.f_max()?]
            .map(|value| value.f_double_value(&[]));
        Ok(Self { least: least?, mean: mean?, largest: largest? })
    }
}

impl SaeInspection {
    /// Opens an SAE, reads all of it and describes it. An SAE that cannot be evaluated is an error.
    pub fn of(path: &Path, options: &SaeOptions) -> Result<Self, SaeError> {
        let file = SaeFile::open_with(path, options)?;
        let tensors = file.tensors()?;
        let remarks = file.remarks(&tensors)?;
        let SaeTensors { decoder, own, .. } = tensors;
        let (config, conventions) = (file.config(), file.conventions());
        let (k, threshold, ranking) = match &own {
            ArchitectureTensors::Standard { .. } | ArchitectureTensors::Gated { .. } => {
                (None, None, Ranking::PreActivation)
            }
            ArchitectureTensors::TopK { k, ranking, .. } => (Some(*k), None, *ranking),
            ArchitectureTensors::JumpRelu { threshold, ranking, .. }
            | ArchitectureTensors::BatchTopK { threshold, ranking, .. } => {
                (None, Some(Spread::of(threshold)?), *ranking)
            }
        };
        Ok(Self {
            path: path.display().to_string(),
            format: file.format(),
            architecture: file.architecture(),
            site: file.site().map(str::to_owned),
            output_site: file.output_site().map(str::to_owned),
            model_name: file.model_name().map(str::to_owned),
            model_sha256: file
                .training_record()
                .and_then(|record| Some(record.get("model_sha256")?.as_str()?.to_owned())),
            d_in: config.d_in,
            d_out: config.d_out,
            width: config.d_sae,
            k,
            threshold,
            normalisation: config.normalisation.as_str(),
            subtracted: if config.input_bias == InputBias::DecoderBias { "decoder_bias" } else { "nothing" },
            skip: if config.role == Role::Transcoder(Skip::Matrix) { "matrix" } else { "none" },
            ranks_by_decoder_norm: ranking == Ranking::DecoderNorm,
            decoder_norms: Spread::of(&decoder.f_linalg_norm(2.0, [-1i64].as_slice(), false, tch::Kind::Float)?)?,
            types: file.types(),
            center_writing_weights: conventions.center_writing_weights,
            prepend_bos: conventions.prepend_bos,
            context_size: conventions.context_size,
            positions: (conventions.positions != PositionSlice::default()).then(|| conventions.positions.to_string()),
            trained_without: (conventions.without != WithoutTokens::None).then(|| conventions.without.to_string()),
            remark: (!remarks.is_empty()).then(|| remarks.join(". ")),
            files: file.hashes(),
        })
    }

    /// The labelled lines of the text output.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let unsaid = || "not named in the files: give --site".to_owned();
        let mut lines = vec![
            ("path", self.path.clone()),
            ("format", self.format.to_string()),
            ("architecture", self.architecture.to_owned()),
            ("site", self.site.clone().unwrap_or_else(unsaid)),
        ];
        let mut say = |what, text: Option<String>| lines.extend(text.map(|text| (what, text)));
        say("reconstructs", self.output_site.clone());
        say("model", self.model_name.clone());
        say("identity", self.model_sha256.as_ref().map(|digest| digest.chars().take(SHORT_HASH).collect()));
        let widths =
            if self.d_in == self.d_out { self.d_in.to_string() } else { format!("{} to {}", self.d_in, self.d_out) };
        say("activations", Some(format!("{widths} wide")));
        say("latents", Some(self.width.to_string()));
        say("k", self.k.map(|k| k.to_string()));
        say("threshold", self.threshold.map(|spread| spread.to_string()));
        let scale = if self.normalisation == Normalisation::ExpectedAverageOnlyIn.as_str() {
            " (its number comes from the evaluated cache)"
        } else {
            ""
        };
        say("input", Some(format!("normalisation {}{scale}", self.normalisation)));
        say("subtracted", Some(self.subtracted.replace('_', " ")));
        say("skip", (self.skip == "matrix").then(|| "the input reaches the output through a matrix".to_owned()));
        say(
            "compared by",
            self.ranks_by_decoder_norm.then(|| "pre-activation times the decoder row's norm".to_owned()),
        );
        say("decoder norms", Some(self.decoder_norms.to_string()));
        say("types", Some(self.types.join(", ")));
        say("weights", self.center_writing_weights.then(|| "centred writing weights (--weights centred)".to_owned()));
        say("BOS", self.prepend_bos.map(|first| if first { "at the beginning" } else { "none" }.to_owned()));
        say("contexts", self.context_size.map(|tokens| format!("{tokens} tokens")));
        say("positions", self.positions.clone());
        say("trained without", self.trained_without.clone());
        say("remark", self.remark.clone());
        for FileHash { file, bytes, blake3 } in &self.files {
            let short: String = blake3.chars().take(SHORT_HASH).collect();
            say("file", Some(format!("{file}, {bytes} bytes, BLAKE3 {short}…")));
        }
        lines
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { least, mean, largest } = self;
        if least.to_bits() == largest.to_bits() {
            write!(formatter, "{least:.6} for all")
        } else {
            write!(formatter, "{least:.6} to {largest:.6}, mean {mean:.6}")
        }
    }
}

impl SaeInspection {
    /// Renders the description, at most `width` columns wide. Hashes are shortened.
    pub fn text(&self, width: usize) -> String {
        let rows = self.lines().into_iter().map(|(what, text)| vec![what.to_owned(), text]).collect();
        TextTable { headings: Vec::new(), names: 2, rows, is_ruled: false }.fit(width)
    }
}
