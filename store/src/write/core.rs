//! State shared by a cache writer and its shard writers.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Result;
use crate::format::plan::PlanReader;
use crate::format::settings::{HarvestSettings, NonFinite};
use crate::format::shard_record::WrittenShard;
use crate::fs::disk::Disk;
use crate::fs::staged::StagedFolder;
use crate::write::mode::WriteMode;

/// State shared by a cache writer and its shard writers.
#[derive(Debug)]
pub(crate) struct WriterCore {
    pub(crate) folder: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) plan: PlanReader,
    pub(crate) settings: HarvestSettings,
    pub(crate) non_finite: NonFinite,
    pub(crate) mode: WriteMode,
}

impl WriterCore {
    /// Commits a filled shard. If another worker was first, this worker's files are dropped and the other's shard is
    /// returned.
    pub(crate) fn commit(&self, staged: StagedFolder, shard: WrittenShard) -> Result<WrittenShard> {
        match &self.mode {
            WriteMode::Exclusive { .. } => {
                staged.commit()?;
                Ok(shard)
            }
            #[cfg(feature = "workers")]
            WriteMode::Shared(worker) => worker.commit(self, staged, shard),
        }
    }

    /// Returns the shard of this number if another worker has finished it meanwhile.
    #[cfg_attr(not(feature = "workers"), expect(unused_variables, reason = "there is no other worker"))]
    pub(crate) fn of_another(&self, index: usize) -> Result<Option<WrittenShard>> {
        match &self.mode {
            WriteMode::Exclusive { .. } => Ok(None),
            #[cfg(feature = "workers")]
            WriteMode::Shared(worker) => worker.of_another(self, index),
        }
    }
}
