//! `store inspect`.

use std::io::Write;

use clap::Args;
use hayloft_runtime::{TextTable, UNDEFINED, stdout_width};
use hayloft_store::{
    GroupSummary, KeptPredictions, ModelIdentity, ModelRecord, Place, Summary, TokenizerRecord, inspect_at,
};

use super::numbers::{bytes, counted, grouped};
use super::output::Output;
use super::remote::Reaching;

/// Subsets shown by name; the Pile has 22.
const MAX_SUBSETS: usize = 24;

/// Hexadecimal digits of a hash that are enough to tell one from another on a screen.
const SHORT_HASH: usize = 12;

/// Show what is in a cache: model, data, sites, sizes.
///
/// Reads the manifest alone, so it is quick on a cache of any size, and works while shards are being added.
///
/// `losses` are tokens of the section or subset that have a next one in their sequence: the loss is in the row that predicts, as in
/// `evaluate run --by subset`, which counts the same.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  store inspect caches/stories
  store inspect s3://farm/stories
  store inspect caches/stories --json | jq '.sites[] | {name, scale}'")]
pub(super) struct Inspect {
    /// The cache's folder, or its location in a bucket.
    #[arg(value_name = "CACHE|URL")]
    cache: Place,
    #[command(flatten)]
    reaching: Reaching,
    #[command(flatten)]
    output: Output,
}

impl Inspect {
    pub(super) fn run(&self, stdout: &mut dyn Write) -> anyhow::Result<()> {
        let summary = inspect_at(&self.cache.clone().into_path(), &self.reaching.options())?;
        Ok(self.output.print(stdout, &summary, |stdout| write!(stdout, "{}", in_words(&summary, stdout_width())))?)
    }
}

fn in_words(summary: &Summary, width: usize) -> String {
    // A name with an escape sequence in it would do as it likes with the terminal.
    let facts = facts_of(summary).into_iter().map(|(name, value)| vec![name.to_owned(), printable(&value)]);
    let facts = TextTable { headings: Vec::new(), names: 2, rows: facts.collect(), is_ruled: false };
    let mut tables = vec![facts, sites(summary)];
    let named = |group: &GroupSummary| group.section.map(|section| section.to_string());
    tables.push(groups("section", summary, &summary.statistics.sections, named));
    if !summary.held.subsets.is_empty() {
        let named = |group: &GroupSummary| group.subset.clone();
        tables.push(groups("subset", summary, &summary.statistics.subsets, named));
    }
    tables.iter().map(|table| table.fit(width) + "\n").collect::<Vec<_>>().join("\n")
}

fn sites(summary: &Summary) -> TextTable {
    let rounds = summary.sites.iter().any(|site| site.relative_rounding_error.is_some());
    let mut headings = vec!["site", "d_model", "mean norm", "scale c", "not finite", "on disk"];
    headings.extend(rounds.then_some("rounding"));
    let rows = summary.sites.iter().map(|site| {
        let mut row = vec![
            site.name.to_string(),
            site.d_model.to_string(),
            decimals(site.mean_norm, 6),
            site.scale.map_or_else(|| "none".to_owned(), |scale| format!("{scale:.6}")),
            grouped(site.non_finite_rows),
            bytes(site.bytes),
        ];
        row.extend(rounds.then(|| decimals(site.relative_rounding_error, 6)));
        row
    });
    let headings = headings.into_iter().map(str::to_owned).collect();
    TextTable { headings, names: 1, rows: rows.collect(), is_ruled: false }
}

/// A row for each group: tokens, losses, means of predictions, mean norm at each site.
fn groups(
    title: &str,
    summary: &Summary,
    groups: &[GroupSummary],
    named: impl Fn(&GroupSummary) -> Option<String>,
) -> TextTable {
    let norms = summary.sites.iter().map(|site| format!("norm {}", short_site(site.name.as_str())));
    let headings = [title, "tokens", "losses", "mean loss", "entropy"].map(str::to_owned).into_iter().chain(norms);
    let headings: Vec<String> = headings.collect();
    let row = |group: &GroupSummary| {
        let number = |value| decimals(value, 4);
        let name = named(group).map_or_else(|| "none".to_owned(), |name| printable(&name));
        let norms = group.mean_norms.iter().map(|norm| number(*norm));
        let losses = group.losses.map_or_else(|| UNDEFINED.to_owned(), grouped);
        let row = [name, grouped(group.tokens), losses, number(group.mean_loss), number(group.mean_entropy)];
        row.into_iter().chain(norms).collect()
    };
    let mut rows: Vec<Vec<String>> = groups.iter().take(MAX_SUBSETS).map(row).collect();
    if groups.len() > MAX_SUBSETS {
        let mut more = vec![String::new(); headings.len()];
        more[0] = format!("{} more (--json)", groups.len() - MAX_SUBSETS);
        rows.push(more);
    }
    TextTable { headings, names: 1, rows, is_ruled: false }
}

/// A short form of a site's name: `3.pre` for `blocks.3.hook_resid_pre`.
fn short_site(name: &str) -> String {
    name.replace("blocks.", "").replace("hook_resid_", "").replace("hook_", "")
}

fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// A number with so many decimals; a dash where it is undefined.
fn decimals(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| UNDEFINED.to_owned(), |value| format!("{value:.decimals$}"))
}

fn facts_of(summary: &Summary) -> Vec<(&'static str, String)> {
    let Summary { model, corpus, held, planned, .. } = summary;
    let mut facts = vec![
        ("cache", format!("{}, format {}, by {}", summary.folder.display(), summary.format, summary.generator)),
        ("model", model_in_words(model)),
        ("tokenizer", tokenizer_in_words(&corpus.tokenizer)),
        (
            "data",
            format!(
                "{}: {} in {}",
                corpus.name,
                counted(corpus.data.documents, "document"),
                counted(corpus.data.files.len() as u64, "file"),
            ),
        ),
        ("packing", format!("{}, context {}", corpus.packing.as_str(), grouped(corpus.context_length.into()))),
        (
            "shards",
            format!("{} of {} planned", grouped(summary.whole_shards as u64), grouped(summary.planned_shards as u64)),
        ),
        ("sequences", format!("{} of {} planned", grouped(held.sequences), grouped(planned.sequences))),
        ("tokens", format!("{} of {} planned", grouped(held.tokens), grouped(planned.tokens))),
        ("sections", joined(held.sections.iter().map(|(name, tokens)| format!("{name} {}", grouped(*tokens))))),
    ];
    facts.push(("predictions", predictions(summary.predictions)));
    if let Some(count) = summary.non_finite_losses.filter(|&count| count > 0) {
        facts.push(("not finite", format!("{} of the losses, which are in no mean", grouped(count))));
    }
    facts.push(("stored as", format!("{}, codec {}", summary.dtype, summary.codec)));
    facts.push((
        "on disk",
        format!(
            "{}, {} bytes a token, activations compressed {} times; tables {}",
            bytes(summary.bytes),
            decimals(summary.bytes_per_token, 1),
            decimals(summary.ratio_to_raw, 3),
            bytes(summary.table_bytes),
        ),
    ));
    if let Some(holder) = &summary.being_written_by {
        facts.push(("writing", format!("{holder}; the above is what was whole at the last update")));
    }
    facts
}

fn model_in_words(model: &ModelRecord) -> String {
    if !model.is_known() {
        return format!("{}, d_model {}; imported without its checkpoint", model.model_type, model.d_model);
    }
    let identity = model.identity.as_ref().map(ModelIdentity::short).unwrap_or_default();
    format!(
        "{}, {} blocks, d_model {}, vocabulary {}, run in {}; identity {identity}",
        model.model_type,
        model.n_blocks,
        model.d_model,
        grouped(model.vocab_size as u64),
        model.precision,
    )
}

fn tokenizer_in_words(tokenizer: &TokenizerRecord) -> String {
    // An imported cache may say so of either.
    let bos = match tokenizer.bos_id {
        u32::MAX => "unknown".to_owned(),
        id => format!("{id} ({})", tokenizer.bos_text),
    };
    if tokenizer.blake3.is_empty() {
        return format!("unknown, BOS {bos}");
    }
    let tokens = grouped(tokenizer.vocab_size as u64);
    format!("{tokens} tokens, BOS {bos}, {}", short(&tokenizer.blake3))
}

fn predictions(kept: Option<KeptPredictions>) -> String {
    match kept {
        None => "none".to_owned(),
        Some(KeptPredictions { top_k, full_logits }) => {
            let top = if top_k > 0 { format!(", top {top_k} logits") } else { String::new() };
            format!("label loss, logsumexp, entropy{top}{}", if full_logits { ", all logits" } else { "" })
        }
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn short(hash: &str) -> String {
    hash.chars().take(SHORT_HASH).collect()
}
