//! `harvest run`.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;
use hayloft_harvest::{HarvestError, Logits, RunSettings, ShardRange, ShareSettings, SitePattern};
use hayloft_model::parse_device;
use hayloft_runtime::{Dtype, Stopping};
use hayloft_store::{Codec, Existing, LocalPath, NonFinite, Place, Sharing};

use super::{EXAMPLES, InputPaths, PlanSizes, StarterArguments};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArguments {
    #[command(flatten)]
    paths: InputPaths,
    /// Folder of the cache; with --share, its location too, such as s3://farm/stories
    #[arg(long, value_name = "DIR|URL")]
    out: Place,
    /// The data manifest, or with --context data; may be left out where the cache is planned already
    #[arg(long, value_name = "FILE")]
    data: Option<LocalPath>,
    #[command(flatten)]
    starter: StarterArguments,
    #[command(flatten)]
    sizes: PlanSizes,
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
    /// Where the model runs: cpu, cuda or cuda:N. For several devices, start a process for each with --share
    #[arg(long, default_value = "cpu", value_parser = one_device)]
    device: String,
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
    pub share: ShareArguments,
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

/// How the cache is shared with other processes.
#[derive(Debug, Args)]
pub struct ShareArguments {
    /// Fill the cache beside other processes that do the same, on this or other machines: each takes a shard that no other has,
    /// and takes over those of processes that died. All need the planned folder on a file system that they share, or --out as
    /// s3://BUCKET/PREFIX (gs://, az://, file:///), where `store push` has put the plan. The one that ends last writes manifest.json.
    ///
    /// On one machine, divide the cores among the processes with --threads. With several sockets, `taskset -c LIST harvest run …`
    /// keeps a process to the cores next to its GPU. See the example of four GPUs below.
    #[arg(long)]
    share: bool,
    /// Seconds for which another process may be silent before its shard is taken over [default: 120]
    #[arg(long, value_name = "SECONDS", requires = "share", value_parser = lease)]
    lease: Option<Sharing>,
    /// Where shards are written before they are pushed, if --out is in a bucket [default: the folder for temporary files]
    #[arg(long, value_name = "DIR", requires = "share")]
    scratch: Option<LocalPath>,
    /// If --out is in a bucket and no variable names credentials, ask this machine of a cloud for its own, or gcloud's file
    #[arg(long, requires = "share")]
    instance_credentials: bool,
    /// Stop cleanly, as on SIGTERM, when standard input ends: a pipe ends when the process that holds its other end dies
    #[arg(long)]
    pub stop_on_eof: bool,
}

impl ShareArguments {
    fn settings(self) -> Option<ShareSettings> {
        self.share.then(|| ShareSettings {
            sharing: self.lease.unwrap_or_default(),
            scratch: self.scratch.map_or_else(std::env::temp_dir, Into::into),
            instance_credentials: self.instance_credentials,
        })
    }
}

impl RunArguments {
    /// The settings of the run. Returns an error if the device does not exist. With `--context`, writes the data manifest.
    pub fn settings(self, stopping: Stopping) -> Result<RunSettings, HarvestError> {
        let device = parse_device(&self.device)?;
        let out = self.out.into_path();
        let data = self.data.map(|data| self.starter.manifest(data.into(), &out)).transpose()?;
        Ok(RunSettings {
            share: self.share.settings(),
            stopping,
            model: self.paths.model.into(),
            data,
            data_root: self.paths.data_root.map(Into::into),
            out,
            shard_tokens: self.sizes.shard_tokens,
            row_group_rows: self.sizes.row_group_rows,
            sites: self.sites,
            codec: self.codec,
            precision: self.dtype,
            device,
            logits: self.logits,
            shards: self.shards.unwrap_or_default(),
            existing: if self.resume { Existing::Resume } else { Existing::Refuse },
            non_finite: if self.allow_non_finite { NonFinite::Allow } else { NonFinite::Refuse },
        })
    }
}

/// Parses the name of a device; refuses a list of them.
fn one_device(text: &str) -> Result<String, String> {
    if text.contains(',') {
        let devices = text.replace(',', " ");
        return Err(format!(
            "expected one device, got {text}. Plan the cache with `harvest plan`, then start a process for each:\n  \
             for device in {devices}; do\n    harvest run … --device $device --threads N --share &\n  done; wait"
        ));
    }
    Ok(text.to_owned())
}

/// Parses a lease in whole seconds.
fn lease(text: &str) -> Result<Sharing, String> {
    let (shortest, longest) = (Sharing::SHORTEST.as_secs(), Sharing::LONGEST.as_secs());
    let seconds = text.parse().ok().filter(|seconds| (shortest..=longest).contains(seconds));
    let seconds = seconds.ok_or_else(|| format!("expected whole seconds from {shortest} to {longest}, got {text}"))?;
    Ok(Sharing { lease: Duration::from_secs(seconds) })
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
            ("--device", "cuda:0,cuda:1", "for device in cuda:0 cuda:1; do"),
        ] {
            let words_given =
                ["harvest", "run", "--model", "m", "--out", "c", "--site", "blocks.1.hook_resid_pre", flag, value];
            let message = Arguments::try_parse_from(words_given).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
