//! What was understood of an SAE's files, for a person to read or a script.

use std::fmt;
use std::path::Path;

use hayloft_runtime::FileHash;
use serde::Serialize;
use tch::{TchError, Tensor};

use crate::config::{InputBias, PositionSlice, Ranking, Role, Skip, WithoutTokens};
use crate::error::SaeError;
use crate::file::SaeFile;
use crate::formats::SaeFormat;
use crate::normalisation::Normalisation;
use crate::tensors::{ArchitectureTensors, SaeTensors};

/// What was understood of an SAE's files.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SaeInspection {
    /// The folder or file as it was named.
    pub path: String,
    /// The format.
    pub format: SaeFormat,
    /// The architecture, by SAELens's name where it has one.
    pub architecture: &'static str,
    /// The site that it was trained on.
    pub site: Option<String>,
    /// The site that a transcoder gives back.
    pub output_site: Option<String>,
    /// The model that it was trained on.
    pub model_name: Option<String>,
    /// Width of what it is given.
    pub d_in: usize,
    /// Width of what it gives.
    pub d_out: usize,
    /// Number of latents.
    pub width: usize,
    /// Latents that fire in each row, of a `TopK`.
    pub k: Option<usize>,
    /// What a latent must exceed to fire, of a `JumpReLU` or a batch `TopK`.
    pub threshold: Option<Spread>,
    /// What is done to the input, by SAELens's name.
    pub normalisation: &'static str,
    /// What is subtracted from the input: `decoder_bias` or `nothing`.
    pub subtracted: &'static str,
    /// How the input reaches the output past the latents: `none`, or through a `matrix`.
    pub skip: &'static str,
    /// Whether latents are compared by their size in the output.
    pub ranks_by_decoder_norm: bool,
    /// Norms of the decoder's rows.
    pub decoder_norms: Spread,
    /// Types of the tensors in the file.
    pub types: Vec<String>,
    /// The weights of the model were centred.
    pub center_writing_weights: bool,
    /// Sequences began with BOS, if the files say.
    pub prepend_bos: Option<bool>,
    /// Tokens of the sequences that it was trained on, if the files say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_size: Option<u64>,
    /// The positions of them, if they were not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positions: Option<String>,
    /// The tokens that were left out of training, if some were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained_without: Option<String>,
    /// What of the weights is not what it seems.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    /// The files, with their hashes.
    pub files: Vec<FileHash>,
}

/// The least, the mean and the largest of some numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub least: f64,
    /// The mean.
    pub mean: f64,
    /// The largest.
    pub largest: f64,
}

impl Spread {
    fn of(numbers: &Tensor) -> Result<Self, TchError> {
        let [least, mean, largest] = [numbers.f_min()?, numbers.f_mean(tch::Kind::Double)?, numbers.f_max()?]
            .map(|number| number.f_double_value(&[]));
        Ok(Self { least: least?, mean: mean?, largest: largest? })
    }
}

impl SaeInspection {
    /// Opens an SAE, reads all of it and says what it is. What cannot be evaluated is an error here too.
    pub fn of(path: &Path, format: Option<SaeFormat>) -> Result<Self, SaeError> {
        let file = SaeFile::open_as(path, format)?;
        let SaeTensors { decoder, own, .. } = file.parts()?;
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
            remark: own.remark()?,
            files: file.hashes(),
        })
    }

    /// What there is to say, in the order in which one would ask.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let unsaid = || "not said: name it with --site".to_owned();
        let mut lines = vec![
            ("path", self.path.clone()),
            ("format", self.format.to_string()),
            ("architecture", self.architecture.to_owned()),
            ("site", self.site.clone().unwrap_or_else(unsaid)),
        ];
        let mut say = |what, text: Option<String>| lines.extend(text.map(|text| (what, text)));
        say("gives back", self.output_site.clone());
        say("model", self.model_name.clone());
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
            say("file", Some(format!("{file}, {bytes} bytes, BLAKE3 {blake3}")));
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

impl fmt::Display for SaeInspection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (what, text)) in self.lines().into_iter().enumerate() {
            let line_break = if place == 0 { "" } else { "\n" };
            write!(formatter, "{line_break}{what:<14} {text}")?;
        }
        Ok(())
    }
}
