//! Checkpoints: folders `checkpoint/step-NNNNNNNNN` with the complete training state and the current SAE.
//!
//! A checkpoint is written to a temporary folder and renamed. Only then are older ones removed, so a complete checkpoint
//! always exists after the first.

use std::io;
use std::path::{Path, PathBuf};

use hayloft_rows::stream::BatchState;
use hayloft_runtime::write_whole;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tch::Tensor;

use crate::error::TrainError;
use crate::files::save::SavedSae;
use crate::files::tensor_file;
use crate::optimiser::trainer::{Trainer, tensors};

const FOLDER: &str = "checkpoint";
const PREFIX: &str = "step-";
const STATE: &str = "state.json";
const TENSORS: &str = "state.safetensors";
const SILENT: &str = "silent_steps";
const WAITING: &str = "waiting_rows";

/// The part of a checkpoint that is not tensors.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// The settings of the training. A resume must use the same.
    pub(crate) settings: Map<String, Value>,
    /// Number of kernel threads.
    pub(crate) threads: i32,
    /// Completed steps.
    pub(crate) step: u64,
    pub(crate) batches: BatchState,
}

/// The checkpoint folder of a training.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    pub(crate) fn of(out: &Path) -> Self {
        Self { folder: out.join(FOLDER) }
    }

    /// The folder and step of the newest checkpoint.
    pub(crate) fn newest(&self) -> Option<(PathBuf, u64)> {
        self.all().into_iter().max_by_key(|(_, step)| *step)
    }

    /// Writes a checkpoint, then removes older ones.
    pub(crate) fn write(&self, state: &State, trainer: &Trainer, sae: &SavedSae) -> Result<(), TrainError> {
        let failed = TrainError::write;
        std::fs::create_dir_all(&self.folder).map_err(failed(&self.folder))?;
        let partial = tempfile::Builder::new().prefix(".").suffix(".partial").tempdir_in(&self.folder);
        let partial = partial.map_err(failed(&self.folder))?;
        sae.write(partial.path())?;
        let named = named_tensors(trainer, &state.batches)?;
        tensor_file::write(&partial.path().join(TENSORS), &named)?;
        let path = partial.path().join(STATE);
        let bytes = serde_json::to_vec_pretty(state).map_err(io::Error::other).map_err(failed(&path))?;
        write_whole(&path, &bytes).map_err(failed(&path))?;
        let place = self.folder.join(format!("{PREFIX}{:09}", state.step));
        open_to_others(partial.path()).map_err(failed(&place))?;
        #[cfg(feature = "failpoints")]
        hayloft_store::failpoints::before_rename(partial.path(), &place).map_err(failed(&place))?;
        std::fs::rename(partial.path(), &place).map_err(failed(&place))?;
        // The temporary folder was renamed, so there is nothing to remove.
        let _ = partial.keep();
        std::fs::File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed(&self.folder))?;
        for (older, _) in self.all().into_iter().filter(|(_, step)| *step < state.step) {
            std::fs::remove_dir_all(&older).map_err(failed(&older))?;
        }
        Ok(())
    }

    /// Reads a checkpoint's state, without its tensors.
    pub(crate) fn state(folder: &Path) -> Result<State, TrainError> {
        let path = folder.join(STATE);
        let bytes = std::fs::read(&path).map_err(|cause| TrainError::Read { path: path.clone(), cause })?;
        serde_json::from_slice(&bytes)
            .map_err(|error| TrainError::damaged(&path, "a state as training writes it", &error))
    }

    /// Restores a checkpoint's tensors into a trainer of the same shape and into `state`.
    pub(crate) fn restore(folder: &Path, state: &mut State, trainer: &mut Trainer) -> Result<(), TrainError> {
        let path = folder.join(TENSORS);
        let read = tensor_file::read(&path)?;
        let find = |name: &str| {
            let found = read.iter().find(|(own, _)| own == name).map(|(_, tensor)| tensor);
            found.ok_or_else(|| TrainError::damaged(&path, format!("tensor {name}"), "none"))
        };
        restore(trainer, &path, find)?;
        let waiting: Vec<i64> = Vec::try_from(find(WAITING)?.f_flatten(0, -1)?)?;
        state.batches.set_waiting(&waiting);
        trainer.step = state.step;
        Ok(())
    }

    /// Removes all checkpoints at the end of training.
    pub(crate) fn remove(&self) -> Result<(), TrainError> {
        match std::fs::remove_dir_all(&self.folder) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(TrainError::write(&self.folder)(cause)),
            _ => Ok(()),
        }
    }

    fn all(&self) -> Vec<(PathBuf, u64)> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let whole = entries.filter_map(|entry| {
            let step = entry.file_name().to_str()?.strip_prefix(PREFIX)?.parse().ok()?;
            Some((entry.path(), step))
        });
        whole.collect()
    }
}

/// Temporary folders are private to their owner. Sets the permissions of the parent folder.
fn open_to_others(folder: &Path) -> io::Result<()> {
    let parent = folder.parent().unwrap_or(folder);
    std::fs::set_permissions(folder, std::fs::metadata(parent)?.permissions())
}

/// All tensors that a step changes.
fn named_tensors(trainer: &Trainer, batches: &BatchState) -> Result<Vec<(String, Tensor)>, TrainError> {
    let mut named = Vec::new();
    for ((name, tensor), moments) in trainer.model.parameters().into_iter().zip(&trainer.adam.moments) {
        named.push((name.to_owned(), tensor.f_detach()?));
        named.push((format!("{name}.first"), moments.first.shallow_clone()));
        named.push((format!("{name}.second"), moments.second.shallow_clone()));
    }
    let running = trainer.model.running();
    named.extend(running.into_iter().map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone())));
    named.push((SILENT.to_owned(), trainer.firing.silent_steps.shallow_clone()));
    named.push((WAITING.to_owned(), Tensor::f_from_slice(&batches.waiting())?.f_view([-1, 2])?));
    Ok(named)
}

fn restore<'read>(
    trainer: &Trainer,
    path: &Path,
    find: impl Fn(&str) -> Result<&'read Tensor, TrainError>,
) -> Result<(), TrainError> {
    let _no_grad = hayloft_model::no_grad();
    let copy = |to: &Tensor, name: &str| {
        let from = find(name)?;
        if from.size() != to.size() || from.kind() != to.kind() {
            let form = |tensor: &Tensor| format!("{} {:?}", tensor_file::dtype(tensor.kind()), tensor.size());
            return Err(TrainError::damaged(path, format!("{name} as {}", form(to)), &form(from)));
        }
        Ok(to.shallow_clone().f_copy_(from)?)
    };
    let names: Vec<&'static str> = trainer.model.parameters().into_iter().map(|(name, _)| name).collect();
    for (name, tensor) in names.iter().zip(tensors(trainer.model.as_ref())) {
        copy(tensor, name)?;
    }
    for (name, moments) in names.iter().zip(&trainer.adam.moments) {
        copy(&moments.first, &format!("{name}.first"))?;
        copy(&moments.second, &format!("{name}.second"))?;
    }
    for (name, tensor) in trainer.model.running() {
        copy(tensor, name)?;
    }
    copy(&trainer.firing.silent_steps, SILENT)
}

/// Returns the first setting that differs: its name, the original value and the requested value.
pub(crate) fn difference(begun: &Map<String, Value>, asked: &Map<String, Value>) -> Option<(String, String, String)> {
    let say = |value: Option<&Value>| value.map_or("none".to_owned(), Value::to_string);
    let names = begun.keys().chain(asked.keys());
    let mut different = names.filter(|name| begun.get(*name) != asked.get(*name));
    different.next().map(|name| (name.clone(), say(begun.get(name)), say(asked.get(name))))
}
