//! The command line of `evaluate`.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

mod browse;
mod course;
mod finetune;
mod inspect;
mod latents;
mod list;
mod merge;
mod remote;
mod report;
mod rows;
mod train;

use std::num::NonZeroUsize;

use anyhow::Result;
use clap::{ArgGroup, Args, Parser, Subcommand};
use hayloft_evaluate::{KlChoice, RunSettings, Splice, WeightsChoice};
use hayloft_model::{Site, parse_device};
use hayloft_results::{Bootstrap, Breakdown, MetricsChoice};
use hayloft_runtime::{Dtype, Part};
use hayloft_store::{LocalPath, Place};

pub use self::browse::{BrowseArguments, Matching};
pub use self::finetune::FinetuneArguments;
pub use self::inspect::{ConvertArguments, InspectArguments, SaeArguments, SaeLayout};
pub use self::latents::LatentsArguments;
pub use self::list::{ListArguments, list};
pub use self::merge::MergeArguments;
use self::remote::RemoteArguments;
pub use self::report::{CompareArguments, ReportArguments, SweepArguments};
use self::rows::RowArguments;
pub use self::train::TrainArguments;

/// Evaluate sparse autoencoders (SAEs) against a cache of activations, and train them on it.
#[derive(Debug, Parser)]
#[command(name = "evaluate", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  # Several SAEs in one pass over the cache, every position spliced (the Pile
  # protocol)
  evaluate run --model mistral-7b --cache cache --sae saes/base \\
      --sae saes/chat --outlier-norm 200

  # All SAEs below a folder, and those that match a pattern, in the order of
  # their names
  evaluate run --model gemma-2-2b --cache cache \\
      --sae gemma-scope-2b-pt-res/layer_20 --sae 'saes/base-*'

  # By their names in SAELens's registry, fetched into the Hugging Face cache or
  # found there
  evaluate run --model google/gemma-2-2b --cache cache \\
      --sae 'gemma-scope-2b-pt-res-canonical/layer_12/*'

  # Only what the chat model answered, and only what the user wrote (the Alpaca
  # protocol)
  evaluate run --model mistral-7b-instruct --cache alpaca --sae saes/base \\
      --section rollout --section user_prompt

  # L0, error and explained variance only, without the model; or all figures,
  # faster, with what bf16 does to each
  evaluate run --cache cache --sae saes/base
  evaluate run --model mistral-7b --cache cache --sae saes/base --compute bf16

  # How far the predictions move, not only the loss: exactly, or cheaply from
  # the cached top logits
  evaluate run --model mistral-7b --cache cache --sae saes/base --kl
  evaluate run --model mistral-7b --cache cache --sae saes/base --kl=bound

  # How certain each figure is, and whether two SAEs differ; figures by subset
  # of the corpus and by position
  evaluate run --model mistral-7b --cache cache --sae saes/base \\
      --sae saes/chat --bootstrap
  evaluate run --model mistral-7b --cache cache --sae saes/base --by subset \\
      --by position --metrics all

  # Straight from a bucket; only the bytes of the SAEs' site are brought, and
  # kept for the next run
  evaluate run --model mistral-7b --cache s3://farm/pile --sae saes/base \\
      --cache-limit 100GB

  # Keep results as JSON, CSV and Markdown; compute on a GPU
  evaluate run --model mistral-7b --cache cache --sae saes/base --device cuda \\
      --out results

  # One of four jobs that share the shards out among them; first the baselines,
  # in every job, then the rest
  evaluate run --model mistral-7b --cache cache --sae saes/base --part 0/4 \\
      --only-baselines
  evaluate run --model mistral-7b --cache cache --sae saes/base --part 0/4 \\
      --out parts
  evaluate merge parts --out results   # when all four are done

  # One figure, for a script
  evaluate run --model mistral-7b --cache cache --sae saes/base --json \\
      | jq '.[0].ce_recovered'

The first run on a cache also computes the zero-ablation loss and keeps it
beside the cache. Each figure is defined in crates/results/RESULTS.md.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Put SAEs' reconstructions back into the model, and print what that does to its loss
    Run(Box<RunArguments>),
    /// Collect counts, histograms, examples and similar latents of every latent in one pass over the cache; no model is needed
    Latents(Box<LatentsArguments>),
    /// Make a browser page of latents: a table with search, their examples and figures, two SAEs side by side
    Browse(BrowseArguments),
    /// Put the partial results of `evaluate run --part` together: the figures of one run over the whole cache, to the bit
    Merge(MergeArguments),
    /// Show what is understood of an SAE's files, whatever their format
    Inspect(InspectArguments),
    /// Write an SAE of any format as SAELens saves one
    Convert(ConvertArguments),
    /// List the SAEs that are published, as SAELens's registry has them
    List(ListArguments),
    /// Train an SAE on cached activations; no model is needed
    Train(Box<TrainArguments>),
    /// Train an SAE further on cached activations, and evaluate it before and after
    Finetune(Box<FinetuneArguments>),
    /// Make tables, pictures and one page of the results of an experiment
    Report(ReportArguments),
    /// Evaluate many SAEs, such as all of a folder, and make a report of them: a table by L0, and what L0 buys
    Sweep(Box<SweepArguments>),
    /// Compare measured figures with expected ones, and fail beyond a tolerance
    Compare(CompareArguments),
    /// Print a script that completes this command line in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("kept").args(["out", "only_baselines"]))]
pub struct RunArguments {
    /// The checkpoint that the cache was harvested from: its folder, or its id on the Hugging Face Hub, such as google/gemma-2-2b
    /// or google/gemma-2-2b@COMMIT; without it, only L0, error and explained variance are computed, at a fraction of the time
    #[arg(long, value_name = "DIR|ID")]
    model: Option<LocalPath>,
    /// Folder of the cache, or its location, such as s3://farm/stories
    #[arg(long, value_name = "DIR|URL")]
    cache: Place,
    #[command(flatten)]
    remote: RemoteArguments,
    /// An SAE: the folder that SAELens, Gemma Scope, Llama Scope, dictionary_learning, sparsify, OpenAI or llamascopium published,
    /// or its one file (params.npz, layer0.sae.pt, layer_0.safetensors, autoencoder.pt); or a folder that holds SAEs at any depth, or a quoted pattern such as
    /// 'saes/*'. Or RELEASE/ID of SAELens's registry (`evaluate list`), a quoted pattern of such names, or OWNER/NAME/PATH, with
    /// @REVISION if need be, of the Hugging Face Hub: what its cache on this machine lacks is fetched into it. May be given several
    /// times. `evaluate inspect` shows how one is read
    #[arg(long = "sae", value_name = "PATH|ID", required = true)]
    saes: Vec<LocalPath>,
    /// Put all SAEs in place at once, each at the site that it names: each is given what the others have left, and the losses are
    /// those of all together
    #[arg(long)]
    splice_together: bool,
    #[command(flatten)]
    pub of_saes: SaeArguments,
    /// The site, such as blocks.16.hook_resid_pre [default: the one that the SAEs name]
    #[arg(long, value_name = "SITE")]
    site: Option<Site>,
    #[command(flatten)]
    rows: RowArguments,
    /// The weights that the SAEs were trained on: as-stored, or centred, TransformerLens's center_writing_weights, for models
    /// with LayerNorm [default: what the SAEs' configurations say]
    #[arg(long, value_name = "WEIGHTS")]
    weights: Option<WeightsChoice>,
    /// Where to compute: cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// What the model runs in: f32, bf16 or f16; SAEs run in f32 [default: what the cache's model ran in]
    #[arg(long, value_name = "TYPE")]
    dtype: Option<Dtype>,
    /// Compute the matrix products of model and SAEs in this type, for speed: bf16 or f16. What that does to each figure
    /// is measured against f32 on a 32nd of the tokens and printed beside it
    #[arg(long, value_name = "TYPE", conflicts_with = "dtype")]
    compute: Option<Dtype>,
    /// Measure KL(clean || spliced) too, in nats a token, and that of zero ablation. It takes --model. [default: exact]
    ///
    /// exact: from the cache's logits where it has them all (harvest run --logits full), else recomputed.
    /// stored: exact, from the cache's logits; costs reading them, vocabulary times bytes a token.
    /// recomputed: exact; the clean residual goes through the upper model too, which costs as much as one more SAE.
    /// bound: a lower bound from the top logits that the cache keeps (--logits top=K); costs next to nothing.
    #[arg(long, value_name = "WAY", num_args = 0..=1, require_equals = true, default_missing_value = "exact",
        verbatim_doc_comment)]
    kl: Option<KlChoice>,
    /// Which figures to print: study, or all, which adds a table of cosine similarity, norms, L1 and latents' densities. Files
    /// and --json have all of them anyway
    #[arg(long, value_name = "WHICH", default_value = "study")]
    pub metrics: MetricsChoice,
    /// Say how certain each figure is: 95% intervals from so many resamples of the cache's sequences, and those of the
    /// differences between each SAE and the first, taken on the same resamples [default number: 2000]
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "2000")]
    bootstrap: Option<Bootstrap>,
    /// Print figures by subset of the corpus or by position in the sequence too; may be given for both
    #[arg(long = "by", value_name = "WHAT")]
    pub breakdowns: Vec<Breakdown>,
    /// Threads of the kernels and of hashing [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Write results.json, results.csv, results.md and a JSON file for each SAE and section into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<LocalPath>,
    /// Evaluate only the I-th of N shares of the cache's shards, counted from 0, and write part-I-of-N.safetensors into --out;
    /// `evaluate merge` makes of all parts what one run gives, to the bit. The baselines of all shards must be there: run every part
    /// with --only-baselines first. With --outlier-norm 10xmedian every part reads the whole cache; the norm itself saves that
    #[arg(long, value_name = "I/N", requires = "kept")]
    pub part: Option<Part>,
    /// Only compute and keep the baselines, of --part's shards or of all: what depends on no SAE
    #[arg(long)]
    pub only_baselines: bool,
    /// Folder for baselines; parts that run on several machines need one that all of them see [default: baselines/ in the
    /// cache's folder, for a remote cache in the folder for what is read from it]
    #[arg(long, value_name = "DIR")]
    baselines: Option<LocalPath>,
    /// Print the results as JSON in place of the table
    #[arg(long)]
    pub json: bool,
    /// Say on stderr where the time went; with =FILE, write it as JSON as well
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub profile: Option<LocalPath>,
}

impl RunArguments {
    /// The SAEs as they are named.
    pub fn saes_in_words(&self) -> String {
        self.saes.iter().map(|sae| sae.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    /// What is asked for, on a device that is there. Model and SAEs are as they are named.
    pub fn settings(self) -> Result<RunSettings> {
        Ok(RunSettings {
            model: self.model.map(Into::into),
            tokenizer: None,
            cache: self.cache.into_path(),
            remote: self.remote.options(),
            baselines: self.baselines.map(Into::into),
            saes: self.saes.into_iter().map(Into::into).collect(),
            splice: if self.splice_together { Splice::Together } else { Splice::EachAlone },
            sae_options: self.of_saes.options(),
            site: self.site,
            sections: self.rows.sections,
            outlier_norm: self.rows.outlier_norm,
            exclude: self.rows.exclude,
            weights: self.weights.unwrap_or_default(),
            scale: self.rows.scale.unwrap_or_default(),
            device: parse_device(&self.device)?,
            precision: self.dtype,
            compute: self.compute,
            kl: self.kl,
            bootstrap: self.bootstrap,
            by_subset: self.breakdowns.contains(&Breakdown::Subset),
        })
    }
}

#[cfg(test)]
mod tests {
    use hayloft_rows::ScaleChoice;

    use super::*;

    const REQUIRED: [&str; 8] = ["evaluate", "run", "--model", "m", "--cache", "c", "--sae", "s"];

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
        hayloft_store::check_arguments(&Arguments::command());
    }

    #[test]
    fn a_run_has_defaults() {
        let Command::Run(arguments) = Arguments::parse_from(REQUIRED).command else { panic!("expected a run") };
        let settings = arguments.settings().unwrap();
        assert_eq!(settings.scale, ScaleChoice::FollowSae);
        assert!(settings.sections.is_empty());
        assert_eq!((settings.outlier_norm, settings.precision, settings.site), (None, None, None));
    }

    #[test]
    fn the_model_may_be_left_out_and_a_profile_may_have_a_file() {
        let run = |words: &[&str]| match Arguments::parse_from([&["evaluate", "run"], words].concat()).command {
            Command::Run(arguments) => arguments,
            _ => panic!("expected a run"),
        };
        let arguments = run(&["--cache", "c", "--sae", "s", "--profile", "--compute", "bf16"]);
        assert_eq!(arguments.profile.as_deref(), Some(std::path::Path::new("-")));
        let settings = arguments.settings().unwrap();
        assert_eq!((settings.model, settings.compute), (None, Some(Dtype::Bf16)));
        let arguments = run(&["--cache", "c", "--sae", "s", "--profile=p.json"]);
        assert_eq!(arguments.profile.as_deref(), Some(std::path::Path::new("p.json")));
        let both = ["evaluate", "run", "--cache", "c", "--sae", "s", "--compute", "bf16", "--dtype", "f32"];
        assert!(Arguments::try_parse_from(both).unwrap_err().to_string().contains("cannot be used with"));
    }

    #[test]
    fn a_part_is_kept_somewhere() {
        let parse = |words: &[&'static str]| Arguments::try_parse_from(REQUIRED.iter().chain(words));
        for words in [["--part", "1/4", "--out", "o"].as_slice(), &["--part", "1/4", "--only-baselines"]] {
            let Command::Run(arguments) = parse(words).unwrap().command else { panic!("expected a run") };
            assert_eq!(arguments.part.map(|part| part.to_string()).as_deref(), Some("1/4"));
        }
        assert!(parse(&["--only-baselines"]).is_ok());
        let message = |words: &[&'static str]| parse(words).unwrap_err().to_string();
        assert!(message(&["--part", "1/4"]).contains("--out <DIR>|--only-baselines"));
        assert!(message(&["--part", "4/4", "--out", "o"]).contains("0/4 to 3/4"));
        assert!(message(&["--only-baselines", "--out", "o"]).contains("cannot be used with"));
    }

    #[test]
    fn divergences_are_exact_unless_said_otherwise() {
        let kl = |words: &[&str]| match Arguments::parse_from(REQUIRED.iter().chain(words)).command {
            Command::Run(arguments) => arguments.settings().unwrap().kl,
            _ => panic!("expected a run"),
        };
        assert_eq!((kl(&[]), kl(&["--kl"]), kl(&["--kl=bound"])), (None, Some(KlChoice::Exact), Some(KlChoice::Bound)));
    }

    #[test]
    fn saes_and_sections_may_be_repeated() {
        let more = ["--sae", "t", "--section", "rollout", "--section", "all", "--scale", "auto"];
        let Command::Run(arguments) = Arguments::parse_from(REQUIRED.into_iter().chain(more)).command else {
            panic!("expected a run")
        };
        let settings = arguments.settings().unwrap();
        assert_eq!(settings.saes.len(), 2);
        assert_eq!(settings.sections.len(), 2);
        assert_eq!(settings.scale, ScaleChoice::Auto);
    }

    #[test]
    fn misspelt_words_are_answered_with_the_nearest() {
        for (line, meant) in [
            ("rum --cache c", "run"),
            ("run --outlier-nrom 200", "--outlier-norm"),
            ("run --cache c --sae s --site blocks.16.hook_resid_pr", "blocks.16.hook_resid_pre?"),
            ("run --cache c --sae s --sae-format gemmascope", "gemma-scope?"),
            ("run --cache c --sae s --metrics al", "all?"),
            ("run --cache c --sae s --dtype bfloat", "bfloat16?"),
            ("run --cache c --sae s --by positions", "position?"),
            ("run --cache c --sae s --kl=bounds", "bound?"),
            ("run --cache c --sae s --weights centered", "centred?"),
            ("compare e r --tolerance explained=1", "explained_variance?"),
        ] {
            let words = ["evaluate"].into_iter().chain(line.split(' '));
            let message = Arguments::try_parse_from(words).unwrap_err().to_string();
            assert!(message.contains(meant), "{line}: {message}");
        }
        let words = REQUIRED.into_iter().chain(["--device", "cdua"]);
        let Command::Run(arguments) = Arguments::parse_from(words).command else { panic!("expected a run") };
        assert!(arguments.settings().unwrap_err().to_string().contains("Did you mean cuda?"));
    }

    #[test]
    fn bad_values_are_refused_with_what_is_expected() {
        for (flag, value, words) in [
            ("--site", "blocks.x.hook_resid_pre", "blocks.L.hook_resid_pre"),
            ("--section", "prompt", "user_prompt"),
            ("--scale", "big", "auto, none or a number above zero"),
            ("--scale", "-1", "above zero"),
            ("--dtype", "int8", "f32, bf16 or f16"),
            ("--metrics", "few", "study or all"),
            ("--bootstrap", "9", "from 100 to 100000"),
            ("--by", "token", "subset or position"),
            ("--kl", "cheap", "exact, stored, recomputed or bound"),
            ("--threads", "0", "zero"),
        ] {
            let words_given = REQUIRED.map(str::to_owned).into_iter().chain([format!("{flag}={value}")]);
            let message = Arguments::try_parse_from(words_given).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
