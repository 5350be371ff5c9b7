//! Matches an SAE's site with the sites of a cache.

use std::path::PathBuf;

use hayloft_model::Site;
use hayloft_runtime::words::did_you_mean;
use hayloft_sae::SaeFile;
use hayloft_store::{Cache, SiteRecord};

/// A mismatch between an SAE's site and the cache or the requested site.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// No SAE is given.
    #[error("expected at least one SAE, got none. Name their folders with --sae")]
    NoSaes,
    /// The SAE's width is not the cache's.
    #[error(
        "{sae}: expected an SAE for {what} {expected} wide, as the cache holds, got one for {got}. Was it trained on another model?"
    )]
    SaeWidth {
        /// The SAE's folder.
        sae: PathBuf,
        /// The quantity whose width differs.
        what: &'static str,
        /// The cache's width.
        expected: usize,
        /// The SAE's width.
        got: usize,
    },
    /// The SAE was trained on another site.
    #[error("{sae}: expected an SAE of {expected}, got one of {got}. {advice}")]
    SaeSite {
        /// The SAE's folder.
        sae: PathBuf,
        /// The site of the evaluation or training.
        expected: String,
        /// The site in the SAE's configuration.
        got: String,
        /// The suggested remedy.
        advice: &'static str,
    },
    /// Neither the SAE nor the user names a site.
    #[error(
        "{sae}: expected a hook_name in its configuration, got none. Name the site with --site, one of: {available}"
    )]
    SaeWithoutSite {
        /// The SAE's folder.
        sae: PathBuf,
        /// The cache's sites.
        available: String,
    },
    /// The cache does not hold the site.
    #[error(
        "{cache}: expected activations of {wanted}, got only {available}. Harvest that site, or give an SAE of one of these{}",
        did_you_mean(.wanted, .available.split(", "))
    )]
    SiteNotHeld {
        /// The cache's folder.
        cache: PathBuf,
        /// The requested site.
        wanted: String,
        /// The cache's sites.
        available: String,
    },
}

/// Rejects an SAE whose input width matches no site of the cache.
pub fn check_width(sae: &SaeFile, cache: &Cache) -> Result<(), SiteError> {
    let (widths, got) = (cache.manifest().sites.iter().map(|site| site.d_model), sae.d_model());
    match widths.clone().next() {
        Some(expected) if widths.clone().all(|width| width != got) => {
            Err(SiteError::SaeWidth { sae: sae.folder().to_path_buf(), what: "activations", expected, got })
        }
        _ => Ok(()),
    }
}

/// Whether two sites denote the same tensor: a block's output is the next block's input.
pub fn is_same_site(left: Site, right: Site) -> bool {
    left == right || (left.block().is_some() && left.block() == right.block())
}

/// Returns the common site of all SAEs, or the site named by the user if no SAE contradicts it.
pub fn wanted_site(named: Option<Site>, saes: &[SaeFile], cache: &Cache) -> Result<Site, SiteError> {
    let mut wanted = named;
    for sae in saes {
        let Some(name) = sae.site() else {
            if named.is_some() {
                continue;
            }
            let available = sites_in_words(cache);
            return Err(SiteError::SaeWithoutSite { sae: sae.folder().to_path_buf(), available });
        };
        let site = match (parsed_site(sae, name), named) {
            // If the SAE's site name cannot be parsed, the user's site applies.
            (Err(_), Some(_)) => continue,
            (site, _) => site?,
        };
        match wanted {
            Some(wanted) if !is_same_site(wanted, site) => {
                let advice = if named.is_some() {
                    "Leave --site out, or give an SAE of that site"
                } else {
                    "Evaluate SAEs of different sites one site at a time, or put them all in at once with --splice-together"
                };
                return Err(other_site(sae, wanted.to_string(), site, advice));
            }
            Some(_) => {}
            None => wanted = Some(site),
        }
    }
    wanted.ok_or(SiteError::NoSaes)
}

/// Parses the site named by an SAE.
pub fn parsed_site(sae: &SaeFile, name: &str) -> Result<Site, SiteError> {
    name.parse().map_err(|_| SiteError::SaeSite {
        sae: sae.folder().to_path_buf(),
        expected: "a site that is computed here, such as blocks.L.hook_resid_pre, hook_mlp_out or attn.hook_z"
            .to_owned(),
        got: name.to_owned(),
        advice: "If it is one of these under another name, say so with --site",
    })
}

fn other_site(sae: &SaeFile, expected: String, got: Site, advice: &'static str) -> SiteError {
    SiteError::SaeSite { sae: sae.folder().to_path_buf(), expected, got: got.to_string(), advice }
}

/// Returns the cache's record of a site, under any of its names.
pub fn held_site(wanted: Site, cache: &Cache) -> Result<&SiteRecord, SiteError> {
    let same = |record: &&SiteRecord| record.name.as_str().parse().is_ok_and(|site| is_same_site(site, wanted));
    let found = cache.manifest().sites.iter().find(same).ok_or_else(|| SiteError::SiteNotHeld {
        cache: cache.folder().to_path_buf(),
        wanted: wanted.to_string(),
        available: sites_in_words(cache),
    })?;
    if found.name.as_str() != wanted.to_string() {
        tracing::info!(asked = %wanted, held = %found.name, "the cache holds the same residual under another name");
    }
    Ok(found)
}

fn sites_in_words(cache: &Cache) -> String {
    cache.manifest().sites.iter().map(|site| site.name.to_string()).collect::<Vec<_>>().join(", ")
}
