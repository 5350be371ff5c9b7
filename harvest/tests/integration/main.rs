//! Tests of the whole crate, in one binary: a process that loads LibTorch is slow to start.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod answering;
mod chatting;
mod checkpoint;
mod fetching;
mod planning;
mod reading;
mod real_model;
mod refusals;
mod rows;
mod running;
mod study;
