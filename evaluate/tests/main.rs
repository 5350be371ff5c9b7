//! Tests of the library from outside, in one binary.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failing test names the place, and a comparison of numbers prints their distance"
)]

mod bad_saes;
mod divergences;
mod formats;
mod held_out;
mod latent_parts;
mod latents;
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
