//! `harvest run`.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

use std::num::NonZeroUsize;

use clap::Args;
use hayloft_harvest::{Logits, RunSettings, ShardRange, SitePattern};
use hayloft_model::{ModelError, parse_device};
use hayloft_runtime::{Dtype, Stopping};
use hayloft_store::{Codec, Existing, LocalPath, NonFinite, Place};

use super::beside::BesideArguments;
use super::{Cutting, EXAMPLES, Places};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArguments {
    #[command(flatten)]
    places: Places,
    /// Folder of the cache; with --share, its location too, such as s3://farm/stories
    #[arg(long, value_name = "DIR|URL")]
    out: Place,
    /// The data manifest; may be left out where the cache is planned already
    #[arg(long, value_name = "FILE")]
    data: Option<LocalPath>,
    #[command(flatten)]
    cutting: Cutting,
    /// A site to keep, such as blocks.16.hook_resid_pre, or one at many blocks, 'blocks.{4,8..12}.hook_resid_pre' (braces as in
    /// a shell, quoted from it) or 'blocks.*.hook_mlp_out'; may be given several times.
    ///
    /// hook_resid_pre, hook_resid_mid, hook_resid_post: the residual stream before a block, between attention and feed-forward,
    /// and after it. hook_attn_out, hook_mlp_out: what the two add to it. attn.hook_z: attention's heads, before they are joined.
    /// mlp.hook_in: what enters the feed-forward part; ln2.hook_normalized: the same before the norm's weight. Names are
    /// TransformerLens's. For a site inside a block, what evaluate needs to go on from there is kept beside it.
    #[arg(long = "site", value_name = "SITE", required = true, verbatim_doc_comment)]
    sites: Vec<SitePattern>,
    /// How activations are stored: planes (lossless, bf16 by a third smaller), planes:LEVEL (the same, compressed harder, 1 to
    /// 22), raw, or int8 (8 bits an element; it rounds, and how much is recorded and shown beside every figure)
    #[arg(long, default_value = "planes")]
    codec: Codec,
    /// What the model runs in and activations are stored in: f32, bf16 or f16 [default: the checkpoint's]
    #[arg(long, value_name = "TYPE")]
    dtype: Option<Dtype>,
    /// Where the model runs: cpu, cuda or cuda:N; several, as cuda:0,cuda:1, each get a process and their share of the cores, and
    /// take shards of the plan in turn
    #[arg(long = "device", default_value = "cpu", value_delimiter = ',', value_name = "DEVICE")]
    devices: Vec<String>,
    /// What to keep of the predictions: none, loss (label loss, logsumexp, entropy), top=K (and the K highest logits), or full
    /// (and the 64 highest, and all logits in logits.parquet). top=64 takes half a kilobyte a token; full takes vocabulary x
    /// bytes of --dtype a token besides, a little less after --codec: 64 kB for 32,000 tokens in bf16. A row group of them is
    /// held in memory a few times, so that a smaller --row-group-rows helps where memory is short
    #[arg(long, default_value_t)]
    logits: Logits,
    /// Which of the planned shards to fill: A..B (without B), A.. or ..B [default: all]
    #[arg(long, value_name = "RANGE")]
    shards: Option<ShardRange>,
    /// Go on with a cache that has shards already; those that are whole are kept
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    pub beside: BesideArguments,
    /// Store activations that are NaN or infinite, and count them, in place of stopping
    #[arg(long)]
    allow_non_finite: bool,
    /// Threads of the model's kernels, and of tokenising and encoding [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Print the final summary as JSON on stdout
    #[arg(long)]
    pub json: bool,
    /// Say on stderr where the time went; with =FILE, write it as JSON as well
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub profile: Option<LocalPath>,
}

impl RunArguments {
    /// The devices, by name.
    pub fn devices(&self) -> &[String] {
        &self.devices
    }

    /// What is asked for, on the first device.
    pub fn settings(self, stopping: Stopping) -> Result<RunSettings, ModelError> {
        Ok(RunSettings {
            share: self.beside.share(),
            stopping,
            model: self.places.model.into(),
            data: self.data.map(Into::into),
            data_root: self.places.data_root.map(Into::into),
            out: self.out.into_path(),
            shard_tokens: self.cutting.shard_tokens,
            row_group_rows: self.cutting.row_group_rows,
            sites: self.sites,
            codec: self.codec,
            precision: self.dtype,
            device: parse_device(self.devices.first().map_or("cpu", String::as_str))?,
            logits: self.logits,
            shards: self.shards.unwrap_or_default(),
            existing: if self.resume { Existing::Resume } else { Existing::Refuse },
            non_finite: if self.allow_non_finite { NonFinite::Allow } else { NonFinite::Refuse },
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Arguments, Command};

    #[test]
    fn a_run_has_defaults() {
        let words = ["harvest", "run", "--model", "m", "--out", "c", "--site", "blocks.1.hook_resid_pre"];
        let Command::Run(arguments) = Arguments::parse_from(words).command else { panic!("expected a run") };
        let settings = arguments.settings(Stopping::default()).unwrap();
        assert_eq!(settings.share, None);
        assert_eq!(settings.codec, Codec::PLANES);
        assert_eq!(settings.logits.to_string(), "top=64");
        assert_eq!(settings.shards, ShardRange::default());
        assert_eq!((settings.existing, settings.non_finite), (Existing::Refuse, NonFinite::Refuse));
        assert_eq!((settings.precision, settings.data), (None, None));
    }

    #[test]
    fn bad_values_are_refused_with_what_is_expected() {
        for (flag, value, words) in [
            ("--site", "blocks.x.hook_resid_pre", "blocks.L.hook_resid_pre"),
            ("--logits", "all", "none, loss, top=K or full"),
            ("--shards", "3", "A..B"),
            ("--dtype", "int8", "f32, bf16 or f16"),
            ("--codec", "zip", "planes"),
            ("--shard-tokens", "0", "1.."),
            ("--threads", "0", "zero"),
        ] {
            let words_given =
                ["harvest", "run", "--model", "m", "--out", "c", "--site", "blocks.1.hook_resid_pre", flag, value];
            let message = Arguments::try_parse_from(words_given).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
