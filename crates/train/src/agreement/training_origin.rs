//! What an SAE that was trained here says of its training.

use hayloft_rows::TrainingOrigin;
use hayloft_sae::{SaeError, SaeFile};
use serde::Deserialize;

/// `metadata.hayloft` of an SAE's `cfg.json`, where it was trained here. A record that is not understood is refused: a scale or a
/// threshold would be another.
pub fn training_origin(file: &SaeFile) -> Result<Option<TrainingOrigin>, SaeError> {
    let Some(record) = file.training_record() else { return Ok(None) };
    TrainingOrigin::deserialize(record).map(Some).map_err(|error| SaeError::Field {
        path: file.folder().to_path_buf(),
        field: "metadata.hayloft".to_owned(),
        expected: "what `evaluate train` of this version writes".to_owned(),
        got: error.to_string(),
    })
}
