//! Selection of sites.

use std::path::Path;

use crate::error::{Result, StoreError, joined};
use crate::format::site::SiteName;

/// The wanted sites, sorted; all available ones if `wanted` is empty.
pub(super) fn choose_sites(folder: &Path, available: &[SiteName], wanted: &[SiteName]) -> Result<Vec<SiteName>> {
    let absent = wanted.iter().find(|site| !available.contains(site));
    if let Some(site) = absent {
        return Err(StoreError::UnknownSite {
            folder: folder.to_owned(),
            site: site.to_string(),
            available: joined(available),
        });
    }
    let mut sites = if wanted.is_empty() { available.to_vec() } else { wanted.to_vec() };
    sites.sort();
    sites.dedup();
    Ok(sites)
}
