//! `evaluate browse`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use hayloft_store::LocalPath;

const EXAMPLES: &str = "\
Examples:
  # A page of all SAEs of a pass; open page/index.html in a browser
  evaluate latents --cache cache --sae saes/base --sae saes/chat \\
      --tokenizer mistral-7b --out latents
  evaluate browse latents --out page

  # Two SAEs side by side: latents of the same number, or the nearest decoder
  # directions
  evaluate browse latents --compare base=chat --out page
  evaluate browse latents --compare base=chat --match cosine \\
      --sae base=saes/base --sae chat=saes/chat --out page

  # One SAE on the activations of two models; its name is in both folders
  evaluate browse on-base on-chat --compare on-base/chat=on-chat/chat --out page

  # With explanations of our own, of delphi, and as Neuronpedia exports them
  evaluate browse latents --explanations ours.csv \\
      --explanations base=results/explanations \\
      --explanations chat=neuronpedia.json --out page

docs/latents.md describes the page and the files of explanations.";

/// What a page is made of
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BrowseArguments {
    /// Folders of latents.parquet and examples.parquet, as `evaluate latents --out` writes them
    #[arg(value_name = "LATENTS_DIR", required = true)]
    pub folders: Vec<LocalPath>,
    /// Explanations of latents: JSON lines, an array of JSON or CSV with latent, explanation and, if need be, sae, author and
    /// score; an export of Neuronpedia; or a folder of explanations that delphi wrote. SAE=PATH where the page has several SAEs
    /// and the file names none. May be given several times
    #[arg(long, value_name = "[SAE=]PATH")]
    pub explanations: Vec<String>,
    /// Show two SAEs side by side. SAEs of one name are told apart by their folders: FOLDER/NAME. May be given several times
    #[arg(long, value_name = "A=B")]
    pub compare: Vec<String>,
    /// What makes latents of the two a pair: their numbers, as after fine-tuning, or for each of A the latent of B with the
    /// largest cosine of decoder directions, which takes --sae
    #[arg(long = "match", value_name = "HOW", default_value = "index", requires = "compare")]
    pub matching: Matching,
    /// The files of an SAE of the page, for --match cosine, as `evaluate run --sae` takes them. Give those of both
    #[arg(long = "sae", value_name = "SAE=PATH", requires = "compare")]
    pub saes: Vec<String>,
    /// Folder for the page, which may hold an earlier page and nothing else
    #[arg(long, value_name = "DIR")]
    pub out: LocalPath,
    /// Print what was written as JSON in place of the table
    #[arg(long)]
    pub json: bool,
}

/// What makes latents of two SAEs a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Matching {
    Index,
    Cosine,
}

impl BrowseArguments {
    /// The folders of latents.
    pub fn folders(&self) -> Vec<PathBuf> {
        self.folders.iter().cloned().map(Into::into).collect()
    }
}
