//! An evaluation from beginning to end.

use hayloft_model::{Precision, matrix_product_rate};
use hayloft_terminal::{MatrixRates, Profile, Profiling, Progress};

use crate::baseline::{self, CleanSource, Wanted};
use crate::candidate::Candidate;
use crate::clean_check::{CleanCheck, clean_check};
use crate::columns::Columns;
use crate::compute_effect::{self, ComputeEffect};
use crate::conventions::ResultConventions;
use crate::details;
use crate::kl::{Kl, KlWay};
use crate::names::unique_names;
use crate::outliers::{MedianRule, OutlierNorm, OutlierRule};
use crate::pass::{SectionOutcome, pass};
use crate::reading::Reading;
use crate::results::{DEFINITIONS, Provenance, Results, SaeProvenance, SaeResult, ShardResult};
use crate::scale::Scale;
use crate::settings::{RunSettings, Splice, each_once};
use crate::stored_rounding::{self, StoredRounding};
use crate::subject::{Subject, open_saes, say_traffic};
use crate::sums::Sums;
use crate::together;
use crate::{EvaluateError, SaeFile};

/// Evaluates SAEs against a cache.
///
/// The model's layers below the site are never loaded, the clean losses come from the cache, and what depends on no SAE
/// is computed once and kept beside the cache: each SAE costs one upper half of a forward pass.
///
/// ```no_run
/// use hayloft_evaluate::{RunSettings, run};
/// use hayloft_terminal::Progress;
/// # fn main() -> Result<(), hayloft_evaluate::EvaluateError> {
/// let settings = RunSettings {
///     outlier_norm: Some(200.0.into()),
///     ..RunSettings::new("mistral-7b", "cache", vec!["saes/base".into(), "saes/chat".into()])
/// };
/// for result in run(&settings, Progress::Silent)?.results {
///     println!("{}: L0 {:?}, CE recovered {:?}", result.sae, result.columns.l0, result.columns.ce_recovered);
/// }
/// # Ok(()) }
/// ```
pub fn run(settings: &RunSettings, progress: Progress) -> Result<Results, EvaluateError> {
    evaluate(settings, progress, &mut Profiling::begin())
}

/// The same, with where the time went.
pub fn run_profiled(settings: &RunSettings, progress: Progress) -> Result<(Results, Profile), EvaluateError> {
    let mut profiling = Profiling::begin();
    let results = evaluate(settings, progress, &mut profiling)?;
    let tokens = results.tokens;
    let precision = results.results.first().map_or(Precision::F32, |result| {
        // Without a model, only SAEs were computed.
        if settings.model.is_some() { result.precision } else { settings.compute.unwrap_or(Precision::F32) }
    });
    let measure = || -> Result<MatrixRates, EvaluateError> {
        let products = matrix_product_rate(precision, settings.device)?;
        Ok(MatrixRates { products, screening: matrix_product_rate(Precision::Bf16, settings.device)? })
    };
    let profile = profiling.finish(tokens, measure)?;
    Ok((results, profile))
}

fn evaluate(settings: &RunSettings, progress: Progress, profiling: &mut Profiling) -> Result<Results, EvaluateError> {
    settings.check()?;
    let _no_grad = hayloft_model::no_grad();
    if settings.splice == Splice::Together {
        return together::evaluate(settings, progress, profiling);
    }
    let files = open_saes(settings.saes.iter().map(AsRef::as_ref), settings.sae_format)?;
    let subject = Subject::open(settings, &files)?;
    let names = unique_names(&settings.saes);
    let scales = resolve_scales(settings, &subject, &files, &names)?;
    let kl = resolve_kl(settings, &subject)?;
    let source = subject.source(settings.device, kl);
    let upper_half = subject.upper_half(subject.precision, settings.device)?;
    let upper_half = upper_half.as_ref();
    let reading = Reading { upper_half, kl };
    profiling.start();

    let clean_check = match upper_half {
        Some(upper_half) => clean_check(&subject, source, upper_half)?,
        None => None,
    };
    let stored_rounding = stored_rounding::measure(&subject, source, upper_half)?;
    let clean_source = clean_source(settings, &subject, clean_check);
    let sections = settings.sections();
    let median = match settings.outlier_norm {
        Some(OutlierNorm::MedianMultiple(multiple)) => Some(MedianRule::measure(multiple, source, progress)?),
        _ => None,
    };
    // Of each SAE, on what it is given.
    let norms: Vec<Option<f64>> = scales.iter().map(|scale| largest_norm(settings, median, *scale)).collect();
    let rules: Vec<OutlierRule> =
        norms.iter().zip(&scales).map(|(norm, scale)| OutlierRule::new(*norm, scale.value)).collect();
    let wanted = Wanted {
        sections: sections.clone(),
        rules: each_once(&rules),
        clean_source: clean_source.unwrap_or(CleanSource::Cache),
    };
    let baselines = baseline::prepare(&subject, source, reading, &wanted, progress)?;

    let place = (settings.compute.unwrap_or(Precision::F32), settings.device);
    let load = |((file, &scale), &rule)| Candidate::load(file, scale, rule, &sections, &baselines, place);
    let candidates: Vec<Candidate<'_>> = files.iter().zip(&scales).zip(&rules).map(load).collect::<Result<_, _>>()?;
    let tokens = subject.cache.manifest().held.tokens;
    let gauge = progress.gauge("evaluating", Some(tokens));
    let low = settings.compute.filter(|&precision| precision != Precision::F32);
    let sample_rows = if low.is_some() { compute_effect::sample_rows(&subject) } else { 0 };
    let keep = settings.bootstrap.is_some() || settings.by_subset;
    let (outcomes, sample) = pass(source, &candidates, &sections, reading, sample_rows, keep, &gauge)?;
    drop(gauge);
    let mut effects = match low {
        Some(precision) => {
            compute_effect::measure(settings, &subject, source, &candidates, &sample, &baselines, precision)?
        }
        None => Vec::new(),
    }
    .into_iter();

    let report = Report { settings, subject: &subject, clean_source, kl, median, stored_rounding };
    let (mut results, mut latents, mut sequences) = (Vec::new(), Vec::new(), Vec::new());
    for ((candidate, outcomes), name) in candidates.iter().zip(outcomes).zip(names) {
        let provenance = provenance(&subject, candidate.file);
        for mut outcome in outcomes {
            outcome.complete(&baselines, candidate);
            results.push(report.result(
                &name,
                (candidate.scale, candidate.target_scale()),
                &outcome,
                effects.next(),
                &provenance,
            ));
            latents.push(outcome.latents);
            sequences.extend(outcome.sequences);
        }
    }
    details::add(&mut results, &sequences, settings, &subject)?;
    warn_of_non_finite(&results);
    say_traffic(&subject.cache);
    Ok(Results { results, latents, clean_check, tokens })
}

/// The largest norm, after scaling, that is no outlier.
pub(crate) fn largest_norm(settings: &RunSettings, median: Option<MedianRule>, scale: Scale) -> Option<f64> {
    match (settings.outlier_norm?, median) {
        (OutlierNorm::Absolute(norm), _) => Some(norm),
        (OutlierNorm::MedianMultiple(_), median) => Some(median?.threshold() * scale.value),
    }
}

fn resolve_scales(
    settings: &RunSettings,
    subject: &Subject,
    files: &[SaeFile],
    names: &[String],
) -> Result<Vec<Scale>, EvaluateError> {
    let mut scales = Vec::with_capacity(files.len());
    for (file, name) in files.iter().zip(names) {
        let scale = settings.scale.resolve(file.normalisation(), &subject.point.input)?;
        tracing::info!(sae = %name, architecture = file.architecture(), width = file.width(), %scale, "SAE");
        scales.push(scale);
    }
    Ok(scales)
}

/// How divergences are computed, if they are wanted.
fn resolve_kl(settings: &RunSettings, subject: &Subject) -> Result<Option<KlWay>, EvaluateError> {
    let Some(choice) = settings.kl else { return Ok(None) };
    let way = choice.resolve(&subject.cache, takes_cached_losses(settings, subject))?;
    tracing::info!(%way, "KL(clean ‖ spliced)");
    Ok(Some(way))
}

/// Whether what the cache has of clean predictions is what spliced ones are held against: it was computed in the same
/// precision, or the run computes in a lower one for speed alone.
fn takes_cached_losses(settings: &RunSettings, subject: &Subject) -> bool {
    subject.cache_precision == subject.precision || settings.compute.is_some()
}

/// Says how the check went, and decides where clean losses come from; `None` without a model.
pub(crate) fn clean_source(
    settings: &RunSettings,
    subject: &Subject,
    clean_check: Option<CleanCheck>,
) -> Option<CleanSource> {
    if subject.checkpoint.is_none() {
        tracing::info!("no --model, so no losses: L0, error and explained variance only");
        return None;
    }
    if let Some(CleanCheck { tokens, max_difference, tolerance }) = clean_check {
        tracing::info!(
            tokens,
            max_difference,
            tolerance,
            "clean loss from the cached residual, against the cached loss"
        );
    }
    let (cache, now) = (subject.cache_precision, subject.precision);
    Some(if subject.cache.manifest().predictions.is_none() {
        tracing::info!("the cache keeps no losses (--logits none), so the clean losses are computed too");
        CleanSource::Recomputed
    } else if !takes_cached_losses(settings, subject) {
        tracing::info!(%cache, %now, "the cached losses are of another precision, so the clean losses are computed again");
        CleanSource::Recomputed
    } else {
        CleanSource::Cache
    })
}

fn warn_of_non_finite(results: &[SaeResult]) {
    for SaeResult { sae, section, sums, .. } in results {
        if sums.non_finite_rows > 0 {
            let rows = sums.non_finite_rows;
            tracing::warn!(%sae, %section, rows, "activations with NaN or infinity count as outliers");
        }
    }
}

/// What results have in common.
pub(crate) struct Report<'run> {
    pub(crate) settings: &'run RunSettings,
    pub(crate) subject: &'run Subject,
    pub(crate) clean_source: Option<CleanSource>,
    pub(crate) kl: Option<KlWay>,
    pub(crate) median: Option<MedianRule>,
    pub(crate) stored_rounding: Option<StoredRounding>,
}

impl Report<'_> {
    pub(crate) fn result(
        &self,
        name: &str,
        (scale, target_scale): (Scale, f64),
        outcome: &SectionOutcome,
        compute_effect: Option<ComputeEffect>,
        provenance: &Provenance,
    ) -> SaeResult {
        let SectionOutcome { section, shards, latents, .. } = outcome;
        let sums = Sums::total(shards);
        let numbers = self.subject.cache.manifest().shards.iter().map(|shard| shard.index);
        SaeResult {
            sae: name.to_owned(),
            section: *section,
            site: self.subject.point.label(),
            columns: Columns::of(&sums, target_scale),
            scale: scale.value,
            scale_source: scale.source,
            outlier_norm: largest_norm(self.settings, self.median, scale),
            conventions: self.conventions(),
            precision: self.subject.precision,
            clean_loss_source: self.clean_source,
            compute_effect,
            kl: self.kl.map(|way| self.divergence(way, &sums)),
            intervals: None,
            subsets: Vec::new(),
            stored_rounding: self.stored_rounding,
            definitions: DEFINITIONS.to_owned(),
            latents: latents.summary(),
            sums,
            shards: numbers.zip(shards).map(|(shard, sums)| ShardResult { shard, sums: sums.clone() }).collect(),
            provenance: provenance.clone(),
        }
    }

    fn conventions(&self) -> ResultConventions {
        let Subject { weights, excluded, .. } = self.subject;
        ResultConventions {
            weights: *weights,
            exclude: excluded.choice,
            excluded_tokens: excluded.tokens(),
            outlier_median: self.median,
            spliced_with: Vec::new(),
        }
    }

    fn divergence(&self, way: KlWay, sums: &Sums) -> Kl {
        let spliced = self.subject.precision;
        let clean = if way == KlWay::Recomputed { spliced } else { self.subject.cache_precision };
        Kl::of(sums.kl, sums.loss_tokens, way, (clean, spliced))
    }
}

/// Where the figures of an SAE come from. Reads its weights once.
pub(crate) fn provenance(subject: &Subject, file: &SaeFile) -> Provenance {
    let cache = &subject.cache;
    Provenance {
        hayloft_version: env!("CARGO_PKG_VERSION").to_owned(),
        corpus: cache.manifest().corpus.name.clone(),
        manifest_blake3: cache.manifest_blake3().to_owned(),
        model: subject.fingerprint.clone(),
        sae: SaeProvenance {
            folder: file.folder().display().to_string(),
            format: Some(file.format()),
            architecture: file.architecture().to_owned(),
            width: file.width(),
            normalize_activations: file.normalisation().as_str().to_owned(),
            site: file.site().map(str::to_owned),
            model_name: file.model_name().map(str::to_owned),
            files: file.hashes(),
        },
    }
}
