//! Measuring SAEs, each by itself, on some shards of a cache.

use hayloft_model::Precision;
use hayloft_terminal::{Part, Profiling, Progress};

use crate::baseline::{self, Baselines, CleanSource, Wanted};
use crate::candidate::Candidate;
use crate::clean_check::{CleanCheck, clean_check};
use crate::compute_effect::{self, Sample};
use crate::kl::KlWay;
use crate::names::unique_names;
use crate::outliers::{MedianRule, OutlierNorm, OutlierRule, OutlierThreshold};
use crate::partial::{Measurement, SaeIdentity, SectionMeasurement};
use crate::pass::{Keep, SectionOutcome, pass};
use crate::prepared::PreparedBaselines;
use crate::protocol::{
    cache_identity, clean_source, protocol, provenance, takes_cached_losses, threshold, warn_of_other_outliers,
};
use crate::reading::Reading;
use crate::sae_scale::{scale_on, scale_rule};
use crate::scale::{Scale, ScaleRule};
use crate::settings::{RunSettings, each_once};
use crate::share::Share;
use crate::source::Source;
use crate::stored_rounding;
use crate::subject::{Subject, open_saes, say_traffic};
use crate::trained_on;
use crate::upper_half::UpperHalf;
use crate::{EvaluateError, SaeFile};

/// Measures a part of the shards, or all of them; with the tokens that were gone through.
pub(crate) fn measure(
    settings: &RunSettings,
    part: Option<Part>,
    progress: Progress,
    profiling: &mut Profiling,
) -> Result<(Measurement, u64), EvaluateError> {
    let job = Job::open(settings, part)?;
    let upper_half = job.upper_half()?;
    let reading = Reading { upper_half: upper_half.as_ref(), kl: job.kl };
    profiling.start();
    let ready = job.prepare(reading, false, progress)?;
    let stored_rounding = if job.share.has_first() {
        stored_rounding::measure(&job.subject, job.source(), reading.upper_half)?
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
    let subject = &job.subject;
    let measurement = Measurement {
        cache: cache_identity(subject),
        protocol: protocol(settings, subject, (ready.clean_source, job.kl, ready.median), Some(subject.point.label())),
        shards: job.share.numbers(&subject.cache),
        clean_check: ready.clean_check,
        stored_rounding,
        sections: sections.collect(),
        saes: job.saes(&ready),
    };
    say_traffic(&subject.cache);
    Ok((measurement, job.share.tokens(&subject.cache)))
}

/// Computes and keeps the baselines of a part of the shards, or of all of them.
pub(crate) fn only_baselines(
    settings: &RunSettings,
    part: Option<Part>,
    progress: Progress,
) -> Result<PreparedBaselines, EvaluateError> {
    let job = Job::open(settings, part)?;
    let upper_half = job.upper_half()?;
    let reading = Reading { upper_half: upper_half.as_ref(), kl: job.kl };
    job.prepare(reading, true, progress)?;
    say_traffic(&job.subject.cache);
    Ok(PreparedBaselines::of(&job.subject, &job.share))
}

/// What comes of a section of an SAE, whose place in the list stands before it.
type OfSae = (usize, SectionOutcome);

/// What is to be measured on what.
struct Job<'run> {
    settings: &'run RunSettings,
    files: Vec<SaeFile>,
    names: Vec<String>,
    scales: Vec<Scale>,
    subject: Subject,
    kl: Option<KlWay>,
    share: Share,
}

/// What has to be known before the first SAE is measured.
struct Ready {
    clean_check: Option<CleanCheck>,
    clean_source: Option<CleanSource>,
    median: Option<MedianRule>,
    /// Of each SAE.
    thresholds: Vec<Option<OutlierThreshold>>,
    rules: Vec<OutlierRule>,
    baselines: Baselines,
}

impl<'run> Job<'run> {
    fn open(settings: &'run RunSettings, part: Option<Part>) -> Result<Self, EvaluateError> {
        let files = open_saes(settings.saes.iter().map(AsRef::as_ref), settings.sae_format)?;
        let subject = Subject::open(settings, &files)?;
        let names = unique_names(&settings.saes);
        for (name, file) in names.iter().zip(&files) {
            trained_on::tell(name, file, &subject);
        }
        let scales = resolve_scales(settings, &subject, &files, &names)?;
        let kl = resolve_kl(settings, &subject)?;
        let share = Share::of(part, &subject.cache);
        Ok(Self { settings, files, names, scales, subject, kl, share })
    }

    fn source(&self) -> Source<'_> {
        self.subject.source(self.settings.device, self.kl)
    }

    /// The model, if there is one and anything to run through it.
    fn upper_half(&self) -> Result<Option<UpperHalf>, EvaluateError> {
        if self.share.places.is_empty() {
            return Ok(None);
        }
        self.subject.upper_half(self.subject.precision, self.settings.device)
    }

    /// Tries the cache, and gets together what depends on no SAE; if that is `alone` what is wanted, of this part's shards only.
    fn prepare(&self, reading: Reading<'_>, alone: bool, progress: Progress) -> Result<Ready, EvaluateError> {
        let Self { settings, subject, .. } = self;
        let clean_check = match reading.upper_half {
            Some(upper_half) => clean_check(subject, self.source(), self.share.places.start, upper_half)?,
            None => None,
        };
        let clean_source = clean_source(settings, subject, clean_check);
        let median = match settings.outlier_norm {
            Some(OutlierNorm::MedianMultiple(multiple)) => {
                Some(MedianRule::measure(multiple, self.source(), progress)?)
            }
            _ => None,
        };
        // Of each SAE, on what it is given.
        let thresholds: Vec<Option<OutlierThreshold>> =
            self.scales.iter().map(|scale| threshold(settings, median, scale)).collect();
        for (((file, name), scale), own) in self.files.iter().zip(&self.names).zip(&self.scales).zip(&thresholds) {
            warn_of_other_outliers(file, name, scale, own.as_ref());
        }
        let rules: Vec<OutlierRule> = thresholds.iter().copied().map(OutlierRule::of).collect();
        let wanted = Wanted {
            sections: settings.sections(),
            rules: each_once(&rules),
            clean_source: clean_source.unwrap_or(CleanSource::Cache),
            share: self.share.clone(),
            alone,
        };
        let baselines = baseline::prepare(subject, self.source(), reading, &wanted, progress)?;
        Ok(Ready { clean_check, clean_source, median, thresholds, rules, baselines })
    }

    /// What comes of each section of each SAE, and of each the sample of a lower precision,
    /// where one is taken.
    fn pass(
        &self,
        reading: Reading<'_>,
        ready: &Ready,
        progress: Progress,
    ) -> Result<(Vec<OfSae>, Vec<Sample>), EvaluateError> {
        let Self { settings, subject, share, .. } = self;
        let (sections, places) = (settings.sections(), &share.places);
        let keep = Keep { sequences: settings.bootstrap.is_some(), subsets: settings.by_subset };
        if places.is_empty() {
            let empty = |(sae, file): (usize, &SaeFile)| {
                let width = file.width();
                sections.iter().map(move |&section| (sae, SectionOutcome::empty(width, section, places, keep)))
            };
            return Ok((self.files.iter().enumerate().flat_map(empty).collect(), Vec::new()));
        }
        let place = (settings.compute.unwrap_or(Precision::F32), settings.device);
        let load = |((file, scale), &rule): ((_, &Scale), _)| {
            Candidate::load(file, scale.value, rule, &sections, &ready.baselines, place)
        };
        let saes = self.files.iter().zip(&self.scales).zip(&ready.rules);
        let candidates: Vec<Candidate<'_>> = saes.map(load).collect::<Result<_, _>>()?;
        let low = settings.compute.filter(|&precision| precision != Precision::F32 && share.has_first());
        let sample_rows = if low.is_some() { compute_effect::sample_rows(subject) } else { 0 };
        let gauge = progress.gauge("evaluating", Some(share.tokens(&subject.cache)));
        let (outcomes, sample) =
            pass(self.source(), places, &candidates, &sections, reading, (sample_rows, keep), &gauge)?;
        drop(gauge);
        let samples = match low {
            Some(precision) => {
                let (source, baselines) = (self.source(), &ready.baselines);
                compute_effect::measure(settings, subject, source, &candidates, &sample, baselines, precision)?
            }
            None => Vec::new(),
        };
        let mut all = Vec::new();
        for (sae, (candidate, outcomes)) in candidates.iter().zip(outcomes).enumerate() {
            for mut outcome in outcomes {
                outcome.complete(&ready.baselines, candidate);
                all.push((sae, outcome));
            }
        }
        Ok((all, samples))
    }

    /// The SAEs, with what was resolved for each.
    fn saes(&self, ready: &Ready) -> Vec<SaeIdentity> {
        let own = self.files.iter().zip(&self.names).zip(&self.scales).zip(&ready.thresholds);
        own.map(|(((file, name), scale), outliers)| SaeIdentity {
            name: name.clone(),
            site: self.subject.point.label(),
            scale: scale.value,
            scale_source: scale.source,
            scale_rows: scale.rows.clone(),
            outliers: *outliers,
            spliced_with: Vec::new(),
            provenance: provenance(file),
        })
        .collect()
    }
}

fn resolve_scales(
    settings: &RunSettings,
    subject: &Subject,
    files: &[SaeFile],
    names: &[String],
) -> Result<Vec<Scale>, EvaluateError> {
    let mut scales = Vec::with_capacity(files.len());
    // What is averaged over some rows reads the tables of the whole cache.
    let mut known: Vec<(ScaleRule, Scale)> = Vec::new();
    for (file, name) in files.iter().zip(names) {
        let rule = scale_rule(settings, file);
        let scale = match known.iter().find(|(other, _)| *other == rule) {
            Some((_, scale)) => scale.clone(),
            None => scale_on(&rule, settings, file, &subject.cache, &subject.point.input)?,
        };
        known.push((rule, scale.clone()));
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
