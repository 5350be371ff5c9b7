//! End-to-end, golden and compatibility tests of the workspace, in one binary.

mod bad_input;
mod end_to_end;
mod goldens;
mod support;
