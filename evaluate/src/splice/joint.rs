//! Several SAEs spliced in together, at different sites.
//!
//! The forward pass starts from the cached activations of the lowest site. At each SAE's site its reconstruction
//! replaces the current activations, which the preceding SAEs have changed. So the activations of the spliced run are
//! each SAE's input and target. Losses are those of all SAEs together, and zero ablation zeroes all their sites at
//! once.

use std::ops::Range;
use std::path::Path;

use hayloft_model::{Site, Stop};
use hayloft_results::{CleanSource, position_bin, total_loss, unique_names};
use hayloft_rows::{OutlierRule, Scale, SectionChoice};
use hayloft_runtime::{Dtype, Gauge, Part, Phase, Profiling, Progress};
use hayloft_sae::{SaeError, SaeFile};
use hayloft_train::SiteError;
use tch::{Kind, Tensor};

use crate::baseline::prepared::PreparedBaselines;
use crate::baseline::{self, Baselines, Wanted};
use crate::data::batch::{Batch, as_given, row_norms};
use crate::data::reader::CacheReader;
use crate::error::EvaluateError;
use crate::metrics::pass::{Keep, SectionOutcome};
use crate::metrics::stored_rounding;
use crate::parts::{Measurement, SaeIdentity, SectionMeasurement};
use crate::session::clean_check::clean_check;
use crate::session::context::{EvaluationContext, open_saes};
use crate::session::protocol::{cache_identity, clean_source, protocol, provenance, threshold, warn_of_other_outliers};
use crate::session::scale::{scale_on, scale_rule};
use crate::session::settings::RunSettings;
use crate::session::share::Share;
use crate::session::splice_site::SpliceSite;
use crate::session::training_remarks;
use crate::splice::outcome::{BatchOutcome, Predicted};
use crate::splice::predictions::PredictionReader;
use crate::splice::sae_runner::SaeRunner;
use crate::splice::upper_model::UpperModel;

/// An SAE of the run with its input and target sites.
struct Placed {
    file: SaeFile,
    name: String,
    point: SpliceSite,
    input: Site,
}

/// Measures all SAEs together on a part of the shards, or on all of them. Also returns the number of tokens processed.
pub(crate) fn measure(
    settings: &RunSettings,
    part: Option<Part>,
    progress: Progress,
    profiling: &mut Profiling,
) -> Result<(Measurement, u64), EvaluateError> {
    let mut job = Job::open(settings, part)?;
    let context = &mut job.context;
    context.point = job.start.clone();
    let upper_model = context.upper_model(context.precision, settings.device)?;
    let Some(upper_model) = upper_model.as_ref() else { return Err(EvaluateError::TogetherWithoutModel) };
    profiling.start();
    let source = context.source(settings.device, None);
    let places = job.share.places.clone();
    let checked = if places.is_empty() { None } else { clean_check(context, source, places.start, upper_model)? };
    let stored_rounding =
        if job.share.has_first() { stored_rounding::measure(context, source, Some(upper_model))? } else { None };
    let clean_source = clean_source(settings, context, checked);

    let prepared = job.prepare(false, progress)?;
    let mut measured = Vec::new();
    for section in settings.sections() {
        let outcomes = job.pass(section, &prepared, (upper_model, clean_source), progress)?;
        measured.extend(outcomes.into_iter().enumerate());
    }
    let context = &job.context;
    let identity = |(own, ready): (&Placed, &Ready)| -> Result<SaeIdentity, SaeError> {
        Ok(SaeIdentity {
            name: own.name.clone(),
            site: own.point.label(),
            scale: ready.scale.value,
            scale_source: ready.scale.source,
            scale_rows: ready.scale.rows.clone(),
            outliers: threshold(settings, None, &ready.scale),
            spliced_with: job.placed.iter().map(|other| other.name.clone()).filter(|name| *name != own.name).collect(),
            provenance: provenance(&own.file)?,
        })
    };
    let measurement = Measurement {
        cache: cache_identity(context),
        protocol: protocol(settings, context, (clean_source, None, None), None),
        shards: job.share.numbers(&context.cache),
        clean_check: checked,
        stored_rounding,
        saes: job.placed.iter().zip(&prepared).map(identity).collect::<Result<_, _>>()?,
        sections: measured
            .into_iter()
            .map(|(sae, SectionOutcome { section, shards, latents, .. })| SectionMeasurement {
                sae,
                section,
                shards,
                latents,
                sequences: None,
                subsets: None,
                sample: None,
            })
            .collect(),
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
    let mut job = Job::open(settings, part)?;
    job.prepare(true, progress)?;
    job.context.cache.log_traffic();
    Ok(PreparedBaselines::of(&job.context, &job.share))
}

/// The inputs of a measurement.
struct Job<'run> {
    settings: &'run RunSettings,
    placed: Vec<Placed>,
    /// The lowest site, where the forward pass starts.
    start: SpliceSite,
    context: EvaluationContext,
    share: Share,
}

/// Quantities of an SAE needed before it is measured.
struct Ready {
    scale: Scale,
    rule: OutlierRule,
    baselines: Baselines,
}

impl<'run> Job<'run> {
    fn open(settings: &'run RunSettings, part: Option<Part>) -> Result<Self, EvaluateError> {
        let files = open_saes(settings.saes.iter().map(AsRef::as_ref), settings.sae_format)?;
        let names = unique_names(&settings.saes);
        let Some(first) = files.first() else { return Err(SiteError::NoSaes.into()) };
        let context = EvaluationContext::open(settings, std::slice::from_ref(first))?;
        let placed = place(&context, files, names)?;
        for own in &placed {
            training_remarks::tell(&own.name, &own.file, &context);
            let weights = settings.weights.resolve(std::slice::from_ref(&own.file), context.spec(), &own.point)?;
            if weights != context.weights {
                return Err(EvaluateError::MixedWeights {
                    sae: own.file.folder().to_path_buf(),
                    expected: context.weights,
                });
            }
        }
        let start = SpliceSite::find(Some(placed[0].input), &[], &context.cache, context.spec())?;
        let share = Share::of(part, &context.cache);
        Ok(Self { settings, placed, start, context, share })
    }

    /// Resolves the scale, threshold and mean of each SAE. x̄ is that of the clean run.
    fn prepare(&mut self, alone: bool, progress: Progress) -> Result<Vec<Ready>, EvaluateError> {
        let mut prepared = Vec::with_capacity(self.placed.len());
        for own in &self.placed {
            let rule = scale_rule(self.settings, &own.file)?;
            let scale = scale_on(&rule, self.settings, &own.file, &self.context.cache, &own.point.input)?;
            let outliers = threshold(self.settings, None, &scale);
            warn_of_other_outliers(&own.file, &own.name, &scale, outliers.as_ref())?;
            let rule = OutlierRule::of(outliers);
            self.context.point = own.point.clone();
            let wanted = Wanted {
                sections: self.settings.sections(),
                rules: vec![rule],
                clean_source: CleanSource::Cache,
                share: self.share.clone(),
                alone,
            };
            let source = self.context.source(self.settings.device, None);
            let baselines =
                baseline::prepare(&self.context, source, PredictionReader::losses(None), &wanted, progress)?;
            prepared.push(Ready { scale, rule, baselines });
        }
        Ok(prepared)
    }

    /// Measures one section of each SAE.
    fn pass(
        &mut self,
        section: SectionChoice,
        prepared: &[Ready],
        (upper_model, clean_source): (&UpperModel, Option<CleanSource>),
        progress: Progress,
    ) -> Result<Vec<SectionOutcome>, EvaluateError> {
        let places = &self.share.places;
        if places.is_empty() {
            let empty = |own: &Placed| SectionOutcome::empty(own.file.width(), section, places, Keep::default());
            return Ok(self.placed.iter().map(empty).collect());
        }
        let place = (Dtype::F32, self.settings.device);
        let mut runners = Vec::with_capacity(self.placed.len());
        for (own, Ready { scale, rule, baselines }) in self.placed.iter().zip(prepared) {
            runners.push(SaeRunner::load(&own.file, scale.value, *rule, &[section], baselines, place)?);
        }
        self.context.point = self.start.clone();
        let source = self.context.source(self.settings.device, None);
        let gauge = progress.gauge("evaluating", Some(self.share.tokens(&self.context.cache)));
        let run = Run { placed: &self.placed, runners: &runners, section, upper_model, clean_source };
        run.pass(source, places, &gauge)
    }
}

/// The SAEs with their sites, in the order of the forward pass.
fn place(context: &EvaluationContext, files: Vec<SaeFile>, names: Vec<String>) -> Result<Vec<Placed>, EvaluateError> {
    let mut placed = Vec::with_capacity(files.len());
    for (file, name) in files.into_iter().zip(names) {
        let point = SpliceSite::find(None, std::slice::from_ref(&file), &context.cache, context.spec())?;
        let input: Site = point.input.name.as_str().parse()?;
        placed.push(Placed { file, name, point, input });
    }
    placed.sort_by_key(|own| (own.input, own.point.site));
    for pair in placed.windows(2) {
        let [before, after] = pair else { continue };
        let path = |own: &Placed| Path::to_path_buf(own.file.folder());
        // The output of a block is the input of the next.
        let same = before.point.target.name == after.point.target.name;
        if same || after.input <= before.point.site {
            let (first, second, site) = (path(before), path(after), after.point.site.to_string());
            return Err(EvaluateError::TwoAtOneSite { first, second, site });
        }
    }
    Ok(placed)
}

/// One section of the run.
struct Run<'run> {
    placed: &'run [Placed],
    runners: &'run [SaeRunner<'run>],
    section: SectionChoice,
    upper_model: &'run UpperModel,
    clean_source: Option<CleanSource>,
}

struct Found {
    /// For each SAE, the norms of its input and its outcome.
    measured: Vec<(Vec<f64>, BatchOutcome)>,
    clean: Vec<f32>,
    zero: Vec<f32>,
}

impl Run<'_> {
    fn pass(
        &self,
        source: CacheReader<'_>,
        places: &Range<usize>,
        gauge: &Gauge,
    ) -> Result<Vec<SectionOutcome>, EvaluateError> {
        let empty =
            |runner: &SaeRunner<'_>| SectionOutcome::empty(runner.width(), self.section, places, Keep::default());
        let mut outcomes: Vec<SectionOutcome> = self.runners.iter().map(empty).collect();
        source.for_each(
            &places.clone().collect::<Vec<_>>(),
            gauge,
            |batch| self.measure(source, batch),
            |batch, found| {
                let Found { measured, clean, zero } = found;
                for ((outcome, runner), (norms, measured)) in outcomes.iter_mut().zip(self.runners).zip(measured) {
                    outcome.add(batch, &norms, &measured);
                    let sums = outcome.shard_of(batch);
                    let (_, left) = batch.kept(self.section, &norms, runner.rule);
                    sums.outlier_rows += left.outliers;
                    sums.non_finite_rows += left.non_finite;
                    sums.excluded_rows += left.excluded;
                    sums.clean_loss += total_loss(&clean);
                    sums.zero_loss += total_loss(&zero);
                    let positions = batch.positions_at(&batch.counted(self.section));
                    for ((&position, &clean), &zero) in positions.iter().zip(&clean).zip(&zero) {
                        sums.positions.clean_loss.add(position_bin(position), f64::from(clean));
                        sums.positions.zero_loss.add(position_bin(position), f64::from(zero));
                    }
                }
                Ok(())
            },
        )?;
        Ok(outcomes)
    }

    fn measure(&self, source: CacheReader<'_>, batch: &Batch) -> Result<Found, EvaluateError> {
        let activations = source.to_device(batch)?;
        let counted = batch.counted(self.section);
        let untouched = self.upper_model.clean(&activations)?;
        let start = self.upper_model.start(batch, &untouched)?;
        let cached = match self.clean_source {
            Some(CleanSource::Recomputed) => None,
            _ => batch.losses_at(&counted),
        };
        let clean = match cached {
            Some(losses) => losses,
            None => self.upper_model.losses(batch, &untouched, &counted)?,
        };

        let mut measured = Vec::with_capacity(self.runners.len());
        let spliced = self.walk(batch, &start, |place, [input, target]| {
            let runner = &self.runners[place];
            let (input, target) = (as_given(source.weights, &input)?, as_given(source.weights, &target)?);
            let norms = row_norms(&input)?;
            let mut seen = runner.look(batch, (&input, &target), &norms)?;
            let Some(seen) = seen.pop() else { return Ok((Vec::new(), target)) };
            let put = (seen.kept.clone(), seen.values.shallow_clone());
            measured.push((norms, seen.with(Predicted::Nothing)));
            Ok(put)
        })?;
        let losses = self.upper_model.losses_after(batch, &spliced, &counted)?;
        for (_, measured) in &mut measured {
            measured.predicted = Predicted::Losses(losses.clone());
        }

        let members = batch.members(self.section);
        let ablated = self.walk(batch, &start, |_, [_, target]| {
            let zeros = Tensor::f_zeros([members.len() as i64, target.size()[1]], (Kind::Float, target.device()))?;
            Ok((members.clone(), zeros))
        })?;
        let zero = self.upper_model.losses_after(batch, &ablated, &counted)?;
        Ok(Found { measured, clean, zero })
    }

    /// Runs a batch past all sites. `put` receives the activations at an SAE's input and target, `[rows, width]` each,
    /// and returns the rows of the target to replace and their new values.
    fn walk(
        &self,
        batch: &Batch,
        start: &Stop,
        mut put: impl FnMut(usize, [Tensor; 2]) -> Result<(Vec<i64>, Tensor), EvaluateError>,
    ) -> Result<Stop, EvaluateError> {
        let mut at = start.shallow_clone();
        for (place, own) in self.placed.iter().enumerate() {
            let _phase = Phase::Splice.begin(0);
            at = self.upper_model.go_on(batch, &at, own.input)?;
            let input = self.upper_model.rows(batch, &at.value)?;
            at = self.upper_model.go_on(batch, &at, own.point.site)?;
            let target = self.upper_model.rows(batch, &at.value)?;
            let (rows, values) = put(place, [input, target])?;
            at = self.upper_model.put(batch, at, &rows, &values)?;
        }
        Ok(at)
    }
}
