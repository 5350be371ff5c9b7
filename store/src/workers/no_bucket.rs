//! Without the feature `remote`, there is no bucket to fill.

use crate::error::Result;
use crate::format::manifest::Manifest;
use crate::format::plan::PlanReader;
use crate::format::settings::HarvestSettings;
use crate::format::shard_record::WrittenShard;
use crate::write::core::WriterCore;

/// Has no value.
#[derive(Debug)]
pub(crate) enum Bucket {}

impl Bucket {
    pub(crate) fn was_whole(&self, _: usize) -> bool {
        match *self {}
    }

    pub(crate) fn refresh(&self, _: &[usize]) -> Result<()> {
        match *self {}
    }

    pub(crate) fn bring_plan_of(&self, _: &PlanReader, _: usize) -> Result<()> {
        match *self {}
    }

    pub(crate) fn push_shard(&self, _: &WriterCore, _: &str, _: &WrittenShard) -> Result<WrittenShard> {
        match *self {}
    }

    pub(crate) fn publish_what_is_decided(&self, _: &WriterCore, _: usize) -> Result<bool> {
        match *self {}
    }

    pub(crate) fn remove_attempt(&self, _: usize, _: &str) -> Result<()> {
        match *self {}
    }

    pub(crate) fn finish(&self, _: &PlanReader, _: &HarvestSettings) -> Result<Option<Manifest>> {
        match *self {}
    }
}
