//! `evaluate train`.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use hayloft_model::Site;
use hayloft_store::LocalPath;
use hayloft_train::{Architecture, Centring, Course, Penalty, Space, TrainSettings};

use super::course::CourseArguments;

const EXAMPLES: &str = "\
Examples:
  # ReLU with L1, on scaled activations, outliers left out; the SAE takes raw
  # residuals
  evaluate train --cache cache --site blocks.16.hook_resid_pre \\
      --architecture standard --width 32768 --l1 5 --tokens 100000000 \\
      --scale auto --outlier-norm 200 --warm-up 1000 --sparsity-warm-up 5000 \\
      --out saes/mine

  # Without BOS, where it is an attention sink (training says so), and without
  # what is ten times as long as most rows
  evaluate train --cache cache --site blocks.16.hook_resid_pre \\
      --architecture topk --k 64 --width 32768 --tokens 100000000 --scale auto \\
      --exclude bos --outlier-norm 10xmedian --out saes/no-sinks

  # TopK; killed, and gone on with
  evaluate train --cache cache --site blocks.16.hook_resid_pre \\
      --architecture topk --k 64 --width 32768 --tokens 100000000 \\
      --out saes/topk
  evaluate train ... --out saes/topk --resume

  # BatchTopK, looked at on tokens that it is not trained on, with a threshold
  # that gives them 64 latents each
  evaluate train --cache cache --site blocks.16.hook_resid_pre \\
      --architecture batchtopk --k 64 --width 32768 --tokens 100000000 \\
      --held-out 100000 --threshold held-out --out saes/batchtopk

Losses, coefficients, initial weights and defaults are those of SAELens 6.54.12:
gradients are clipped to norm 1, Adam has betas 0.9 and 0.999. Every loss adds
the mean over tokens of the summed squared error to
  standard   --l1 times the sum of latents times the norms of their decoder rows
  topk       the error's own reconstruction by dead latents, times --auxiliary
  batchtopk  the same; the --k largest latents a token on average. Saved as
             jumprelu, as by SAELens
  jumprelu   --l0 times the number of latents that fire, or with --penalty tanh
             a smooth count of them
  gated      --l1 on the gate, and the error of the gate's own reconstruction

Figures of a step are those of its batch, by the function that is trained. What
evaluation will find is measured on held-out tokens (--held-out) and, at the
end, on the last batch, with the SAE as it is saved. RESULTS.md names every
figure.";

/// Train an SAE on cached activations, and save it as SAELens does.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainArguments {
    #[command(flatten)]
    pub course: CourseArguments,
    /// The site, such as blocks.16.hook_resid_pre
    #[arg(long, value_name = "SITE")]
    site: Site,
    /// What to train
    #[arg(long, value_enum)]
    architecture: Kind,
    /// Latents
    #[arg(long, value_name = "N")]
    width: usize,
    /// Adam's learning rate
    #[arg(long, value_name = "RATE", default_value_t = Course::LEARNING_RATE)]
    learning_rate: f64,
    /// What L1 is multiplied by (standard, gated)
    #[arg(long, value_name = "WEIGHT")]
    l1: Option<f64>,
    /// What the penalty is multiplied by (jumprelu)
    #[arg(long, value_name = "WEIGHT")]
    l0: Option<f64>,
    /// Latents of a token (topk: a whole number; batchtopk: on average)
    #[arg(long, value_name = "N")]
    k: Option<f64>,
    /// What the loss of dead latents is multiplied by (topk, batchtopk) [default: 1]
    #[arg(long, value_name = "WEIGHT")]
    auxiliary: Option<f64>,
    /// What is penalised (jumprelu) [default: l0]
    #[arg(long, value_enum)]
    penalty: Option<PenaltyKind>,
    /// Width of the rectangle that stands for the step's derivative (jumprelu) [default: 0.05]
    #[arg(long, value_name = "WIDTH")]
    bandwidth: Option<f64>,
    /// Thresholds to begin with (jumprelu) [default: 0.01]
    #[arg(long, value_name = "THRESHOLD")]
    initial_threshold: Option<f64>,
    /// The folder of the model's tokenizer, or the model's id on the Hugging Face Hub; it says which tokens --exclude special leaves
    /// out
    #[arg(long, value_name = "DIR|ID")]
    tokenizer: Option<LocalPath>,
    /// Keep the SAE in scaled space (expected_average_only_in); without this the scale is folded into its weights
    #[arg(long)]
    keep_scale: bool,
    /// Do not take the decoder's bias from the input (apply_b_dec_to_input is false)
    #[arg(long)]
    no_input_bias: bool,
    /// What cfg.json calls the model [default: its type]
    #[arg(long, value_name = "NAME")]
    model_name: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "lower")]
enum Kind {
    Standard,
    TopK,
    BatchTopK,
    JumpRelu,
    Gated,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PenaltyKind {
    L0,
    Tanh,
}

impl TrainArguments {
    /// What is asked for, on a device that is there.
    pub fn settings(self) -> Result<TrainSettings> {
        let architecture = self.architecture()?;
        let course = self.course.course(self.learning_rate)?;
        let course = Course { tokenizer: self.tokenizer.map(Into::into), ..course };
        Ok(TrainSettings {
            centring: if self.no_input_bias { Centring::None } else { Centring::DecoderBias },
            space: if self.keep_scale { Space::Scaled } else { Space::Raw },
            model_name: self.model_name,
            ..TrainSettings::new(course, self.site, architecture, self.width)
        })
    }

    fn architecture(&self) -> Result<Architecture> {
        let needs = |value: Option<f64>, flag: &str| match value {
            Some(value) => Ok(value),
            None => bail!("--architecture {}: expected {flag}, got none", self.name()),
        };
        self.refuse_strangers()?;
        let auxiliary = self.auxiliary.unwrap_or(Architecture::AUXILIARY);
        Ok(match self.architecture {
            Kind::Standard => Architecture::Standard { l1: needs(self.l1, "--l1")? },
            Kind::Gated => Architecture::Gated { l1: needs(self.l1, "--l1")? },
            Kind::TopK => {
                let k = needs(self.k, "--k")?;
                if k.fract() != 0.0 || k < 1.0 {
                    bail!("--k: expected a whole number of at least 1 for topk, got {k}");
                }
                Architecture::TopK { k: k as usize, auxiliary }
            }
            Kind::BatchTopK => Architecture::BatchTopK { k: needs(self.k, "--k")?, auxiliary },
            Kind::JumpRelu => Architecture::JumpRelu {
                l0: needs(self.l0, "--l0")?,
                penalty: match self.penalty {
                    Some(PenaltyKind::Tanh) => Penalty::Tanh { scale: Architecture::TANH_SCALE },
                    Some(PenaltyKind::L0) | None => Penalty::L0,
                },
                bandwidth: self.bandwidth.unwrap_or(Architecture::BANDWIDTH),
                initial_threshold: self.initial_threshold.unwrap_or(Architecture::INITIAL_THRESHOLD),
            },
        })
    }

    /// A weight that the architecture has no use for is a misunderstanding.
    fn refuse_strangers(&self) -> Result<()> {
        let own: &[&str] = match self.architecture {
            Kind::Standard | Kind::Gated => &["--l1"],
            Kind::TopK | Kind::BatchTopK => &["--k", "--auxiliary"],
            Kind::JumpRelu => &["--l0", "--penalty", "--bandwidth", "--initial-threshold"],
        };
        let given = [
            ("--l1", self.l1.is_some()),
            ("--l0", self.l0.is_some()),
            ("--k", self.k.is_some()),
            ("--auxiliary", self.auxiliary.is_some()),
            ("--penalty", self.penalty.is_some()),
            ("--bandwidth", self.bandwidth.is_some()),
            ("--initial-threshold", self.initial_threshold.is_some()),
        ];
        match given.iter().find(|(flag, is_given)| *is_given && !own.contains(flag)) {
            Some((flag, _)) => {
                bail!("--architecture {}: expected only {}, got {flag}", self.name(), own.join(", "))
            }
            None => Ok(()),
        }
    }

    fn name(&self) -> &'static str {
        match self.architecture {
            Kind::Standard => "standard",
            Kind::TopK => "topk",
            Kind::BatchTopK => "batchtopk",
            Kind::JumpRelu => "jumprelu",
            Kind::Gated => "gated",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Arguments, Command};

    fn settings(more: &str) -> Result<TrainSettings> {
        let line =
            "evaluate train --cache c --site blocks.1.hook_resid_pre --width 64 --tokens 8192 --out o --architecture";
        let words = line.split(' ').chain(more.split(' '));
        match Arguments::try_parse_from(words)?.command {
            Command::Train(arguments) => arguments.settings(),
            _ => bail!("not a training"),
        }
    }

    #[test]
    fn each_architecture_takes_its_own_weights() {
        assert_eq!(settings("standard --l1 5").unwrap().architecture, Architecture::Standard { l1: 5.0 });
        assert_eq!(settings("gated --l1 2").unwrap().architecture, Architecture::Gated { l1: 2.0 });
        let expected = Architecture::TopK { k: 8, auxiliary: 1.0 };
        assert_eq!(settings("topk --k 8").unwrap().architecture, expected);
        let expected = Architecture::BatchTopK { k: 2.5, auxiliary: 0.5 };
        assert_eq!(settings("batchtopk --k 2.5 --auxiliary 0.5").unwrap().architecture, expected);
        let Architecture::JumpRelu { l0, penalty, bandwidth, .. } =
            settings("jumprelu --l0 1 --penalty tanh").unwrap().architecture
        else {
            panic!("another architecture")
        };
        assert_eq!((l0, penalty, bandwidth), (1.0, Penalty::Tanh { scale: 4.0 }, 0.05));
    }

    #[test]
    fn missing_strange_and_broken_weights_are_refused() {
        for (more, words) in [
            ("standard", "expected --l1"),
            ("topk", "expected --k"),
            ("topk --k 2.5", "whole number"),
            ("topk --k 8 --l1 5", "got --l1"),
            ("standard --l1 5 --k 8", "got --k"),
            ("relu --l1 5", "standard, topk, batchtopk, jumprelu, gated"),
        ] {
            let message = settings(more).unwrap_err().to_string();
            assert!(message.contains(words), "{more}: {message}");
        }
    }
}
