//! Entry points of statistics of latents.

use hayloft_runtime::{Part, Progress};

use super::collect::opened::Opened;
use super::output::contexts::CacheSequences;
use super::output::files::{Texts, write};
use super::part::PartialLatents;
use super::report::LatentsReport;
use super::settings::LatentsSettings;
use crate::error::EvaluateError;

/// Collects statistics of all latents of SAEs in one pass over a cache, and writes them to two files.
///
/// ```no_run
/// use hayloft_evaluate::{LatentsSettings, latents};
/// use hayloft_runtime::Progress;
/// # fn main() -> Result<(), hayloft_evaluate::EvaluateError> {
/// let settings = LatentsSettings { seed: 7, ..LatentsSettings::new("cache", vec!["saes/base".into()], "latents") };
/// println!("{}", latents(&settings, Progress::Silent)?.table(80));
/// # Ok(()) }
/// ```
pub fn latents(settings: &LatentsSettings, progress: Progress) -> Result<LatentsReport, EvaluateError> {
    settings.check()?;
    let _no_grad = hayloft_model::no_grad();
    let opened = Opened::open(settings, Part::WHOLE, progress)?;
    let Opened { context, places, tokenizer, .. } = &opened;
    let (report, finished) = opened.collect()?.finish()?;
    let sequences = CacheSequences { cache: &context.cache, places };
    let texts = tokenizer.as_ref().map_or(Texts::None, Texts::Tokenizer);
    write(&settings.out, &report, &finished, &sequences, &texts)?;
    context.cache.log_traffic();
    Ok(report)
}

/// Collects statistics of latents on one part of a cache's shards. [`merge_latents`](crate::merge_latents) writes the files of
/// [`latents`] from all parts, byte for byte.
pub fn latents_part(
    settings: &LatentsSettings,
    part: Part,
    progress: Progress,
) -> Result<PartialLatents, EvaluateError> {
    settings.check()?;
    if settings.delphi.is_some() {
        let (what, expected) = ("export for delphi", "none of a part, as its files hold the sequences of all shards");
        return Err(EvaluateError::Setting { what, expected, got: format!("part {part}") });
    }
    let _no_grad = hayloft_model::no_grad();
    let opened = Opened::open(settings, part, progress)?;
    let Opened { context, places, tokenizer, .. } = &opened;
    let collected = opened.collect()?;
    let sequences = CacheSequences { cache: &context.cache, places };
    let partial = PartialLatents::new(part, opened.all_shards(), collected, &sequences, tokenizer.as_ref())?;
    context.cache.log_traffic();
    Ok(partial)
}
