//! State shared by a cache writer and its shard writers.

use std::path::PathBuf;
use std::sync::Arc;

use crate::format::plan::PlanReader;
use crate::format::settings::{HarvestSettings, NonFinite};
use crate::fs::disk::Disk;
use crate::workers::WriteMode;

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
