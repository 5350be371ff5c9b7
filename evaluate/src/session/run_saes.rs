//! The SAEs of a run, each with its name, splice site and scale.

use hayloft_results::unique_names;
use hayloft_rows::{Scale, ScaleRule};
use hayloft_runtime::Progress;
use hayloft_sae::SaeFile;

use crate::error::EvaluateError;
use crate::session::context::{EvaluationContext, open_saes};
use crate::session::scale::{scale_on, scale_rule};
use crate::session::settings::{RunSettings, Splice};
use crate::session::splice_site::SpliceSite;
use crate::session::training_remarks;

/// An opened SAE of a run.
pub(crate) struct RunSae {
    pub(crate) file: SaeFile,
    /// Unique in the run.
    pub(crate) name: String,
    /// Index into [`RunSaes::sites`].
    pub(crate) site: usize,
    pub(crate) scale: Scale,
}

/// The SAEs of a run and the sites that they are spliced into.
pub(crate) struct RunSaes {
    /// In the order given; that of the forward pass if spliced together.
    pub(crate) saes: Vec<RunSae>,
    /// The sites that one spliced run replaces, from the lowest to the highest: a single one if each SAE is spliced
    /// alone, that of each SAE if all are spliced together.
    pub(crate) sites: Vec<SpliceSite>,
}

impl RunSaes {
    /// Opens the SAEs, and the cache and the model at the lowest site.
    pub(crate) fn open(settings: &RunSettings, progress: Progress) -> Result<(Self, EvaluationContext), EvaluateError> {
        let files = open_saes(settings.saes.iter().map(AsRef::as_ref), &settings.sae_options)?;
        let mut saes: Vec<(SaeFile, String, usize)> = Vec::with_capacity(files.len());
        let (context, sites) = match settings.splice {
            Splice::EachAlone => {
                let context = EvaluationContext::open(settings, &files, progress)?;
                let names = unique_names(&settings.saes);
                saes.extend(files.into_iter().zip(names).map(|(file, name)| (file, name, 0)));
                let site = context.point.clone();
                (context, vec![site])
            }
            Splice::Together => {
                let mut context = EvaluationContext::open(settings, files.get(..1).unwrap_or_default(), progress)?;
                let mut sites = Vec::with_capacity(files.len());
                for (file, name, site) in in_forward_order(&context, files, unique_names(&settings.saes))? {
                    saes.push((file, name, sites.len()));
                    sites.push(site);
                }
                if let Some(lowest) = sites.first() {
                    context.point = lowest.clone();
                }
                (context, sites)
            }
        };
        let mut opened: Vec<RunSae> = Vec::with_capacity(saes.len());
        let mut rules: Vec<ScaleRule> = Vec::with_capacity(saes.len());
        for (file, name, site) in saes {
            training_remarks::tell(&name, &file, &context);
            let weights = settings.weights.resolve(std::slice::from_ref(&file), context.spec(), &sites[site])?;
            if weights != context.weights {
                let (sae, expected) = (file.folder().to_path_buf(), context.weights);
                return Err(EvaluateError::MixedWeights { sae, expected });
            }
            let rule = scale_rule(settings, &file)?;
            // A scale averaged over some rows reads the tables of the whole cache, so each rule is evaluated once.
            let known = opened.iter().zip(&rules).find(|(other, known)| other.site == site && **known == rule);
            let scale = match known {
                Some((other, _)) => other.scale.clone(),
                None => scale_on(&rule, settings, &file, &context.cache, &sites[site].input)?,
            };
            tracing::info!(sae = %name, architecture = file.architecture(), width = file.width(), %scale, "SAE");
            rules.push(rule);
            opened.push(RunSae { file, name, site, scale });
        }
        Ok((Self { saes: opened, sites }, context))
    }
}

/// SAEs that are spliced together, in the order of the forward pass, each with its site.
fn in_forward_order(
    context: &EvaluationContext,
    files: Vec<SaeFile>,
    names: Vec<String>,
) -> Result<Vec<(SaeFile, String, SpliceSite)>, EvaluateError> {
    let mut placed = Vec::with_capacity(files.len());
    for (file, name) in files.into_iter().zip(names) {
        let site = SpliceSite::find(None, std::slice::from_ref(&file), &context.cache, context.spec())?;
        placed.push((file, name, site));
    }
    placed.sort_by_key(|(_, _, site)| (site.input_site, site.target_site));
    for pair in placed.windows(2) {
        let [(first, _, before), (second, _, after)] = pair else { continue };
        // The output of a block is the input of the next.
        if before.target.name == after.target.name || after.input_site <= before.target_site {
            return Err(EvaluateError::TwoAtOneSite {
                first: first.folder().to_path_buf(),
                second: second.folder().to_path_buf(),
                site: after.target_site.to_string(),
            });
        }
    }
    Ok(placed)
}
