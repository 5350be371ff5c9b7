//! `store select`.

use std::io::Write;

use clap::Args;
use hayloft_store::maintain::{NumberRange, Selection, select};
use hayloft_store::{LocalPath, Section, SiteName};

use super::bar::Bar;
use super::numbers::{counted, grouped};
use super::output::Output;
use super::placed::{files, in_words};

/// Make a smaller cache of some sites, shards, sections, subsets or sequences of a cache.
///
/// Sites and shards alone keep the plan, and files are linked or copied as they are. Sections, subsets and sequences pick
/// whole sequences, since a token's row depends on the tokens before it: those with at least one token in one of the
/// sections and one of the subsets at once. They get a new plan, which records the cache that it was selected from; sequence
/// ids, documents, activations and predictions stay what they were, to the bit.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  store select caches/stories --out one-site --site blocks.13.hook_resid_pre
  store select caches/pile --out arxiv --subset ArXiv
  store select caches/chat --out answers --section rollout
  store select caches/stories --out first --sequences 0..100
  store select caches/stories --out half --shards ..8

`evaluate run` takes the new cache like any other.")]
pub(super) struct Select {
    /// The cache to select from, which stays as it is.
    cache: LocalPath,
    /// The new cache's folder, which must not be there.
    #[arg(long)]
    out: LocalPath,
    /// Keep this site; may be given several times [default: all].
    #[arg(long, value_name = "SITE")]
    site: Vec<SiteName>,
    /// Keep sequences with a token in this section; may be given several times.
    #[arg(long, value_name = "SECTION")]
    section: Vec<Section>,
    /// Keep sequences with a token of this subset; may be given several times.
    #[arg(long, value_name = "SUBSET")]
    subset: Vec<String>,
    /// Keep sequences with these ids: A..B without B, A.. or ..B.
    #[arg(long, value_name = "RANGE")]
    sequences: Option<NumberRange>,
    /// Keep shards with these numbers: A..B without B, A.. or ..B.
    #[arg(long, value_name = "RANGE")]
    shards: Option<NumberRange>,
    /// Copy files, also where they could be linked.
    #[arg(long)]
    copy: bool,
    #[command(flatten)]
    output: Output,
}

impl Select {
    pub(super) fn run(&self, stdout: &mut dyn Write) -> anyhow::Result<()> {
        let selection = Selection {
            sites: self.site.clone(),
            shards: self.shards,
            sections: self.section.clone(),
            subsets: self.subset.clone(),
            sequences: self.sequences,
        };
        let mut bar = Bar::new("selecting");
        let selected =
            select(&self.cache, &self.out, &selection, files(self.copy), &mut |progress| bar.bytes(progress))?;
        drop(bar);
        let how = if selected.new_plan { "under a new plan".to_owned() } else { in_words(&selected.placed) };
        let sites: Vec<&str> = selected.sites.iter().map(SiteName::as_str).collect();
        let words = format!(
            "{}: {}, {}, {} tokens at {}; {how}",
            self.out.display(),
            counted(selected.shards as u64, "shard"),
            counted(selected.sequences, "sequence"),
            grouped(selected.tokens),
            sites.join(", "),
        );
        Ok(self.output.print(stdout, &selected, |stdout| writeln!(stdout, "{words}"))?)
    }
}
