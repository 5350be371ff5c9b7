//! Filling a cache beside other processes.

use std::ops::Range;
use std::path::PathBuf;

use hayloft_store::{CacheWriter, HarvestSettings, Place, RemoteOptions, Sharing};

use super::harvest::RunSettings;
use crate::error::HarvestError;

/// How a cache is filled beside other processes, on whatever machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// How long a process may be silent before others take its shard over.
    pub sharing: Sharing,
    /// Where shards are written before they are pushed, where the cache is in a bucket.
    pub scratch: PathBuf,
    /// Whether this machine, as one of a cloud, is asked for credentials where no variable names any.
    pub instance_credentials: bool,
}

impl Share {
    /// How a bucket is reached.
    pub(super) fn remote(&self) -> RemoteOptions {
        RemoteOptions { instance_credentials: self.instance_credentials, ..RemoteOptions::default() }
    }
}

/// Opens the cache as the settings ask: alone or beside others, in a folder or in a bucket.
pub(crate) fn open(settings: &RunSettings, cache_settings: HarvestSettings) -> Result<CacheWriter, HarvestError> {
    let (out, non_finite) = (&settings.out, settings.non_finite);
    let Some(share) = &settings.share else {
        return Ok(CacheWriter::open(out, cache_settings, non_finite, settings.existing)?);
    };
    let Share { sharing, scratch, .. } = share;
    match Place::of(out)? {
        Place::Local(folder) => Ok(CacheWriter::open_beside(&folder, cache_settings, non_finite, *sharing)?),
        Place::Remote(location) => {
            let options = share.remote();
            Ok(CacheWriter::open_bucket(&location, &options, scratch, cache_settings, non_finite, *sharing)?)
        }
    }
}

/// Refuses a location where a folder is needed.
pub(super) fn check_place(settings: &RunSettings) -> Result<(), HarvestError> {
    match Place::of(&settings.out)? {
        Place::Remote(_) if settings.share.is_none() => Err(HarvestError::NotShared { out: settings.out.clone() }),
        _ => Ok(()),
    }
}

/// The shards that are asked for, of those that are planned.
pub(crate) fn asked_shards(settings: &RunSettings, cache: &CacheWriter) -> Result<Range<usize>, HarvestError> {
    settings.shards.within(cache.plan().shards.len())
}
