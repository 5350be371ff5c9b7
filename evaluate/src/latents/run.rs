//! Entry point of statistics of latents.

use std::collections::BTreeMap;

use hayloft_latents::{
    Additions, EXAMPLES, ExampleKind, ExampleRow, ExamplesFile, GroupNumbers, LATENTS, Latent, LatentsError,
    LatentsFile, OptionalColumns, SaeLatents, Statistics,
};
use hayloft_model::Tokenizer;
use hayloft_rows::{OutlierNorm, OutlierRule};
use hayloft_runtime::words::list;
use hayloft_runtime::{Dtype, Progress};
use hayloft_store::Cache;
use hayloft_train::cache_tokenizer;

use super::ablation::{Ablations, ablate};
use super::contexts;
use super::delphi::DelphiExport;
use super::logits::Unembedding;
use super::pass::{Collector, pass};
use super::report::{LatentsReport, SaeLatentsReport};
use super::settings::LatentsSettings;
use crate::error::EvaluateError;
use crate::session::context::EvaluationContext;
use crate::session::median::median_rule;
use crate::session::protocol::{threshold, warn_of_other_outliers};
use crate::session::run_saes::RunSaes;

/// Examples that are written at once.
const ROWS_AT_ONCE: usize = 4096;

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
    let run = &settings.run;
    let (RunSaes { saes, .. }, context) = RunSaes::open(run, progress)?;
    let unembedding = Unembedding::open(settings, &context, progress)?;
    let tokenizer = run.tokenizer.as_deref().map(|folder| cache_tokenizer::<EvaluateError>(&context.cache, folder));
    let tokenizer = tokenizer.transpose()?;
    let places = places(settings, &context.cache)?;
    let shards = &context.cache.manifest().shards;
    let tokens = places.iter().map(|&place| shards[place].counts.tokens).sum();
    let point = context.point.input_alone();
    let source = context.source(&point, run.device, None);
    let median = match run.outlier_norm {
        Some(OutlierNorm::MedianMultiple(multiple)) => Some(median_rule(multiple, source, progress)?),
        _ => None,
    };
    let mut collectors = Vec::with_capacity(saes.len());
    let mut reports = Vec::with_capacity(saes.len());
    for own in &saes {
        let threshold = threshold(run, median, &own.scale);
        warn_of_other_outliers(&own.file, &own.name, &own.scale, threshold.as_ref())?;
        let collected = settings.of_sae(&own.file, tokens)?;
        collectors.push(Collector {
            file: &own.file,
            sae: own.file.load_computing_in(run.device, Dtype::F32)?,
            scale: own.scale.value,
            rule: OutlierRule::of(threshold),
            statistics: Statistics::new(collected),
        });
        reports.push(SaeLatentsReport::of(own, threshold)?);
    }
    let chosen = settings.ablated(&saes)?;
    let numbers = GroupNumbers::default();
    let widths = saes.iter().map(|own| (own.name.clone(), own.file.width()));
    let delphi = settings.delphi.as_deref();
    let mut export = delphi.map(|folder| DelphiExport::begin(folder, widths, &context.cache, &places)).transpose()?;
    let gauge = progress.gauge("latents", Some(tokens));
    let left_out = pass(source, &places, &collectors, &run.sections(), &numbers, export.as_mut(), &gauge)?;
    drop(gauge);
    if let Some(export) = export {
        export.finish(&context.cache, &places)?;
    }
    let ablations: Ablations = if settings.ablate.is_some()
        && let Some(upper_model) = context.upper_model(context.precision, run.device)?
    {
        let gauge = progress.gauge("ablated", Some(tokens));
        let source = context.source(&context.point, run.device, None);
        ablate(source, &places, (&collectors, &chosen), &run.sections(), &upper_model, &gauge)?
    } else {
        vec![BTreeMap::new(); saes.len()]
    };

    let mut finished = Vec::with_capacity(saes.len());
    for (((collector, report), left_out), ablations) in
        collectors.into_iter().zip(&mut reports).zip(left_out).zip(ablations)
    {
        let Collector { sae, statistics, .. } = collector;
        let logits = match &unembedding {
            Some(unembedding) => unembedding.effects(&sae, settings.logit_tokens, progress)?,
            None => Vec::new(),
        };
        let nearest = if settings.nearest > 0 {
            let gauge = progress.latents("nearest latents", Some(sae.width() as u64));
            sae.nearest_latents(settings.nearest, |latents| gauge.advance(latents))?
        } else {
            vec![Vec::new(); sae.width()]
        };
        drop(sae);
        let own = statistics.finish(&numbers);
        report.complete(&own, left_out);
        finished.push((own, Additions { nearest, logits, ablations }));
    }
    let report = LatentsReport::new(settings, &context, &places, median, reports);
    write(settings, &context, &places, tokenizer.as_ref(), &report, &finished)?;
    context.cache.log_traffic();
    Ok(report)
}

/// Indices of the shards to read.
fn places(settings: &LatentsSettings, cache: &Cache) -> Result<Vec<usize>, EvaluateError> {
    let shards = cache.manifest().shards.iter().enumerate();
    let wanted = shards.filter(|(_, shard)| settings.shards.contains(shard.index as u64));
    let places: Vec<usize> = wanted.map(|(place, _)| place).collect();
    if places.is_empty() {
        let held: Vec<usize> = cache.manifest().shards.iter().map(|shard| shard.index).collect();
        let (cache, range) = (cache.folder().to_path_buf(), settings.shards);
        return Err(EvaluateError::NoShards { cache, range, held: list(&held) });
    }
    Ok(places)
}

/// Statistics of an SAE's latents, and what stands beside them.
type Finished = (SaeLatents, Additions);

/// Writes both files. Neither appears before both are whole.
fn write(
    settings: &LatentsSettings,
    context: &EvaluationContext,
    places: &[usize],
    tokenizer: Option<&Tokenizer>,
    report: &LatentsReport,
    finished: &[Finished],
) -> Result<(), EvaluateError> {
    let path = settings.out.join(LATENTS);
    let unwritten = |error: serde_json::Error| LatentsError::Write { path: path.clone(), cause: error.into() };
    let about = report.json().map_err(unwritten)?;
    let has = OptionalColumns { logits: settings.logits_of.is_some(), ablation: settings.ablate.is_some() };
    let mut latents = LatentsFile::create(&path, has, &about)?;
    let mut examples = ExamplesFile::create(&settings.out.join(EXAMPLES), tokenizer.is_some(), &about)?;
    let text = |token: u32| tokenizer.map(|own| own.vocabulary_text(token));
    for ((own, beside), SaeLatentsReport { name, .. }) in finished.iter().zip(&report.saes) {
        latents.write(name, own, beside, text)?;
        let mut first = 0;
        for run in contexts::runs(&own.latents) {
            let contexts = contexts::read(&context.cache, places, run, settings.window)?;
            let rows: Vec<ExampleRow<'_>> = (first..).zip(run).flat_map(|own| rows(own, &contexts)).collect();
            for rows in rows.chunks(ROWS_AT_ONCE) {
                examples.write(name, rows, |token| text(token).unwrap_or_default())?;
            }
            first += run.len() as u32;
        }
    }
    latents.finish()?;
    Ok(examples.finish()?)
}

/// The examples of a latent, with their contexts.
fn rows<'own>(
    (latent, own): (u32, &'own Latent),
    contexts: &'own contexts::Contexts,
) -> impl Iterator<Item = ExampleRow<'own>> {
    let kinds = [(ExampleKind::Top, &own.top), (ExampleKind::Sampled, &own.sampled)];
    kinds.into_iter().flat_map(move |(kind, examples)| {
        (0..).zip(examples).filter_map(move |(rank, example)| {
            let context = contexts.get(&contexts::place_of(example))?;
            Some(ExampleRow { latent, kind, rank, example, context })
        })
    })
}
