//! Shares a cache with other processes.

use std::ops::Range;

use hayloft_store::{CacheWriter, HarvestSettings, Place};

use super::settings::{RunSettings, Share};
use crate::error::HarvestError;

/// Opens the cache as the settings say: exclusive or shared, in a folder or in a bucket.
pub(crate) fn open(settings: &RunSettings, cache_settings: HarvestSettings) -> Result<CacheWriter, HarvestError> {
    let (out, non_finite) = (&settings.out, settings.non_finite);
    let Some(share) = &settings.share else {
        return Ok(CacheWriter::open(out, cache_settings, non_finite, settings.existing)?);
    };
    let Share { sharing, scratch, .. } = share;
    match Place::of(out)? {
        Place::Local(folder) => Ok(CacheWriter::open_shared(&folder, cache_settings, non_finite, *sharing)?),
        Place::Remote(location) => {
            let options = share.remote();
            Ok(CacheWriter::open_bucket(&location, &options, scratch, cache_settings, non_finite, *sharing)?)
        }
    }
}

/// Returns an error for a remote location where a folder is required.
pub(super) fn check_place(settings: &RunSettings) -> Result<(), HarvestError> {
    match Place::of(&settings.out)? {
        Place::Remote(_) if settings.share.is_none() => Err(HarvestError::NotShared { out: settings.out.clone() }),
        _ => Ok(()),
    }
}

/// Returns the requested range of the planned shards.
pub(crate) fn asked_shards(settings: &RunSettings, cache: &CacheWriter) -> Result<Range<usize>, HarvestError> {
    settings.shards.within(cache.plan().shards.len())
}
