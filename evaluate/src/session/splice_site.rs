//! The sites that an evaluation reads from the model and writes to.

use hayloft_checkpoint::DecoderSpec;
use hayloft_model::Site;
use hayloft_sae::SaeFile;
use hayloft_store::{Cache, SiteName, SiteRecord};
use hayloft_train::{SiteError, check_width, held_site, is_same_site, parsed_site, wanted_site};

use crate::error::EvaluateError;

/// The SAEs' input site, and the site that their reconstructions replace.
#[derive(Debug, Clone)]
pub(crate) struct SpliceSite {
    /// The SAEs' input, as recorded in the cache.
    pub(crate) input: SiteRecord,
    /// The site that reconstructions are compared with and replace: the input, except for transcoders.
    pub(crate) target: SiteRecord,
    /// The input in the model.
    pub(crate) input_site: Site,
    /// The target in the model.
    pub(crate) target_site: Site,
    /// Other sites that the forward pass from the target needs, by their names in the cache. Empty without a model.
    pub(crate) beside: Vec<SiteName>,
}

impl SpliceSite {
    /// The site that all SAEs were trained at, or the one that the user names, if no SAE contradicts it. `spec` is that
    /// of the model, if there is one.
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
        let output = wanted_target(input, saes)?;
        for site in [input, output] {
            if let Some(spec) = spec {
                site.check(spec)?;
            }
        }
        let held = held_site(input, cache)?.clone();
        let target = held_site(output, cache)?.clone();
        for sae in saes {
            for (what, expected, got) in
                [("activations", held.d_model, sae.d_model()), ("reconstructions", target.d_model, sae.d_out())]
            {
                if expected != got {
                    return Err(SiteError::SaeWidth { sae: sae.folder().to_path_buf(), what, expected, got }.into());
                }
            }
        }
        let beside = match spec {
            Some(spec) => output.beside(spec).into_iter().map(|beside| held_beside(output, beside, cache)).collect(),
            None => Ok(Vec::new()),
        };
        Ok(Self { input: held, target, input_site: input, target_site: output, beside: beside? })
    }

    /// The sites to read: the input, the target if it is another site, and those that the forward pass needs.
    pub(crate) fn sites(&self) -> Vec<&SiteName> {
        let target = if self.is_transcoder() { Some(&self.target.name) } else { None };
        std::iter::once(&self.input.name).chain(target).chain(&self.beside).collect()
    }

    /// The same where nothing is replaced: the input alone is read.
    pub(crate) fn input_alone(&self) -> Self {
        Self {
            target: self.input.clone(),
            target_site: self.input_site,
            beside: Vec::new(),
            input: self.input.clone(),
            input_site: self.input_site,
        }
    }

    /// Whether reconstructions replace another site than the SAEs' input.
    pub(crate) fn is_transcoder(&self) -> bool {
        self.input.name != self.target.name
    }

    /// The site's label in results and in the names of stored files.
    pub(crate) fn label(&self) -> String {
        if self.is_transcoder() {
            format!("{}-to-{}", self.input.name, self.target.name)
        } else {
            self.input.name.to_string()
        }
    }
}

/// The site that all SAEs reconstruct.
fn wanted_target(input: Site, saes: &[SaeFile]) -> Result<Site, EvaluateError> {
    let mut wanted = None;
    for sae in saes {
        let target = match sae.output_site() {
            Some(name) => parsed_site(sae, name)?,
            None if sae.is_transcoder() => {
                return Err(EvaluateError::TranscoderWithoutTarget { sae: sae.folder().to_path_buf() });
            }
            None => input,
        };
        match wanted {
            Some(wanted) if !is_same_site(wanted, target) => {
                let advice = "Evaluate SAEs and transcoders of different targets one target at a time";
                return Err(SiteError::SaeSite {
                    sae: sae.folder().to_path_buf(),
                    expected: wanted.to_string(),
                    got: target.to_string(),
                    advice,
                }
                .into());
            }
            _ => wanted = Some(target),
        }
    }
    Ok(wanted.unwrap_or(input))
}

fn held_beside(site: Site, beside: Site, cache: &Cache) -> Result<SiteName, EvaluateError> {
    held_site(beside, cache).map(|record| record.name.clone()).map_err(|_| EvaluateError::BesideNotHeld {
        cache: cache.folder().to_path_buf(),
        site: site.to_string(),
        beside: beside.to_string(),
    })
}
