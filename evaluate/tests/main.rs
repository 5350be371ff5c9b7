//! Tests of the library from outside, in one binary.
#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod bad_saes;
mod divergences;
mod formats;
mod report;
mod runs;
mod saelens_metrics;
mod saes;
mod support;
mod training;
mod uncertainty;
