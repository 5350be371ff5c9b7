//! Part files: the finished batches of a run, until they are merged.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::RolloutError;
use super::file::{RolloutRow, read_rollouts, write_rollouts};
use super::prompts::RenderedPrompt;
use super::record::RolloutsRecord;

/// The folder of parts beside an output file.
pub(super) struct Parts {
    folder: PathBuf,
}

impl Parts {
    /// Returns `OUT.parts`.
    pub(super) fn of(out: &Path) -> Self {
        let mut name = out.as_os_str().to_owned();
        name.push(".parts");
        Self { folder: PathBuf::from(name) }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn create(&self) -> Result<(), RolloutError> {
        fs::create_dir_all(&self.folder).map_err(RolloutError::io(&self.folder, "be created"))
    }

    fn path(&self, part: usize) -> PathBuf {
        self.folder.join(format!("{part:05}.parquet"))
    }

    /// Reads a part that matches the current run; `None` if it does not exist yet.
    pub(super) fn read(
        &self,
        part: usize,
        record: &RolloutsRecord,
        prompts: &[RenderedPrompt],
    ) -> Result<Option<Vec<RolloutRow>>, RolloutError> {
        let path = self.path(part);
        if !path.try_exists().map_err(RolloutError::io(&path, "be looked for"))? {
            return Ok(None);
        }
        read_same(&path, record, prompts).map(Some)
    }

    pub(super) fn write(&self, part: usize, record: &RolloutsRecord, rows: &[RolloutRow]) -> Result<(), RolloutError> {
        write_rollouts(&self.path(part), record, rows)
    }

    /// Removes the folder if it exists.
    pub(super) fn remove(&self) -> Result<(), RolloutError> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(RolloutError::io(&self.folder, "be removed")(error))
            }
            _ => Ok(()),
        }
    }
}

/// Reads a file and checks that it was made with these settings from these prompts.
pub(super) fn read_same(
    path: &Path,
    record: &RolloutsRecord,
    prompts: &[RenderedPrompt],
) -> Result<Vec<RolloutRow>, RolloutError> {
    let (there, rows) = read_rollouts(path)?;
    record.check_same(&there, path)?;
    let differs = |setting: String, expected: String, got: String| RolloutError::Differs {
        path: path.to_owned(),
        setting,
        expected,
        got,
    };
    if rows.len() != prompts.len() {
        let (expected, got) = (prompts.len().to_string(), rows.len().to_string());
        return Err(differs("number of rows".to_owned(), expected, got));
    }
    for (prompt, row) in prompts.iter().zip(&rows) {
        if row.row != prompt.row {
            return Err(differs("row".to_owned(), prompt.row.to_string(), row.row.to_string()));
        }
        if row.prompt_token_ids != prompt.tokens {
            let setting = format!("prompt of row {}", row.row);
            return Err(differs(setting, format!("{:?}", prompt.prompt), format!("{:?}", row.prompt)));
        }
    }
    Ok(rows)
}
