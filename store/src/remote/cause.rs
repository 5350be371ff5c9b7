//! Why a request failed.

use std::time::Duration;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The object does not exist.
    Absent,
    /// The bucket or container does not exist.
    NoBucket,
    /// Authentication or authorisation failed.
    Denied,
    /// The condition of a write does not hold.
    Condition,
    /// The service redirects elsewhere.
    Redirect,
    /// The service does not support the request.
    Unsupported,
    /// The object is shorter or longer than the requested range.
    Length,
    /// The response is an HTML page, or a whole object instead of a range.
    Page,
    /// The service rejected the request.
    Refused,
    /// The service is temporarily unavailable.
    Busy,
    /// No trusted TLS connection.
    Certificate,
    /// Nothing listens at the address.
    NotListening,
    /// The host name does not resolve.
    UnknownHost,
    /// No response in time.
    Silent,
    /// The connection broke.
    Broken,
    /// The settings make no valid request.
    Setting,
}

impl Cause {
    /// Whether a retry is useless. A service that has responded before may be restarting; one that never has is not there.
    pub(crate) fn is_final(self, reached: bool) -> bool {
        match self {
            Self::Busy | Self::Silent | Self::Broken => false,
            Self::NotListening | Self::UnknownHost => !reached,
            _ => true,
        }
    }
}

/// A failed request. Part of the source chain of the client's error.
#[derive(Debug, thiserror::Error)]
#[error("{said}{}", tried(.cause.is_final(false), *.tries, *.spent, *.budget))]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    /// The response or error in words, without secrets.
    pub(crate) said: String,
    pub(crate) tries: u32,
    pub(crate) spent: Duration,
    pub(crate) budget: Duration,
}

/// The number of tries and the time spent, for errors that are retried.
fn tried(is_final: bool, tries: u32, spent: Duration, budget: Duration) -> String {
    if is_final && tries == 1 {
        return String::new();
    }
    let (spent, budget) = (spent.as_secs_f64(), budget.as_secs_f64());
    let word = if tries == 1 { "try" } else { "tries" };
    format!(", after {tries} {word} in {spent:.1} s (one request is tried for {budget:.1} s)")
}
