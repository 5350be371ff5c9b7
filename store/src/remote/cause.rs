//! Why a request got nowhere.

use std::time::Duration;

/// Why a request got nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// There is no such object.
    Absent,
    /// There is no such bucket or container.
    NoBucket,
    /// The service does not let one in, or does not allow it.
    Denied,
    /// A write said under which condition it is to be done, and it does not hold.
    Condition,
    /// What is asked for is elsewhere.
    Redirect,
    /// The service does not know how to do this.
    Unsupported,
    /// The object is shorter or longer than was asked for.
    Length,
    /// The answer is a page for people, or all of an object where a part was asked for.
    Page,
    /// The service understood the request and will not have it.
    Refused,
    /// The service is up and cannot do it now.
    Busy,
    /// No encrypted connection that can be trusted.
    Certificate,
    /// Nothing listens at the address.
    NotListening,
    /// The host has no address.
    UnknownHost,
    /// No answer came in time.
    Silent,
    /// The connection broke.
    Broken,
    /// The settings make no request.
    Setting,
}

impl Cause {
    /// Whether trying again would be no use. A service that has answered before may be started anew; one that never did
    /// is not there.
    pub(crate) fn is_final(self, reached: bool) -> bool {
        match self {
            Self::Busy | Self::Silent | Self::Broken => false,
            Self::NotListening | Self::UnknownHost => !reached,
            _ => true,
        }
    }
}

/// A request that got nowhere: among the causes of the error that the client makes of it.
#[derive(Debug, thiserror::Error)]
#[error("{said}{}", tried(.cause.is_final(false), *.tries, *.spent, *.budget))]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    /// What came, in words without anything secret.
    pub(crate) said: String,
    pub(crate) tries: u32,
    pub(crate) spent: Duration,
    pub(crate) budget: Duration,
}

/// How often and how long, where another try might have helped.
fn tried(is_final: bool, tries: u32, spent: Duration, budget: Duration) -> String {
    if is_final && tries == 1 {
        return String::new();
    }
    let (spent, budget) = (spent.as_secs_f64(), budget.as_secs_f64());
    let word = if tries == 1 { "try" } else { "tries" };
    format!(", after {tries} {word} in {spent:.1} s (one request is tried for {budget:.1} s)")
}
