//! The training session, common to training from scratch and fine-tuning.

use std::path::{Path, PathBuf};

use hayloft_model::kind;
use hayloft_results::{HeldOutFigures, TrainingRecord};
use hayloft_rows::stream::{Batch, BatchPlan, BatchState, Batches, Reading};
use hayloft_runtime::{Gauge, Progress};
use hayloft_store::{Cache, SiteRecord};
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use crate::data::{Census, HeldOutRows, prefetch};
use crate::error::TrainError;
use crate::files::checkpoint::{Checkpoints, State, difference};
use crate::files::log::TrainingLog;
use crate::files::save::{SavedSae, write_json};
use crate::measure::held_out::{HeldOut, figures_on};
use crate::measure::threshold::ThresholdSource;
use crate::messages::row_messages;
use crate::messages::summary::{HeldOutSequences, TrainingSummary, figures_in_words, is_far, percent};
use crate::model::{Exported, Fold, Model};
use crate::optimiser::schedule::Schedule;
use crate::optimiser::trainer::Trainer;
use crate::selection::Selection;
use crate::settings::architecture::Architecture;
use crate::settings::course::{Course, Existing};

const SUMMARY: &str = "training.json";

/// The inputs of a training session.
#[derive(Debug)]
pub(super) struct Job<'job> {
    pub(super) course: &'job Course,
    pub(super) cache: &'job Cache,
    pub(super) site: &'job SiteRecord,
    pub(super) selection: &'job Selection,
    pub(super) architecture: &'job Architecture,
    /// How to save the scale.
    pub(super) fold: Fold,
    /// Settings beyond the course's that the weights depend on.
    pub(super) settings: Map<String, Value>,
    /// The provenance for `cfg.json`.
    pub(super) metadata: Map<String, Value>,
}

impl Job<'_> {
    /// Factor from a stored row to the saved SAE's input.
    fn saved_scale(&self) -> f64 {
        match self.fold {
            Fold::Keep(_) => self.selection.scale.value,
            Fold::Scale(_) => 1.0,
        }
    }
}

/// Trains a model and saves it. Resumes a started training if the course allows it, and returns the summary of a finished
/// one.
pub(super) fn train(job: &Job<'_>, model: Box<dyn Model>, progress: Progress) -> Result<TrainingSummary, TrainError> {
    let (course, out) = (job.course, job.course.out.as_path());
    let settings = settings(job);
    if let Some(summary) = finished(out, course.existing, &settings)? {
        tracing::info!(folder = %out.display(), "this training is done already");
        return Ok(summary);
    }
    if course.threshold == ThresholdSource::HeldOut && model.average().is_none() {
        let expected = "batchtopk, which is saved with one threshold for all latents";
        return Err(TrainError::setting("threshold held-out", expected, "another architecture"));
    }
    let (plan, census, held_out) = batch_plan(job)?;
    let schedule = Schedule {
        steps: course.steps(),
        learning_rate: course.learning_rate,
        warm_up: course.warm_up,
        decay: course.decay,
        coefficient: job.architecture.coefficient(),
        sparsity_warm_up: course.sparsity_warm_up,
    };
    let mut trainer = Trainer::new(model, schedule, course.dead_after, course.device)?;
    let checkpoints = Checkpoints::of(out);
    let begun = resume(&checkpoints, course, &settings, &mut trainer)?;
    let (first, steps, rows) = (trainer.step, course.steps(), census.rows());
    tracing::info!(steps, batch = course.batch, rows, scale = %job.selection.scale, "training");
    let held_out = held_out.map(|rows| hold_out(job, rows)).transpose()?;
    let gauge = progress.gauge("training", Some(steps * course.batch as u64));
    gauge.resume(first * course.batch as u64);
    let log = TrainingLog::open(out, first)?;
    let batches = Batches::open(plan.clone(), job.cache, &job.site.name, begun)?;
    let mut session = Session { job, settings, checkpoints, log, gauge, held_out, has_warned: false, end: None };
    let keeps_state = |step: u64| is_due(course.checkpoint_every, step) || step + 1 == steps;
    prefetch(batches, first..steps, keeps_state, |step, batch| session.step(&mut trainer, step, batch))?;
    job.cache.log_traffic();
    session.finish(&trainer, &plan, &census)
}

/// A running training.
struct Session<'job> {
    job: &'job Job<'job>,
    settings: Map<String, Value>,
    checkpoints: Checkpoints,
    log: TrainingLog,
    gauge: Gauge,
    held_out: Option<HeldOutData<'job>>,
    /// Whether the warning that the saved SAE differs from the trained one has been logged.
    has_warned: bool,
    /// Set after the last step.
    end: Option<End>,
}

/// The held-out data.
struct HeldOutData<'job> {
    sequences: HeldOutSequences,
    rows: HeldOut<'job>,
}

/// The results of the last step.
struct End {
    record: TrainingRecord,
    batches: BatchState,
    exported: Exported,
    saved_on_last_batch: HeldOutFigures,
}

impl Session<'_> {
    fn step(&mut self, trainer: &mut Trainer, step: u64, batch: Batch) -> Result<(), TrainError> {
        let course = self.job.course;
        let is_last = step + 1 == course.steps();
        let measures = self.held_out.is_some() && (is_due(course.held_out_every, step) || is_last);
        let rows = self.rows(&batch.bytes)?;
        let x = rows.f_mul_scalar(self.job.selection.scale.value)?;
        let done = trainer.step(&x, is_due(course.log_every, step) || measures || is_last)?;
        if !done.is_finite() {
            return Err(TrainError::Diverged {
                step: step + 1,
                loss: done.loss,
                gradient_norm: done.gradient_norm,
                checkpoint: self.checkpoints.newest().map(|(folder, _)| folder),
            });
        }
        let _no_grad = hayloft_model::no_grad();
        let is_wanted = measures || batch.state.is_some();
        let exported = if is_wanted { Some(self.exported(trainer)?) } else { None };
        let mut record = done.record;
        if let (true, Some(record), Some(held_out), Some(exported)) = (measures, &mut record, &self.held_out, &exported)
        {
            record.held_out = Some(held_out.rows.figures(exported)?);
        }
        if let Some(record) = &record {
            self.log.push(record)?;
            self.gauge.note(in_words(record));
            if !is_last {
                self.warn_early(trainer, record);
            }
        }
        self.gauge.advance(course.batch as u64);
        match (batch.state, exported, record) {
            (Some(batches), Some(exported), Some(record)) if is_last => {
                let saved_on_last_batch = figures_on(&exported, &rows.f_mul_scalar(self.job.saved_scale())?)?;
                self.end = Some(End { record, batches, exported, saved_on_last_batch });
            }
            (Some(batches), Some(exported), _) => self.checkpoint(trainer, batches, exported)?,
            _ => {}
        }
        Ok(())
    }

    /// Converts a batch to `[batch, d_model]` float32 on the device, unscaled.
    fn rows(&self, bytes: &[u8]) -> Result<Tensor, TrainError> {
        let sizes = [self.job.course.batch as i64, self.job.site.d_model as i64];
        let stored = Tensor::f_from_data_size(bytes, &sizes, kind(self.job.cache.manifest().read_dtype()))?;
        Ok(stored.f_to_device(self.job.course.device)?.f_to_kind(Kind::Float)?)
    }

    /// The SAE as it would be saved now.
    fn exported(&self, trainer: &Trainer) -> Result<Exported, TrainError> {
        let exported = trainer.model.export(self.job.fold)?;
        match (self.job.course.threshold, trainer.model.average(), &self.held_out) {
            (ThresholdSource::HeldOut, Some(average), Some(held_out)) => {
                let threshold = held_out.rows.threshold(&exported, average)?;
                Ok(exported.with_threshold(threshold)?)
            }
            _ => Ok(exported),
        }
    }

    /// Warns once during training if the SAE as saved now would have a different L0 from the trained one.
    fn warn_early(&mut self, trainer: &Trainer, record: &TrainingRecord) {
        let Some(held_out) = record.held_out.and_then(|figures| figures.l0) else { return };
        if !self.has_warned && trainer.model.average().is_some() && is_far(held_out, record.l0) {
            self.has_warned = true;
            let (step, l0) = (record.step, record.l0);
            tracing::warn!(
                "step {step}: saved now, the SAE would have L0 {held_out:.2} on held-out rows, and has {l0:.2} in training: the one threshold that it is saved with, a running mean, has not converged"
            );
        }
    }

    fn checkpoint(&self, trainer: &Trainer, batches: BatchState, exported: Exported) -> Result<(), TrainError> {
        let state =
            State { settings: self.settings.clone(), threads: tch::get_num_threads(), step: trainer.step, batches };
        self.checkpoints.write(&state, trainer, &SavedSae { exported, metadata: self.job.metadata.clone() })
    }

    fn finish(self, trainer: &Trainer, plan: &BatchPlan, census: &Census) -> Result<TrainingSummary, TrainError> {
        let Some(End { record, batches, exported, saved_on_last_batch }) = self.end else {
            return Err(TrainError::ReaderLost);
        };
        let (job, out) = (self.job, &self.job.course.out);
        let held_out = self.held_out.map(|held_out| held_out.sequences);
        let manifest = job.cache.manifest();
        let summary = TrainingSummary {
            hayloft_version: env!("CARGO_PKG_VERSION").to_owned(),
            mixing: plan.mixing(&batches),
            model: manifest.model.clone(),
            corpus: manifest.corpus.name.clone(),
            rows: census.rows(),
            width: trainer.model.width(),
            held_out,
            largest_rows: census.largest,
            device: device_name(job.course.device),
            threads: tch::get_num_threads(),
            last: record,
            saved_on_last_batch,
            settings: self.settings,
        };
        let mut metadata = job.metadata.clone();
        summary.describe(&mut metadata);
        if trainer.model.average().is_some() {
            let running = trainer.model.export(job.fold)?.threshold()?;
            TrainingSummary::describe_threshold(&mut metadata, job.course.threshold, exported.threshold()?, running);
            // A threshold from held-out rows matches their L0 by construction.
            if job.course.threshold == ThresholdSource::Running
                && let Some(warning) = summary.warning()
            {
                tracing::warn!(
                    "{warning}: the one threshold that it is saved with has not converged. Train for longer, or take it from held-out rows (--held-out ROWS --threshold held-out)"
                );
            }
        }
        SavedSae { exported, metadata }.write(out)?;
        self.log.draw()?;
        // Written last: it marks the output as complete.
        write_json(&out.join(SUMMARY), &summary)?;
        self.checkpoints.remove()?;
        Ok(summary)
    }
}

fn is_due(every: u64, step: u64) -> bool {
    (step + 1).is_multiple_of(every)
}

fn in_words(record: &TrainingRecord) -> String {
    let TrainingRecord { step, loss, l0, explained_variance, dead_fraction, never_fired_fraction, .. } = record;
    let latents = match dead_fraction {
        Some(_) => format!("dead {}", percent(*dead_fraction)),
        None => format!("never fired {}", percent(Some(*never_fired_fraction))),
    };
    let held_out = record.held_out.map_or_else(String::new, |figures| {
        format!("held out: {}, dead {}, ", figures_in_words(&figures), percent(Some(figures.dead_fraction)))
    });
    format!("step {step}: loss {loss:.4}, L0 {l0:.2}, EV {}, {latents}, {held_out}", percent(Some(*explained_variance)))
}

/// All settings that the weights depend on.
fn settings(job: &Job<'_>) -> Map<String, Value> {
    let course = job.course;
    let own = [
        ("site", json!(job.site.name)),
        ("cache_manifest_blake3", json!(job.cache.manifest_blake3())),
        ("scale", json!(job.selection.scale.value)),
        ("scale_rows", json!(job.selection.scale.rows)),
        ("sections", json!(course.sections)),
        ("exclude", json!(course.exclude)),
        ("excluded_tokens", json!(job.selection.rows.excluded.tokens())),
        ("outlier_norm", json!(job.selection.outliers)),
        ("steps", json!(course.steps())),
        ("batch", json!(course.batch)),
        ("learning_rate", json!(course.learning_rate)),
        ("warm_up", json!(course.warm_up)),
        ("decay", json!(course.decay)),
        ("sparsity_warm_up", json!(course.sparsity_warm_up)),
        ("dead_after", json!(course.dead_after)),
        ("mix_rows", json!(course.mix_rows)),
        ("seed", json!(course.seed)),
        ("held_out", json!(course.held_out)),
        ("threshold", json!(course.threshold)),
    ];
    let architecture = [("architecture".to_owned(), json!(job.architecture))];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    architecture.into_iter().chain(job.settings.clone()).chain(own).collect()
}

/// Rejects a non-empty folder unless the course resumes. Returns the summary if the training has finished.
fn finished(
    out: &Path,
    existing: Existing,
    settings: &Map<String, Value>,
) -> Result<Option<TrainingSummary>, TrainError> {
    let is_empty = std::fs::read_dir(out).map_or(true, |mut entries| entries.next().is_none());
    if existing == Existing::Refuse && !is_empty {
        return Err(TrainError::OutExists { out: out.to_path_buf() });
    }
    let path = out.join(SUMMARY);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(&path).map_err(|cause| TrainError::Read { path: path.clone(), cause })?;
    let summary: TrainingSummary = serde_json::from_slice(&bytes)
        .map_err(|error| TrainError::damaged(&path, "a training.json of this version", &error))?;
    check_same(out, &summary.settings, settings)?;
    Ok(Some(summary))
}

fn check_same(out: &Path, begun: &Map<String, Value>, asked: &Map<String, Value>) -> Result<(), TrainError> {
    match difference(begun, asked) {
        None => Ok(()),
        Some((what, expected, got)) => Err(TrainError::OtherSettings { out: PathBuf::from(out), what, expected, got }),
    }
}

/// Determines the batch plan, the rows that it counts and the held-out rows.
fn batch_plan<'job>(job: &Job<'job>) -> Result<(BatchPlan, Census, Option<HeldOutRows<'job>>), TrainError> {
    let course = job.course;
    let (site, d_model) = (&job.site.name, job.site.d_model);
    let mut filter = job.selection.filter();
    let held_out = match course.held_out {
        0 => None,
        wanted => Some(HeldOutRows::find((job.cache, site, d_model), &filter, wanted, course.batch)?),
    };
    if let Some(held_out) = &held_out {
        filter = filter.holding_out_from(held_out.first());
    }
    let census = Census::take(job.cache, site, &filter)?;
    row_messages::log(&census, job.selection);
    if census.rows() < course.batch {
        return Err(TrainError::TooFewRows {
            cache: course.cache.clone(),
            batch: course.batch,
            rows: census.rows(),
            held: job.cache.manifest().held.tokens,
        });
    }
    let row_bytes = d_model * kind(job.cache.manifest().read_dtype()).elt_size_in_bytes();
    let (batch, mix_rows) = (course.batch, course.mix_rows);
    let (kept, reading) = (census.kept.clone(), Reading::endless(course.seed));
    Ok((BatchPlan { filter, kept, reading, batch, mix_rows, row_bytes }, census, held_out))
}

/// Logs the held-out sequences and reads their rows once.
fn hold_out<'job>(job: &Job<'job>, rows: HeldOutRows<'job>) -> Result<HeldOutData<'job>, TrainError> {
    let _no_grad = hayloft_model::no_grad();
    let sequences =
        HeldOutSequences { sequences: format!("{}..", rows.first()), count: rows.sequences(), rows: rows.len() as u64 };
    let HeldOutSequences { sequences: from, count, rows: kept } = &sequences;
    tracing::info!(sequences = %from, count, rows = kept, "held out: these are not trained on");
    Ok(HeldOutData { sequences, rows: HeldOut::open(rows, job.saved_scale(), job.course.device)? })
}

/// Restores the trainer from the newest checkpoint, if any, and returns its batch state.
fn resume(
    checkpoints: &Checkpoints,
    course: &Course,
    settings: &Map<String, Value>,
    trainer: &mut Trainer,
) -> Result<Option<BatchState>, TrainError> {
    let Some((folder, step)) = checkpoints.newest() else { return Ok(None) };
    let mut state = Checkpoints::state(&folder)?;
    check_same(&course.out, &state.settings, settings)?;
    let threads = tch::get_num_threads();
    if state.threads != threads {
        let begun = state.threads;
        tracing::warn!(begun, threads, "another number of threads: the weights may differ in their last bits");
    }
    Checkpoints::restore(&folder, &mut state, trainer)?;
    tracing::info!(step, "going on from a checkpoint");
    Ok(Some(state.batches))
}

fn device_name(device: tch::Device) -> String {
    match device {
        tch::Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}
