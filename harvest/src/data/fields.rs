//! The fields that are read of rows.

use super::FieldPath;

/// The fields that are read of a row.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    /// Fields that a row must have.
    pub(super) required: Vec<FieldPath>,
    /// Fields that a row may lack.
    pub(super) optional: Vec<FieldPath>,
}

impl Fields {
    /// Returns all of them.
    pub(super) fn all(&self) -> Vec<FieldPath> {
        self.required.iter().chain(&self.optional).cloned().collect()
    }
}
