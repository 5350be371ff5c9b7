//! End-to-end, golden and compatibility tests of the workspace, in one binary.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failing test names the place; measured differences are printed"
)]

mod bad_input;
mod documents;
mod end_to_end;
mod goldens;
mod support;
