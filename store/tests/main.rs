//! Tests of the library and the program from outside, in one binary: linking one takes seconds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
#[cfg(feature = "cli")]
mod care;
#[cfg(feature = "cli")]
mod commands;
mod compatibility;
#[cfg(feature = "convert")]
mod exchange;
#[cfg(feature = "cli")]
mod remote;
mod round_trip;
#[cfg(feature = "workers")]
mod sharing;
mod support;
