//! Opens the cache to fill.

use std::ops::Range;

use hayloft_store::{CacheWriter, HarvestSettings, Place};

use super::settings::{RunSettings, ShareSettings};
use crate::error::HarvestError;

/// Opens the cache as the settings say: exclusive or shared, in a folder or in a bucket.
pub(super) fn open_cache(settings: &RunSettings, cache_settings: HarvestSettings) -> Result<CacheWriter, HarvestError> {
    let (out, non_finite) = (&settings.out, settings.non_finite);
    let Some(share) = &settings.share else {
        return Ok(CacheWriter::open(out, cache_settings, non_finite, settings.existing)?);
    };
    let ShareSettings { sharing, scratch, .. } = share;
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
pub(super) fn requested_shards(settings: &RunSettings, cache: &CacheWriter) -> Result<Range<usize>, HarvestError> {
    settings.shards.within(cache.plan().shards.len())
}
