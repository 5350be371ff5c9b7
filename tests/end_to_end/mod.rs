//! The main job through the programs, as a user runs it: harvest, look, verify, evaluate.

mod crash;
mod experiment;
mod known_answer;
pub mod parts;
mod remote;
mod sharing;
mod sites;
pub mod small_model;
mod training;
