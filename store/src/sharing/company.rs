//! Who else fills a cache, and how a shard gets its name among them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bucket::Bucket;
use super::leases::Leases;
use crate::cache_writer::Shared;
use crate::error::Result;
use crate::files::lock::Lock;
use crate::files::staged::{StagedFolder, discard};
use crate::shard_contents::WrittenShard;

/// Who else fills the cache.
#[derive(Debug)]
pub(crate) enum Company {
    /// Nobody: this writer holds the cache's lock alone.
    Alone { _lock: Lock },
    /// Other workers, with claims on shards.
    Beside(Box<Beside>),
}

/// A worker beside others.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) leases: Leases,
    /// What tells this worker from the others.
    pub(crate) worker: String,
    /// Where shards go from the folder that they are written to, if that is not where they stay.
    pub(crate) bucket: Option<Arc<Bucket>>,
    /// On the folder that shards are written to: shared with the other workers, but for a scratch folder.
    pub(crate) _lock: Lock,
}

impl Company {
    /// The others' company, if there are others.
    pub(crate) fn beside(&self) -> Option<&Beside> {
        match self {
            Self::Alone { .. } => None,
            Self::Beside(beside) => Some(beside),
        }
    }

    /// Where a folder is filled that is to be called `destination`.
    pub(crate) fn temporary(&self, destination: &Path) -> Option<PathBuf> {
        let beside = self.beside()?;
        let name = destination.file_name()?.to_string_lossy();
        Some(destination.with_file_name(format!(".{name}.{}.partial", beside.worker)))
    }
}

impl Shared {
    /// Gives a shard that has been filled its name, and lets go of the claim on it. Where another worker was first, what this
    /// one wrote is dropped, and the other's is returned: it is the same.
    pub(crate) fn commit(&self, staged: StagedFolder, shard: WrittenShard) -> Result<WrittenShard> {
        let Some(beside) = self.company.beside() else {
            staged.commit()?;
            return Ok(shard);
        };
        let shard = match &beside.bucket {
            None => self.commit_beside(staged, shard)?,
            Some(bucket) => {
                staged.commit()?;
                bucket.push_shard(self, shard)?
            }
        };
        beside.leases.finish(shard.index())?;
        Ok(shard)
    }

    fn commit_beside(&self, mut staged: StagedFolder, shard: WrittenShard) -> Result<WrittenShard> {
        while !staged.commit_where_free()? {
            if let Some(there) = WrittenShard::find(&self.folder, shard.index(), &self.plan, &self.settings)? {
                tell_of_difference(&shard, &there);
                return Ok(there);
            }
            // It is not whole: while this worker has the claim, it may go.
            discard(self.disk.as_ref(), staged.destination())?;
        }
        Ok(shard)
    }
}

/// Says so where a shard that another worker made is not the same: their processors, or their libraries, compute differently.
pub(crate) fn tell_of_difference(own: &WrittenShard, there: &WrittenShard) {
    let shard = own.index();
    if own.contents.files == there.contents.files {
        tracing::info!(shard, "another worker was first with this shard, so that this one's is dropped");
    } else {
        tracing::warn!(
            shard,
            "another worker was first with this shard, and got other bytes: workers on different hardware round differently. Its shard is kept"
        );
    }
}
