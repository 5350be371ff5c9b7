//! Errors as exceptions.

use hayloft_rows::RowsError;
use hayloft_store::{ErrorKind, StoreError};
use pyo3::prelude::*;

/// An error before it is an exception, so that threads without Python's lock can have one.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The value of the exception's `kind`.
    kind: &'static str,
    message: String,
}

impl Failure {
    pub(crate) fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// An argument is out of range.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new("invalid", message)
    }

    /// The reading was interrupted, so its result is not wanted.
    pub(crate) fn stopped() -> Self {
        Self::new("interrupted", "the reading was interrupted")
    }

    /// A thread ended without a result, which is an error of this package.
    pub(crate) fn internal() -> Self {
        Self::new(
            "internal",
            "a thread of hayloft ended without a result. This is an error of hayloft: please report it",
        )
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let kind = match (&error, error.kind()) {
            (StoreError::UnknownSite { .. }, _) => "unknown_site",
            (_, ErrorKind::NotFound) => "not_found",
            (_, ErrorKind::Damaged) => "damaged",
            (_, ErrorKind::Unsupported) => "unsupported",
            (_, ErrorKind::Conflict) => "conflict",
            (_, ErrorKind::Io) => "io",
            (_, ErrorKind::Remote) => "remote",
            _ => "invalid",
        };
        Self::new(kind, error.to_string())
    }
}

impl From<RowsError> for Failure {
    fn from(error: RowsError) -> Self {
        match error {
            RowsError::Store(error) => error.into(),
            RowsError::Memory { .. } => Self::new("memory", error.to_string()),
            other => Self::invalid(other.to_string()),
        }
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        Python::attach(|py| {
            let made = py
                .import("hayloft._errors")
                .and_then(|module| module.getattr("of_kind")?.call1((failure.kind, failure.message)));
            made.map_or_else(|error| error, Self::from_value)
        })
    }
}
