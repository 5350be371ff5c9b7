//! Measures SAEs one at a time on some shards of a cache.

use hayloft_results::{CleanCheck, CleanSource, ComputeSample, KlMethod, unique_names};
use hayloft_rows::{MedianRule, OutlierNorm, OutlierRule, OutlierThreshold, Scale, ScaleRule};
use hayloft_runtime::{Dtype, Part, Profiling, Progress};
use hayloft_sae::{SaeError, SaeFile};

use crate::baseline::prepared::PreparedBaselines;
use crate::baseline::{self, Baselines, Wanted};
use crate::data::reader::CacheReader;
use crate::error::EvaluateError;
use crate::metrics::pass::{Keep, SectionOutcome, pass};
use crate::metrics::{compute_effect, stored_rounding};
use crate::parts::{Measurement, SaeIdentity, SectionMeasurement};
use crate::session::clean_check::clean_check;
use crate::session::context::{EvaluationContext, open_saes};
use crate::session::median::median_rule;
use crate::session::protocol::{
    cache_identity, clean_source, protocol, provenance, takes_cached_losses, threshold, warn_of_other_outliers,
};
use crate::session::scale::{scale_on, scale_rule};
use crate::session::settings::{RunSettings, each_once};
use crate::session::share::Share;
use crate::session::training_remarks;
use crate::splice::predictions::PredictionReader;
use crate::splice::sae_runner::SaeRunner;
use crate::splice::upper_model::UpperModel;

/// Measures a part of the shards, or all of them. Also returns the number of tokens processed.
pub(crate) fn measure(
    settings: &RunSettings,
    part: Option<Part>,
    progress: Progress,
    profiling: &mut Profiling,
) -> Result<(Measurement, u64), EvaluateError> {
    let job = Job::open(settings, part)?;
    let upper_model = job.upper_model()?;
    let reading = PredictionReader { upper_model: upper_model.as_ref(), kl: job.kl };
    profiling.start();
    let ready = job.prepare(reading, false, progress)?;
    let stored_rounding = if job.share.has_first() {
        stored_rounding::measure(&job.context, job.source(), reading.upper_model)?
    } else {
        None
    };
    let (outcomes, samples) = job.pass(reading, &ready, progress)?;
    let mut samples = samples.into_iter();
    let sections = outcomes.into_iter().map(|(sae, outcome)| SectionMeasurement {
        sae,
        section: outcome.section,
        shards: outcome.shards,
        latents: outcome.latents,
        sequences: outcome.sequences,
        subsets: outcome.subsets,
        sample: samples.next(),
    });
    let context = &job.context;
    let measurement = Measurement {
        cache: cache_identity(context),
        protocol: protocol(settings, context, (ready.clean_source, job.kl, ready.median), Some(context.point.label())),
        shards: job.share.numbers(&context.cache),
        clean_check: ready.clean_check,
        stored_rounding,
        sections: sections.collect(),
        saes: job.saes(&ready)?,
    };
    context.cache.log_traffic();
    Ok((measurement, job.share.tokens(&context.cache)))
}

/// Computes and stores the baselines of a part of the shards, or of all of them.
pub(crate) fn only_baselines(
    settings: &RunSettings,
    part: Option<Part>,
    progress: Progress,
) -> Result<PreparedBaselines, EvaluateError> {
    let job = Job::open(settings, part)?;
    let upper_model = job.upper_model()?;
    let reading = PredictionReader { upper_model: upper_model.as_ref(), kl: job.kl };
    job.prepare(reading, true, progress)?;
    job.context.cache.log_traffic();
    Ok(PreparedBaselines::of(&job.context, &job.share))
}

/// The outcome of one section of an SAE, preceded by the SAE's index.
type OfSae = (usize, SectionOutcome);

/// The inputs of a measurement.
struct Job<'run> {
    settings: &'run RunSettings,
    files: Vec<SaeFile>,
    names: Vec<String>,
    scales: Vec<Scale>,
    context: EvaluationContext,
    kl: Option<KlMethod>,
    share: Share,
}

/// Quantities needed before the first SAE is measured.
struct Ready {
    clean_check: Option<CleanCheck>,
    clean_source: Option<CleanSource>,
    median: Option<MedianRule>,
    /// One per SAE.
    thresholds: Vec<Option<OutlierThreshold>>,
    rules: Vec<OutlierRule>,
    baselines: Baselines,
}

impl<'run> Job<'run> {
    fn open(settings: &'run RunSettings, part: Option<Part>) -> Result<Self, EvaluateError> {
        let files = open_saes(settings.saes.iter().map(AsRef::as_ref), settings.sae_format)?;
        let context = EvaluationContext::open(settings, &files)?;
        let names = unique_names(&settings.saes);
        for (name, file) in names.iter().zip(&files) {
            training_remarks::tell(name, file, &context);
        }
        let scales = resolve_scales(settings, &context, &files, &names)?;
        let kl = resolve_kl(settings, &context)?;
        let share = Share::of(part, &context.cache);
        Ok(Self { settings, files, names, scales, context, kl, share })
    }

    fn source(&self) -> CacheReader<'_> {
        self.context.source(self.settings.device, self.kl)
    }

    /// The upper model, if there is a model and the share has shards.
    fn upper_model(&self) -> Result<Option<UpperModel>, EvaluateError> {
        if self.share.places.is_empty() {
            return Ok(None);
        }
        self.context.upper_model(self.context.precision, self.settings.device)
    }

    /// Checks the cache and prepares everything that depends on no SAE. `alone` restricts baselines to this part's
    /// shards.
    fn prepare(&self, reading: PredictionReader<'_>, alone: bool, progress: Progress) -> Result<Ready, EvaluateError> {
        let Self { settings, context, .. } = self;
        let clean_check = match reading.upper_model {
            Some(upper_model) => clean_check(context, self.source(), self.share.places.start, upper_model)?,
            None => None,
        };
        let clean_source = clean_source(settings, context, clean_check);
        let median = match settings.outlier_norm {
            Some(OutlierNorm::MedianMultiple(multiple)) => Some(median_rule(multiple, self.source(), progress)?),
            _ => None,
        };
        // One per SAE, in the scale of its input.
        let thresholds: Vec<Option<OutlierThreshold>> =
            self.scales.iter().map(|scale| threshold(settings, median, scale)).collect();
        for (((file, name), scale), own) in self.files.iter().zip(&self.names).zip(&self.scales).zip(&thresholds) {
            warn_of_other_outliers(file, name, scale, own.as_ref())?;
        }
        let rules: Vec<OutlierRule> = thresholds.iter().copied().map(OutlierRule::of).collect();
        let wanted = Wanted {
            sections: settings.sections(),
            rules: each_once(&rules),
            clean_source: clean_source.unwrap_or(CleanSource::Cache),
            share: self.share.clone(),
            alone,
        };
        let baselines = baseline::prepare(context, self.source(), reading, &wanted, progress)?;
        Ok(Ready { clean_check, clean_source, median, thresholds, rules, baselines })
    }

    /// Measures each section of each SAE. Also returns the lower-precision sample of each, if one is taken.
    fn pass(
        &self,
        reading: PredictionReader<'_>,
        ready: &Ready,
        progress: Progress,
    ) -> Result<(Vec<OfSae>, Vec<ComputeSample>), EvaluateError> {
        let Self { settings, context, share, .. } = self;
        let (sections, places) = (settings.sections(), &share.places);
        let keep = Keep { sequences: settings.bootstrap.is_some(), subsets: settings.by_subset };
        if places.is_empty() {
            let empty = |(sae, file): (usize, &SaeFile)| {
                let width = file.width();
                sections.iter().map(move |&section| (sae, SectionOutcome::empty(width, section, places, keep)))
            };
            return Ok((self.files.iter().enumerate().flat_map(empty).collect(), Vec::new()));
        }
        let place = (settings.compute.unwrap_or(Dtype::F32), settings.device);
        let load = |((file, scale), &rule): ((_, &Scale), _)| {
            SaeRunner::load(file, scale.value, rule, &sections, &ready.baselines, place)
        };
        let saes = self.files.iter().zip(&self.scales).zip(&ready.rules);
        let runners: Vec<SaeRunner<'_>> = saes.map(load).collect::<Result<_, _>>()?;
        let low = settings.compute.filter(|&precision| precision != Dtype::F32 && share.has_first());
        let sample_rows = if low.is_some() { compute_effect::sample_rows(context) } else { 0 };
        let gauge = progress.gauge("evaluating", Some(share.tokens(&context.cache)));
        let (outcomes, sample) =
            pass(self.source(), places, &runners, &sections, reading, (sample_rows, keep), &gauge)?;
        drop(gauge);
        let samples = match low {
            Some(precision) => {
                let (source, baselines) = (self.source(), &ready.baselines);
                compute_effect::measure(settings, context, source, &runners, &sample, baselines, precision)?
            }
            None => Vec::new(),
        };
        let mut all = Vec::new();
        for (sae, (runner, outcomes)) in runners.iter().zip(outcomes).enumerate() {
            for mut outcome in outcomes {
                outcome.complete(&ready.baselines, runner);
                all.push((sae, outcome));
            }
        }
        Ok((all, samples))
    }

    /// The SAEs and the settings resolved for each.
    fn saes(&self, ready: &Ready) -> Result<Vec<SaeIdentity>, SaeError> {
        let own = self.files.iter().zip(&self.names).zip(&self.scales).zip(&ready.thresholds);
        own.map(|(((file, name), scale), outliers)| {
            Ok(SaeIdentity {
                name: name.clone(),
                site: self.context.point.label(),
                scale: scale.value,
                scale_source: scale.source,
                scale_rows: scale.rows.clone(),
                outliers: *outliers,
                spliced_with: Vec::new(),
                provenance: provenance(file)?,
            })
        })
        .collect()
    }
}

fn resolve_scales(
    settings: &RunSettings,
    context: &EvaluationContext,
    files: &[SaeFile],
    names: &[String],
) -> Result<Vec<Scale>, EvaluateError> {
    let mut scales = Vec::with_capacity(files.len());
    // A scale averaged over some rows reads the tables of the whole cache, so each rule is evaluated once.
    let mut known: Vec<(ScaleRule, Scale)> = Vec::new();
    for (file, name) in files.iter().zip(names) {
        let rule = scale_rule(settings, file)?;
        let scale = match known.iter().find(|(other, _)| *other == rule) {
            Some((_, scale)) => scale.clone(),
            None => scale_on(&rule, settings, file, &context.cache, &context.point.input)?,
        };
        known.push((rule, scale.clone()));
        tracing::info!(sae = %name, architecture = file.architecture(), width = file.width(), %scale, "SAE");
        scales.push(scale);
    }
    Ok(scales)
}

/// How divergences are computed, if requested.
fn resolve_kl(settings: &RunSettings, context: &EvaluationContext) -> Result<Option<KlMethod>, EvaluateError> {
    let Some(choice) = settings.kl else { return Ok(None) };
    let method = choice.resolve(&context.cache, takes_cached_losses(settings, context))?;
    tracing::info!(%method, "KL(clean ‖ spliced)");
    Ok(Some(method))
}
