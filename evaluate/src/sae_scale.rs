//! The scale of an SAE in a run: what the user says, or what the SAE's files say.

use hayloft_store::{Cache, SiteRecord};

use crate::rows::RowChoice;
use crate::scale::{Scale, ScaleChoice, ScaleRule};
use crate::{EvaluateError, Normalisation, RunSettings, SaeFile};

/// The rule of an SAE's scale in a run. Says where the user's is not the one that the SAE was trained by.
pub(crate) fn scale_rule(settings: &RunSettings, file: &SaeFile) -> ScaleRule {
    let kept = RowChoice { sections: settings.sections.clone(), exclude: settings.exclude };
    let recorded = recorded(file);
    let rule = settings.scale.rule(file.normalisation(), recorded, &kept);
    if let (ScaleChoice::Auto, Some(rows)) = (settings.scale, recorded)
        && file.normalisation() == Normalisation::ExpectedAverageOnlyIn
    {
        let sae = file.folder().display();
        tracing::warn!(
            "{sae}: it was trained with a scale over {rows}, and --scale auto is over all rows of the cache; leave --scale out for the scale over {rows}"
        );
    }
    rule
}

/// The scale by that rule on a cache's site.
pub(crate) fn scale_on(
    rule: &ScaleRule,
    settings: &RunSettings,
    file: &SaeFile,
    cache: &Cache,
    input: &SiteRecord,
) -> Result<Scale, EvaluateError> {
    let scale = rule.on(cache, input, settings.model.as_deref());
    match (settings.scale, rule, file.training()) {
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

/// The rows that the SAE's files say its scale is averaged over, where these are not all.
pub(crate) fn recorded(file: &SaeFile) -> Option<&RowChoice> {
    file.training()?.scale_rows.as_ref()
}
