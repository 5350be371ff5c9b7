//! The scale of an SAE in a run, from the user or from the SAE's files.

use hayloft_rows::{RowChoice, Scale, ScaleChoice, ScaleRule};
use hayloft_sae::{Normalisation, SaeFile};
use hayloft_store::{Cache, SiteRecord};
use hayloft_train::{special_tokens, training_origin};

use crate::error::EvaluateError;
use crate::session::settings::RunSettings;

/// The scale rule of an SAE in a run. Warns if the user's choice is not the rule used in training.
pub(crate) fn scale_rule(settings: &RunSettings, file: &SaeFile) -> Result<ScaleRule, EvaluateError> {
    let kept = RowChoice { sections: settings.sections.clone(), exclude: settings.exclude };
    let origin = training_origin(file)?;
    let recorded = origin.as_ref().and_then(|origin| origin.scale_rows.as_ref());
    let rule = settings.scale.rule(file.normalisation().as_str(), recorded, &kept);
    if let (ScaleChoice::Auto, Some(rows)) = (settings.scale, recorded)
        && file.normalisation() == Normalisation::ExpectedAverageOnlyIn
    {
        let sae = file.folder().display();
        tracing::warn!(
            "{sae}: it was trained with a scale over {rows}, and --scale auto is over all rows of the cache; leave --scale out for the scale over {rows}"
        );
    }
    Ok(rule)
}

/// The scale that the rule gives on a site of the cache.
pub(crate) fn scale_on(
    rule: &ScaleRule,
    settings: &RunSettings,
    file: &SaeFile,
    cache: &Cache,
    input: &SiteRecord,
) -> Result<Scale, EvaluateError> {
    let special = || special_tokens::<EvaluateError>(cache, settings.tokenizer_folder());
    let scale = rule.on(cache, input, special);
    match (settings.scale, rule, training_origin(file)?) {
        (ScaleChoice::FollowSae, ScaleRule::Rows(rows), Some(training)) => {
            scale.map_err(|cause| EvaluateError::RecordedScale {
                sae: file.folder().to_path_buf(),
                rows: rows.to_string(),
                trained: training.scale,
                cause: Box::new(cause),
            })
        }
        _ => scale,
    }
}
