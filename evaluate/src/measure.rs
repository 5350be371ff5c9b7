//! Measures SAEs on some shards of a cache.

use hayloft_results::{CleanCheck, CleanSource, ComputeSample, KlMethod};
use hayloft_rows::{MedianRule, OutlierNorm, OutlierRule, OutlierThreshold, SectionChoice};
use hayloft_runtime::{Dtype, Part, Profiling, Progress};
use hayloft_sae::SaeError;

use crate::baseline::summary::PreparedBaselines;
use crate::baseline::{self, Baselines, Wanted};
use crate::data::reader::CacheReader;
use crate::error::EvaluateError;
use crate::metrics::pass::{Keep, Outcomes, SectionOutcome, pass};
use crate::metrics::{compute_effect, stored_rounding};
use crate::parts::{Measurement, SaeIdentity, SectionMeasurement};
use crate::session::clean_check::clean_check;
use crate::session::context::EvaluationContext;
use crate::session::median::median_rule;
use crate::session::protocol::{
    cache_identity, clean_source, protocol, provenance, takes_cached_losses, threshold, warn_of_other_outliers,
};
use crate::session::run_saes::{RunSae, RunSaes};
use crate::session::settings::{RunSettings, Splice, each_once};
use crate::session::shard_range::ShardRange;
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
    let session = Session::open(settings, part, progress)?;
    let upper_model = session.upper_model()?;
    let reading = session.reading(upper_model.as_ref());
    profiling.start();
    let ready = session.prepare(reading, false, progress)?;
    let stored_rounding = if session.range.has_first() {
        stored_rounding::measure(&session.context, session.source(), reading.upper_model)?
    } else {
        None
    };
    let sections = session.pass(reading, &ready, progress)?;
    let context = &session.context;
    let site = (settings.splice == Splice::EachAlone).then(|| context.point.label());
    let measurement = Measurement {
        cache: cache_identity(context),
        protocol: protocol(settings, context, (ready.clean_source, session.kl, ready.median), site),
        shards: session.range.numbers(&context.cache),
        clean_check: ready.clean_check,
        stored_rounding,
        sections,
        saes: session.identities(&ready)?,
    };
    context.cache.log_traffic();
    Ok((measurement, session.range.tokens(&context.cache)))
}

/// Computes and stores the baselines of a part of the shards, or of all of them.
pub(crate) fn only_baselines(
    settings: &RunSettings,
    part: Option<Part>,
    progress: Progress,
) -> Result<PreparedBaselines, EvaluateError> {
    let session = Session::open(settings, part, progress)?;
    let upper_model = session.upper_model()?;
    session.prepare(session.reading(upper_model.as_ref()), true, progress)?;
    session.context.cache.log_traffic();
    Ok(PreparedBaselines::of(&session.context, &session.range))
}

/// The opened inputs of a run.
struct Session<'run> {
    settings: &'run RunSettings,
    run: RunSaes,
    context: EvaluationContext,
    kl: Option<KlMethod>,
    range: ShardRange,
}

/// Quantities needed before the first SAE is measured.
struct Ready {
    clean_check: Option<CleanCheck>,
    clean_source: Option<CleanSource>,
    median: Option<MedianRule>,
    /// One per SAE.
    thresholds: Vec<Option<OutlierThreshold>>,
    /// One per splice site; losses and divergences stand in the first.
    baselines: Vec<Baselines>,
}

impl<'run> Session<'run> {
    fn open(settings: &'run RunSettings, part: Option<Part>, progress: Progress) -> Result<Self, EvaluateError> {
        let (run, context) = RunSaes::open(settings, progress)?;
        let kl = resolve_kl(settings, &context)?;
        let range = ShardRange::of(part, &context.cache);
        Ok(Self { settings, run, context, kl, range })
    }

    /// A reader of the lowest splice site.
    fn source(&self) -> CacheReader<'_> {
        self.context.source(&self.context.point, self.settings.device, self.kl)
    }

    /// The model from the lowest splice site up, if there is a model and the range has shards.
    fn upper_model(&self) -> Result<Option<UpperModel>, EvaluateError> {
        if self.range.places.is_empty() {
            return Ok(None);
        }
        self.context.upper_model(self.context.precision, self.settings.device)
    }

    fn reading<'own>(&'own self, upper_model: Option<&'own UpperModel>) -> PredictionReader<'own> {
        let further = self.run.sites.get(1..).unwrap_or_default();
        PredictionReader { upper_model, further, kl: self.kl }
    }

    /// Checks the cache and prepares everything that depends on no SAE. `alone` restricts baselines to this part's
    /// shards.
    fn prepare(&self, reading: PredictionReader<'_>, alone: bool, progress: Progress) -> Result<Ready, EvaluateError> {
        let Self { settings, run: RunSaes { saes, sites }, context, .. } = self;
        let clean_check = match reading.upper_model {
            Some(upper_model) => clean_check(context, self.source(), self.range.places.start, upper_model)?,
            None => None,
        };
        let clean_source = clean_source(settings, context, clean_check);
        let median = match settings.outlier_norm {
            Some(OutlierNorm::MedianMultiple(multiple)) => Some(median_rule(multiple, self.source(), progress)?),
            _ => None,
        };
        // One per SAE, in the scale of its input.
        let thresholds: Vec<Option<OutlierThreshold>> =
            saes.iter().map(|sae| threshold(settings, median, &sae.scale)).collect();
        for (sae, own) in saes.iter().zip(&thresholds) {
            warn_of_other_outliers(&sae.file, &sae.name, &sae.scale, own.as_ref())?;
        }
        let mut baselines = Vec::with_capacity(sites.len());
        for (index, site) in sites.iter().enumerate() {
            let at_site = saes.iter().zip(&thresholds).filter(|(sae, _)| sae.site == index);
            let rules: Vec<OutlierRule> = at_site.map(|(_, own)| OutlierRule::of(*own)).collect();
            let wanted = Wanted {
                sections: settings.sections(),
                rules: each_once(&rules),
                clean_source: clean_source.unwrap_or(CleanSource::Cache),
                range: self.range.clone(),
                alone,
            };
            // Losses and divergences are those of all sites together, from the lowest one up.
            let (reading, kl) = if index == 0 { (reading, self.kl) } else { (PredictionReader::NONE, None) };
            let source = context.source(site, settings.device, kl);
            baselines.push(baseline::prepare(context, source, reading, &wanted, progress)?);
        }
        Ok(Ready { clean_check, clean_source, median, thresholds, baselines })
    }

    /// Measures each section of each SAE, in the order of results.
    fn pass(
        &self,
        reading: PredictionReader<'_>,
        ready: &Ready,
        progress: Progress,
    ) -> Result<Vec<SectionMeasurement>, EvaluateError> {
        let Self { settings, run: RunSaes { saes, .. }, context, range, .. } = self;
        let (sections, places) = (settings.sections(), &range.places);
        let keep = Keep { sequences: settings.bootstrap.is_some(), subsets: settings.by_subset };
        if places.is_empty() {
            let empty = |sae: &RunSae, section| SectionOutcome::empty(sae.file.width(), section, places, keep);
            let outcomes = |sae| sections.iter().map(|&section| empty(sae, section)).collect();
            return Ok(self.in_order(saes.iter().map(outcomes).collect(), Vec::new()));
        }
        let place = (settings.compute.unwrap_or(Dtype::F32), settings.device);
        let mut runners = Vec::with_capacity(saes.len());
        for (sae, own) in saes.iter().zip(&ready.thresholds) {
            let (rule, baselines) = (OutlierRule::of(*own), &ready.baselines[sae.site]);
            runners.push(SaeRunner::load(&sae.file, sae.scale.value, rule, &sections, baselines, place)?);
        }
        let low = settings.compute.filter(|&precision| precision != Dtype::F32 && range.has_first());
        let sample_rows = if low.is_some() { compute_effect::sample_rows(context) } else { 0 };
        let gauge = progress.gauge("evaluating", Some(range.tokens(&context.cache)));
        let (mut outcomes, sample) =
            pass(self.source(), places, &runners, &sections, reading, (sample_rows, keep), &gauge)?;
        drop(gauge);
        let samples = match low {
            Some(precision) => {
                compute_effect::measure(settings, context, self.source(), &runners, reading, &sample, precision)?
            }
            None => Vec::new(),
        };
        for outcome in outcomes.iter_mut().flatten() {
            outcome.complete(&ready.baselines[0]);
        }
        Ok(self.in_order(outcomes, samples))
    }

    /// The outcomes in the order of results: by SAE, or by section if SAEs are spliced together. `samples` are in the
    /// order of the outcomes.
    fn in_order(&self, outcomes: Outcomes, samples: Vec<ComputeSample>) -> Vec<SectionMeasurement> {
        let mut samples = samples.into_iter();
        let mut measured = Vec::new();
        for (sae, outcomes) in outcomes.into_iter().enumerate() {
            for SectionOutcome { section, shards, latents, sequences, subsets, .. } in outcomes {
                let sample = samples.next();
                measured.push(SectionMeasurement { sae, section, shards, latents, sequences, subsets, sample });
            }
        }
        if self.settings.splice == Splice::Together {
            let sections = self.settings.sections();
            let place = |section: SectionChoice| sections.iter().position(|&own| own == section);
            measured.sort_by_key(|own| place(own.section));
        }
        measured
    }

    /// The SAEs and the settings resolved for each.
    fn identities(&self, ready: &Ready) -> Result<Vec<SaeIdentity>, SaeError> {
        let saes = &self.run.saes;
        let spliced_with = |own: &RunSae| match self.settings.splice {
            Splice::EachAlone => Vec::new(),
            Splice::Together => saes.iter().map(|sae| sae.name.clone()).filter(|name| *name != own.name).collect(),
        };
        let identity = |(own, outliers): (&RunSae, &Option<OutlierThreshold>)| {
            Ok(SaeIdentity {
                name: own.name.clone(),
                site: self.run.sites[own.site].label(),
                scale: own.scale.value,
                scale_source: own.scale.source,
                scale_rows: own.scale.rows.clone(),
                outliers: *outliers,
                spliced_with: spliced_with(own),
                provenance: provenance(&own.file)?,
            })
        };
        saes.iter().zip(&ready.thresholds).map(identity).collect()
    }
}

/// How divergences are computed, if requested.
fn resolve_kl(settings: &RunSettings, context: &EvaluationContext) -> Result<Option<KlMethod>, EvaluateError> {
    let Some(choice) = settings.kl else { return Ok(None) };
    let method = choice.resolve(&context.cache, takes_cached_losses(settings, context))?;
    tracing::info!(%method, "KL(clean ‖ spliced)");
    Ok(Some(method))
}
