//! Where an evaluation reads from the model, and where it writes to it.

use hayloft_model::{DecoderSpec, Site};
use hayloft_store::{Cache, SiteName, SiteRecord};

use crate::{EvaluateError, SaeFile};

/// What SAEs are given, and what their reconstructions take the place of.
#[derive(Debug, Clone)]
pub(crate) struct SplicePoint {
    /// What SAEs are given, by the cache's record.
    pub(crate) input: SiteRecord,
    /// What reconstructions are held against and take the place of: the same, but for transcoders.
    pub(crate) target: SiteRecord,
    /// The target in the model.
    pub(crate) site: Site,
    /// What going on from the target takes besides it, by the cache's names. None without a model.
    pub(crate) beside: Vec<SiteName>,
}

impl SplicePoint {
    /// The point that all SAEs were trained at, or the one that the user names and no SAE contradicts. `spec` is that of the
    /// model, if there is one.
    pub(crate) fn find(
        named: Option<Site>,
        saes: &[SaeFile],
        cache: &Cache,
        spec: Option<&DecoderSpec>,
    ) -> Result<Self, EvaluateError> {
        for sae in saes {
            check_width(sae, cache)?;
        }
        let input = wanted_site(named, saes, cache)?;
        let site = wanted_target(input, saes)?;
        for site in [input, site] {
            if let Some(spec) = spec {
                site.check(spec)?;
            }
        }
        let held = held_site(input, cache)?.clone();
        let target = held_site(site, cache)?.clone();
        for sae in saes {
            for (what, expected, got) in
                [("activations", held.d_model, sae.d_model()), ("reconstructions", target.d_model, sae.d_out())]
            {
                if expected != got {
                    return Err(EvaluateError::SaeWidth { sae: sae.folder().to_path_buf(), what, expected, got });
                }
            }
        }
        let beside = match spec {
            Some(spec) => site.beside(spec).into_iter().map(|beside| held_beside(site, beside, cache)).collect(),
            None => Ok(Vec::new()),
        };
        Ok(Self { input: held, target, site, beside: beside? })
    }

    /// The sites that are read: the input, the target where it is another, and what going on takes.
    pub(crate) fn sites(&self) -> Vec<&SiteName> {
        let target = if self.is_transcoder() { Some(&self.target.name) } else { None };
        std::iter::once(&self.input.name).chain(target).chain(&self.beside).collect()
    }

    /// Whether reconstructions take the place of something else than what SAEs are given.
    pub(crate) fn is_transcoder(&self) -> bool {
        self.input.name != self.target.name
    }

    /// What it is called in results and in the names of kept files.
    pub(crate) fn label(&self) -> String {
        if self.is_transcoder() {
            format!("{}-to-{}", self.input.name, self.target.name)
        } else {
            self.input.name.to_string()
        }
    }
}

/// Refuses an SAE for activations of a width that no site of the cache has.
pub(crate) fn check_width(sae: &SaeFile, cache: &Cache) -> Result<(), EvaluateError> {
    let (widths, got) = (cache.manifest().sites.iter().map(|site| site.d_model), sae.d_model());
    match widths.clone().next() {
        Some(expected) if widths.clone().all(|width| width != got) => {
            Err(EvaluateError::SaeWidth { sae: sae.folder().to_path_buf(), what: "activations", expected, got })
        }
        _ => Ok(()),
    }
}

/// Whether two names mean one tensor: what leaves a block enters the next.
fn is_same(left: Site, right: Site) -> bool {
    left == right || (left.block().is_some() && left.block() == right.block())
}

/// The site of all SAEs, or the one that the user names and no SAE contradicts.
pub(crate) fn wanted_site(named: Option<Site>, saes: &[SaeFile], cache: &Cache) -> Result<Site, EvaluateError> {
    let mut wanted = named;
    for sae in saes {
        let Some(name) = sae.site() else {
            if named.is_some() {
                continue;
            }
            let available = sites_in_words(cache);
            return Err(EvaluateError::SaeWithoutSite { sae: sae.folder().to_path_buf(), available });
        };
        let site = match (parsed(sae, name), named) {
            // The user knows better what a name means that is not known here.
            (Err(_), Some(_)) => continue,
            (site, _) => site?,
        };
        match wanted {
            Some(wanted) if !is_same(wanted, site) => {
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
    wanted.ok_or(EvaluateError::NoSaes)
}

/// What all SAEs reconstruct.
fn wanted_target(input: Site, saes: &[SaeFile]) -> Result<Site, EvaluateError> {
    let mut wanted = None;
    for sae in saes {
        let target = match sae.output_site() {
            Some(name) => parsed(sae, name)?,
            None if sae.is_transcoder() => {
                return Err(EvaluateError::TranscoderWithoutTarget { sae: sae.folder().to_path_buf() });
            }
            None => input,
        };
        match wanted {
            Some(wanted) if !is_same(wanted, target) => {
                let advice = "Evaluate SAEs and transcoders of different targets one target at a time";
                return Err(other_site(sae, wanted.to_string(), target, advice));
            }
            _ => wanted = Some(target),
        }
    }
    Ok(wanted.unwrap_or(input))
}

fn parsed(sae: &SaeFile, name: &str) -> Result<Site, EvaluateError> {
    name.parse().map_err(|_| EvaluateError::SaeSite {
        sae: sae.folder().to_path_buf(),
        expected: "a site that is computed here, such as blocks.L.hook_resid_pre, hook_mlp_out or attn.hook_z"
            .to_owned(),
        got: name.to_owned(),
        advice: "If it is one of these under another name, say so with --site",
    })
}

fn other_site(sae: &SaeFile, expected: String, got: Site, advice: &'static str) -> EvaluateError {
    EvaluateError::SaeSite { sae: sae.folder().to_path_buf(), expected, got: got.to_string(), advice }
}

/// The cache's record of a site, whatever its name.
pub(crate) fn held_site(wanted: Site, cache: &Cache) -> Result<&SiteRecord, EvaluateError> {
    let same = |record: &&SiteRecord| record.name.as_str().parse().is_ok_and(|site| is_same(site, wanted));
    let found = cache.manifest().sites.iter().find(same).ok_or_else(|| EvaluateError::SiteNotHeld {
        cache: cache.folder().to_path_buf(),
        wanted: wanted.to_string(),
        available: sites_in_words(cache),
    })?;
    if found.name.as_str() != wanted.to_string() {
        tracing::info!(asked = %wanted, held = %found.name, "the cache holds the same residual under another name");
    }
    Ok(found)
}

fn held_beside(site: Site, beside: Site, cache: &Cache) -> Result<SiteName, EvaluateError> {
    held_site(beside, cache).map(|record| record.name.clone()).map_err(|_| EvaluateError::BesideNotHeld {
        cache: cache.folder().to_path_buf(),
        site: site.to_string(),
        beside: beside.to_string(),
    })
}

fn sites_in_words(cache: &Cache) -> String {
    cache.manifest().sites.iter().map(|site| site.name.to_string()).collect::<Vec<_>>().join(", ")
}
