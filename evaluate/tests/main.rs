//! Tests of the library from outside, in one binary.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails says where, and one that compares numbers how close they are"
)]

mod bad_saes;
mod divergences;
mod formats;
mod held_out;
mod parts;
mod report;
mod runs;
mod saelens_metrics;
mod saes;
mod sinks;
mod support;
mod told;
mod training;
mod uncertainty;
