//! A training from beginning to end, whatever is trained.

use std::path::{Path, PathBuf};

use hayloft_store::{Cache, SiteRecord};
use hayloft_terminal::{Gauge, Progress};
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use super::TrainError;
use super::checkpoint::{Checkpoints, State, difference};
use super::course::{Course, Existing};
use super::data::{Batch, BatchPlan, BatchState, Batches, Census, draw_ahead};
use super::foreword;
use super::log::TrainingLog;
use super::model::{Fold, Model};
use super::record::TrainingRecord;
use super::save::{SavedSae, write_json};
use super::schedule::Schedule;
use super::selection::Selection;
use super::summary::TrainingSummary;
use super::trainer::Trainer;
use crate::source::kind;
use crate::subject::say_traffic;

const SUMMARY: &str = "training.json";

/// What is trained on, and what becomes of it.
#[derive(Debug)]
pub(super) struct Job<'job> {
    pub(super) course: &'job Course,
    pub(super) cache: &'job Cache,
    pub(super) site: &'job SiteRecord,
    pub(super) selection: &'job Selection,
    /// What the sparsity loss is multiplied by once it is warm.
    pub(super) coefficient: f64,
    /// What becomes of the scale when the SAE is saved.
    pub(super) fold: Fold,
    /// Settings beside the course's that the weights depend on.
    pub(super) settings: Map<String, Value>,
    /// What `cfg.json` says of the SAE's origin.
    pub(super) metadata: Map<String, Value>,
}

/// Trains a model and saves it. Where a training was begun and is to be resumed, goes on; where it is done, says what it
/// came to.
pub(super) fn train(job: &Job<'_>, model: Box<dyn Model>, progress: Progress) -> Result<TrainingSummary, TrainError> {
    let (course, out) = (job.course, job.course.out.as_path());
    let settings = settings(job);
    if let Some(summary) = finished(out, course.existing, &settings)? {
        tracing::info!(folder = %out.display(), "this training is done already");
        return Ok(summary);
    }
    let plan = batch_plan(job)?;
    let schedule = Schedule {
        steps: course.steps(),
        learning_rate: course.learning_rate,
        warm_up: course.warm_up,
        decay: course.decay,
        coefficient: job.coefficient,
        sparsity_warm_up: course.sparsity_warm_up,
    };
    let mut trainer = Trainer::new(model, schedule, course.dead_after, course.device)?;
    let checkpoints = Checkpoints::of(out);
    let begun = resume(&checkpoints, course, &settings, &mut trainer)?;
    let (first, steps, rows) = (trainer.step, course.steps(), plan.census.rows());
    tracing::info!(steps, batch = course.batch, rows, scale = %job.selection.scale, "training");
    let gauge = progress.gauge("training", Some(steps * course.batch as u64));
    gauge.advance(first * course.batch as u64);
    let log = TrainingLog::open(out, first)?;
    let batches = Batches::open(plan.clone(), job.cache, &job.site.name, begun)?;
    let mut session = Session { job, settings, checkpoints, log, gauge, last: None, end: None };
    let keeps_state = |step: u64| is_due(course.checkpoint_every, step) || step + 1 == steps;
    draw_ahead(batches, first..steps, keeps_state, |step, batch| session.step(&mut trainer, step, batch))?;
    say_traffic(job.cache);
    session.finish(&trainer, &plan)
}

/// A training that is under way.
struct Session<'job> {
    job: &'job Job<'job>,
    settings: Map<String, Value>,
    checkpoints: Checkpoints,
    log: TrainingLog,
    gauge: Gauge,
    /// The record of the last step, once it is done.
    last: Option<TrainingRecord>,
    /// The state of the batches after it.
    end: Option<BatchState>,
}

impl Session<'_> {
    fn step(&mut self, trainer: &mut Trainer, step: u64, batch: Batch) -> Result<(), TrainError> {
        let course = self.job.course;
        let is_last = step + 1 == course.steps();
        let x = self.rows(&batch.bytes)?;
        let done = trainer.step(&x, is_due(course.log_every, step) || is_last)?;
        if !done.is_finite() {
            return Err(TrainError::Diverged {
                step: step + 1,
                loss: done.loss,
                gradient_norm: done.gradient_norm,
                checkpoint: self.checkpoints.newest().map(|(folder, _)| folder),
            });
        }
        if let Some(record) = done.record {
            self.log.push(&record)?;
            self.gauge.note(in_words(&record));
            self.last = is_last.then_some(record);
        }
        self.gauge.advance(course.batch as u64);
        match batch.state {
            Some(state) if is_last => self.end = Some(state),
            Some(batches) => self.checkpoint(trainer, batches)?,
            None => {}
        }
        Ok(())
    }

    /// `[batch, d_model]` float32 on the device, scaled.
    fn rows(&self, bytes: &[u8]) -> Result<Tensor, TrainError> {
        let sizes = [self.job.course.batch as i64, self.job.site.d_model as i64];
        let stored = Tensor::f_from_data_size(bytes, &sizes, kind(self.job.cache.manifest().read_dtype()))?;
        let rows = stored.f_to_device(self.job.course.device)?.f_to_kind(Kind::Float)?;
        Ok(rows.f_mul_scalar(self.job.selection.scale.value)?)
    }

    fn checkpoint(&self, trainer: &Trainer, batches: BatchState) -> Result<(), TrainError> {
        let state =
            State { settings: self.settings.clone(), threads: tch::get_num_threads(), step: trainer.step, batches };
        self.checkpoints.write(&state, trainer, &self.saved(trainer, None)?)
    }

    fn saved(&self, trainer: &Trainer, last: Option<&TrainingRecord>) -> Result<SavedSae, TrainError> {
        let mut metadata = self.job.metadata.clone();
        if let Some(record) = last {
            // Names that SAELens's trainer gives them.
            metadata.insert("l0".to_owned(), record.l0.into());
            let dead = (record.dead_fraction * trainer.model.width() as f64).round() as u64;
            metadata.insert("num_dead_features".to_owned(), dead.into());
        }
        Ok(SavedSae { exported: trainer.model.export(self.job.fold)?, metadata })
    }

    fn finish(self, trainer: &Trainer, plan: &BatchPlan) -> Result<TrainingSummary, TrainError> {
        let (Some(last), Some(end)) = (self.last, &self.end) else { return Err(TrainError::ReaderLost) };
        let out = &self.job.course.out;
        self.saved(trainer, Some(&last))?.write(out)?;
        let manifest = self.job.cache.manifest();
        let summary = TrainingSummary {
            hayloft_version: env!("CARGO_PKG_VERSION").to_owned(),
            mixing: plan.mixing(end),
            model: manifest.model.clone(),
            corpus: manifest.corpus.name.clone(),
            rows: plan.census.rows(),
            largest_rows: plan.census.largest,
            device: device_name(self.job.course.device),
            threads: tch::get_num_threads(),
            last,
            settings: self.settings,
        };
        self.log.draw()?;
        // Last of all: it says that the rest is there.
        write_json(&out.join(SUMMARY), &summary)?;
        self.checkpoints.remove()?;
        Ok(summary)
    }
}

fn is_due(every: u64, step: u64) -> bool {
    (step + 1).is_multiple_of(every)
}

fn in_words(record: &TrainingRecord) -> String {
    let TrainingRecord { loss, l0, explained_variance, dead_fraction, .. } = record;
    let (explained, dead) = (100.0 * explained_variance, 100.0 * dead_fraction);
    format!("loss {loss:.4}, L0 {l0:.2}, EV {explained:.2}%, dead {dead:.1}%, ")
}

/// Everything that the weights depend on.
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
    ];
    let mut settings = job.settings.clone();
    settings.extend(own.map(|(name, value)| (name.to_owned(), value)));
    settings
}

/// Refuses a folder that is not empty, unless it is to be gone on with; `Some` where that is done already.
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
    let summary: TrainingSummary = serde_json::from_slice(&bytes).map_err(|error| TrainError::Checkpoint {
        path,
        expected: "a training.json of this version".to_owned(),
        got: error.to_string(),
    })?;
    check_same(out, &summary.settings, settings)?;
    Ok(Some(summary))
}

fn check_same(out: &Path, begun: &Map<String, Value>, asked: &Map<String, Value>) -> Result<(), TrainError> {
    match difference(begun, asked) {
        None => Ok(()),
        Some((what, expected, got)) => Err(TrainError::OtherSettings { out: PathBuf::from(out), what, expected, got }),
    }
}

fn batch_plan(job: &Job<'_>) -> Result<BatchPlan, TrainError> {
    let course = job.course;
    let filter = job.selection.filter();
    let census = Census::take(job.cache, &job.site.name, &filter)?;
    foreword::say(&census, job.selection);
    if census.rows() < course.batch {
        return Err(TrainError::TooFewRows {
            cache: course.cache.clone(),
            batch: course.batch,
            rows: census.rows(),
            held: job.cache.manifest().held.tokens,
        });
    }
    let row_bytes = job.site.d_model * kind(job.cache.manifest().read_dtype()).elt_size_in_bytes();
    let (seed, batch, mix_rows) = (course.seed, course.batch, course.mix_rows);
    Ok(BatchPlan { filter, census, seed, batch, mix_rows, row_bytes })
}

/// Puts the trainer where the newest checkpoint is, if there is one; returns the state of the batches there.
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
