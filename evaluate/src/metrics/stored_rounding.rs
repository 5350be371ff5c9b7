//! Effect of a lossy codec on the metrics: the error of stored activations, and the difference between a clean loss
//! computed from them and the loss recorded by the harvest.

use hayloft_results::StoredRounding;
use hayloft_rows::SectionChoice;

use crate::data::reader::CacheReader;
use crate::error::EvaluateError;
use crate::metrics::compute_effect::sample_rows;
use crate::session::context::EvaluationContext;
use crate::splice::upper_model::UpperModel;

/// Measures the effect; `None` if the codec is lossless.
pub(crate) fn measure(
    context: &EvaluationContext,
    source: CacheReader<'_>,
    upper_model: Option<&UpperModel>,
) -> Result<Option<StoredRounding>, EvaluateError> {
    let Some(rounding) = context.point.input.rounding else { return Ok(None) };
    let (mut difference, mut tokens) = (0.0, 0);
    if let Some(upper_model) = upper_model {
        for batch in source.first(sample_rows(context))? {
            let rows = batch.counted(SectionChoice::All);
            let Some(cached) = batch.losses_at(&rows) else { break };
            let activations = source.to_device(&batch)?;
            let computed = upper_model.losses(&batch, &upper_model.clean(&activations)?, &rows)?;
            difference +=
                computed.iter().zip(&cached).map(|(now, then)| f64::from(*now) - f64::from(*then)).sum::<f64>();
            tokens += rows.len() as u64;
        }
    }
    Ok(Some(StoredRounding {
        codec: context.cache.manifest().codec,
        relative_error: rounding.relative(),
        ce_effect: (tokens > 0).then(|| difference / tokens as f64),
        loss_tokens: tokens,
    }))
}
