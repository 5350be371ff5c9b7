//! Selection of sites.

use std::path::Path;

use crate::error::{Result, StoreError};
use crate::format::site::SiteName;

/// The wanted sites, sorted; all available ones if `wanted` is empty.
pub(super) fn choose_sites(folder: &Path, available: &[SiteName], wanted: &[SiteName]) -> Result<Vec<SiteName>> {
    let absent = wanted.iter().find(|site| !available.contains(site));
    if let Some(site) = absent {
        let names: Vec<&str> = available.iter().map(SiteName::as_str).collect();
        return Err(StoreError::UnknownSite {
            folder: folder.to_owned(),
            site: site.to_string(),
            available: names.join(", "),
        });
    }
    let mut sites = if wanted.is_empty() { available.to_vec() } else { wanted.to_vec() };
    sites.sort();
    sites.dedup();
    Ok(sites)
}
