//! Reads the training record of SAEs trained by Hayloft.

use hayloft_rows::TrainingOrigin;
use hayloft_sae::{SaeError, SaeFile};
use serde::Deserialize;

/// Returns `metadata.hayloft` of an SAE's `cfg.json`, if Hayloft trained the SAE. An unparsable record is an error, because
/// ignoring it would change the scale or threshold.
pub fn training_origin(file: &SaeFile) -> Result<Option<TrainingOrigin>, SaeError> {
    let Some(record) = file.training_record() else { return Ok(None) };
    TrainingOrigin::deserialize(record).map(Some).map_err(|error| SaeError::Field {
        path: file.folder().to_path_buf(),
        field: "metadata.hayloft".to_owned(),
        expected: "what `evaluate train` of this version writes".to_owned(),
        got: error.to_string(),
    })
}
